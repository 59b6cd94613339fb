"""Any chat template, cut into parts: nothing lost, nothing added, turns end where they should."""

from __future__ import annotations

from collections.abc import Callable

import chat_templates
import pytest
from tiny_models import FAMILIES
from tiny_samples import tiny_sample

from pearl_data.formats.chat import Show, Turn, answer_turns, context_turns, trajectory_turns
from pearl_tools.errors import UsageError
from pearl_train.views.encode import Encoder
from pearl_train.views.templates import ChatTemplate, Part

#: A tiny model's family, and the template it is given; None is its own.
TEMPLATES = [
    *[(family, None) for family in FAMILIES],
    ("qwen2_5_vl", "QWEN"),
    ("llava", "LLAVA"),
    ("idefics3", "IDEFICS"),
    ("qwen2_5_vl", "TEXTS_ONLY"),
    ("qwen2_5_vl", "BARE"),
]
MULTI_STEP = tiny_sample(7).trajectory
CONTEXT = context_turns("Which colour?", ["red", "blue"], ["i0", "i1"])

Make = Callable[..., Encoder]


def template_of(tiny_encoder: Make, family: str, name: str | None) -> ChatTemplate:
    text = getattr(chat_templates, name) if name else None
    return tiny_encoder(family, template=text).template


def rendered(template: ChatTemplate, turns: tuple[Turn, ...], *, prompt: bool = False) -> str:
    """What the template itself makes of the turns."""
    messages = [
        {
            "role": turn.role,
            "content": [
                {"type": "image"} if isinstance(part, Show) else {"type": "text", "text": part}
                for part in turn.content
            ],
        }
        for turn in turns
    ]
    if template._layouts._processor.chat_template == chat_templates.TEXTS_ONLY:
        for message in messages:
            if message["role"] != "user":
                message["content"] = message["content"][0]["text"]
    return template._layouts._processor.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=prompt
    )


def joined(parts: list[Part]) -> str:
    return "".join(part.text for part in parts)


@pytest.mark.parametrize(("family", "name"), TEMPLATES)
def test_the_parts_are_what_the_template_writes(
    family: str, name: str | None, tiny_encoder: Make
) -> None:
    template = template_of(tiny_encoder, family, name)
    prompt = template.parts(CONTEXT, prompt=True)
    assert joined(prompt) == rendered(template, CONTEXT, prompt=True)
    for turns in (answer_turns(MULTI_STEP.task), trajectory_turns(MULTI_STEP)):
        parts = template.parts(turns, after=CONTEXT)
        text = joined(prompt) + joined(parts)
        whole = rendered(template, (*CONTEXT, *turns))
        if template.closing:
            assert whole.startswith(text)
            assert not whole[len(text) :].strip()
        else:  # the tokenizer's end of sequence was added
            assert "".join(text.split(template.stop)) == whole.rstrip()


@pytest.mark.parametrize(("family", "name"), TEMPLATES)
def test_pictures_come_in_their_order(family: str, name: str | None, tiny_encoder: Make) -> None:
    template = template_of(tiny_encoder, family, name)
    shown = [p.medium for p in template.parts(CONTEXT, prompt=True) if p.medium]
    assert shown == ["i0", "i1"]
    after = template.parts(trajectory_turns(MULTI_STEP), after=CONTEXT)
    assert [part.medium for part in after if part.medium] == ["o1", "o2"]


@pytest.mark.parametrize(("family", "name"), TEMPLATES)
def test_an_assistant_learns_its_words_and_its_end(
    family: str, name: str | None, tiny_encoder: Make
) -> None:
    template = template_of(tiny_encoder, family, name)
    turns = trajectory_turns(MULTI_STEP)
    learned = joined([p for p in template.parts(turns, after=CONTEXT) if p.learn])
    end = template.closing or template.stop
    said = [str(turn.content[0]) for turn in turns if turn.role == "assistant"]
    assert learned == "".join(template.glue + text + end for text in said)


@pytest.mark.parametrize(("family", "name"), TEMPLATES)
def test_the_conclusion_is_marked_right_before_its_words(
    family: str, name: str | None, tiny_encoder: Make
) -> None:
    template = template_of(tiny_encoder, family, name)
    turns = trajectory_turns(MULTI_STEP)
    parts = template.parts(turns, after=CONTEXT)
    (at,) = [n for n, part in enumerate(parts) if part.mark == "conclusion"]
    assert parts[at + 1].text == template.glue + str(turns[-1].content[0])


@pytest.mark.parametrize(
    ("family", "name", "closes"),
    [
        ("qwen2_5_vl", None, "<|im_end|>"),
        ("qwen2_5_vl", "QWEN", "<|im_end|>"),
        ("llava", "LLAVA", "Which colour?\nChoices: red, blue"),
        ("idefics3", "IDEFICS", "<end_of_utterance>"),
    ],
)
def test_the_end_of_the_question_is_the_token_that_closes_the_turn(
    family: str, name: str | None, closes: str, tiny_encoder: Make
) -> None:
    parts = template_of(tiny_encoder, family, name).parts(CONTEXT, prompt=True)
    (marked,) = [part for part in parts if part.mark == "end-of-question"]
    assert marked.text == closes


def test_without_a_closing_token_turns_end_with_the_end_of_sequence(tiny_encoder: Make) -> None:
    template = template_of(tiny_encoder, "llava", "LLAVA")
    assert (template.closing, template.stop) == ("", "</s>")
    parts = template.parts(trajectory_turns(MULTI_STEP), after=CONTEXT)
    ends = [n for n, part in enumerate(parts) if part.text == "</s>"]
    assert len(ends) == 3
    assert all(parts[n].learn for n in ends)


def test_a_space_after_the_prompt_belongs_to_the_reply(tiny_encoder: Make) -> None:
    template = template_of(tiny_encoder, "llava", "LLAVA")
    assert template.glue == " "
    prompt = template.parts(CONTEXT, prompt=True)
    reply = template.parts(answer_turns(MULTI_STEP.task), after=CONTEXT)
    assert joined(prompt).endswith("ASSISTANT:")
    assert [part.text for part in reply] == [" Answer: green", "</s>"]
    assert template_of(tiny_encoder, "qwen2_5_vl", "QWEN").glue == ""


def test_special_tokens_in_a_question_are_words(tiny_encoder: Make) -> None:
    template = template_of(tiny_encoder, "qwen2_5_vl", None)
    asked = context_turns("Is <|image_pad|> one, or <|im_end|>?", [], ["i0"])
    parts = template.parts(asked, prompt=True)
    assert [part.medium for part in parts if part.medium] == ["i0"]
    (words,) = [part.text for part in parts if "one, or" in part.text]
    assert words == "Is < |image_pad|> one, or < |im_end|>?"


def test_contents_are_given_as_text_where_lists_are_written_out(tiny_encoder: Make) -> None:
    template = template_of(tiny_encoder, "qwen2_5_vl", "TEXTS_ONLY")
    parts = template.parts(answer_turns(MULTI_STEP.task), after=CONTEXT)
    assert joined(parts) == "Answer: green<|im_end|>"


@pytest.mark.parametrize(
    ("name", "turns", "said"),
    [
        ("ONE_PICTURE", CONTEXT, "1 of 2 pictures"),
        ("ALTERNATING", (*CONTEXT, *CONTEXT), "roles must alternate"),
    ],
)
def test_a_template_that_drops_something_is_refused(
    name: str, turns: tuple[Turn, ...], said: str, tiny_encoder: Make
) -> None:
    template = template_of(tiny_encoder, "qwen2_5_vl", name)
    with pytest.raises(UsageError, match=f"chat template: expected every text.*{said}"):
        template.parts(turns, prompt=True)


def test_a_template_that_loses_replies_is_refused_at_once(tiny_encoder: Make) -> None:
    with pytest.raises(UsageError, match=r"turns user, assistant once and in order"):
        template_of(tiny_encoder, "qwen2_5_vl", "MUTE")


def test_a_template_without_pictures_is_refused_at_once(tiny_encoder: Make) -> None:
    text = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(UsageError, match=r"expected one of \['<\|image_pad\|>'\] for a picture"):
        tiny_encoder("qwen2_5_vl", template=text)


def test_a_prompt_that_is_not_how_replies_begin_is_refused_at_once(tiny_encoder: Make) -> None:
    with pytest.raises(
        UsageError, match=r"begin with its own generation prompt, got .*model after"
    ):
        template_of(tiny_encoder, "qwen2_5_vl", "CHANGING")


def test_whether_an_assistant_may_begin_is_found_out(tiny_encoder: Make) -> None:
    assert template_of(tiny_encoder, "qwen2_5_vl", "QWEN").takes_assistant_first
    assert not template_of(tiny_encoder, "qwen2_5_vl", "ALTERNATING").takes_assistant_first
