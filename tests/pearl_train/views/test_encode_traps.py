"""Traps of particular tokenizers, templates and processors."""

from __future__ import annotations

import pickle
from dataclasses import replace

import chat_templates
from encoded import (
    CROP,
    TWO_ROOTS,
    Make,
    encode,
    question_of,
    spans,
    text,
    whole,
)
from tiny_models import FAMILIES, drawn_picture

from pearl_data.formats.chat import ANSWER_PREFIX
from pearl_train.settings.config import LvrConfig, ObjectiveConfig
from pearl_train.views.encode import (
    Encoder,
    encode_prompt,
)
from pearl_train.views.pictures import open_picture


def test_a_first_token_of_the_tokenizer_comes_once(tiny_encoder: Make) -> None:
    from tokenizers.processors import TemplateProcessing

    made = tiny_encoder("llava", fresh=True)
    tokenizer = made.tokenizer
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    first = tokenizer.convert_tokens_to_ids("<s>")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", first)]
    )
    for opening in ("", "{{ bos_token }}"):
        processor = made.processor
        processor.chat_template = opening + processor.chat_template.removeprefix("{{ bos_token }}")
        encoder = Encoder(processor, made.tokens)
        plain = whole(encoder, CROP, question_of(CROP), prompt=True)["input_ids"][0].tolist()
        encoded = encode(CROP, encoder)
        assert list(encoded.context.ids) == plain
        assert [s.ids.count(first) for s in spans(encoded).values()] == [1, 0, 0, 0, 0, 1]


def test_words_keep_the_space_that_the_prompt_gives_them(tiny_encoder: Make) -> None:
    """A tokenizer that puts a space before every text must not do so before every piece."""
    from tokenizers import pre_tokenizers

    encoder = tiny_encoder("llava", template=chat_templates.LLAVA, fresh=True)
    encoder.tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=True
    )
    encoder = Encoder(encoder.processor, encoder.tokens)
    turns = question_of(CROP)
    plain = whole(encoder, CROP, turns, prompt=True)["input_ids"][0].tolist()
    encoded = encode(CROP, encoder)
    assert list(encoded.context.ids) == plain
    row = text(encoder, [*encoded.context.ids, *encoded.branches["answer"].ids[2:]])
    assert row.endswith("blue ASSISTANT: Answer: red</s>")
    picture = open_picture(CROP, "i0")
    task = CROP.trajectory.task
    asked = encode_prompt([picture], task.question, task.choices, encoder=encoder).context.ids
    assert text(encoder, asked).endswith("blue ASSISTANT: Answer:")
    assert [*encoded.context.ids, *encoded.branches["answer"].ids[2:]][: len(asked)] == list(asked)


def test_pictures_side_by_side_are_kept_apart_where_runs_are_counted(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("qwen2_5_vl", template=chat_templates.BARE)
    context = encode(TWO_ROOTS, encoder).context
    runs = "".join("x" if image else " " for image in context.is_image).split()
    assert [len(run) for run in runs] == [12, 12]


def test_a_region_has_a_latent_for_each_of_its_tokens(tiny_encoder: Make) -> None:
    for family in FAMILIES:
        encoder = tiny_encoder(family)
        encoded = encode(CROP, encoder)
        span = encoded.branches["lvr"]
        first = span.marks["latents"]
        latents = [i for i, token in enumerate(span.ids) if token == encoder.tokens.lvr]
        assert latents == list(range(first, first + len(encoded.region)))
        assert not any(span.learn[i] for i in latents)
        assert all(0 <= r.token < encoded.images[r.image].tokens for r in encoded.region)
    few = tiny_encoder("llava", objective=ObjectiveConfig(lvr=LvrConfig(max_latents=2)))
    thinned = encode(CROP, few)
    assert (len(thinned.region), thinned.notes) == (2, ("latents-thinned",))
    assert encode(CROP, tiny_encoder("llava")).notes == ()


def test_an_encoder_travels_to_workers(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("qwen3_vl")
    again = pickle.loads(pickle.dumps(encoder))  # noqa: S301  # our own bytes
    first, second = encode(TWO_ROOTS, encoder), encode(TWO_ROOTS, again)
    assert replace(first, images=()) == replace(second, images=())


def test_a_question_without_pictures_is_words_alone(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("internvl")
    asked = encode_prompt([], "How many legs has a cat?", encoder=encoder)
    assert asked.images == ()
    assert text(encoder, asked.context.ids).endswith(f"<|im_start|>assistant\n{ANSWER_PREFIX}")


def test_a_grey_picture_is_taken_as_colour(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("fast_vlm")
    grey = drawn_picture(1).convert("L")
    assert encode_prompt([grey], "Q?", encoder=encoder).images[0].tokens == 4
