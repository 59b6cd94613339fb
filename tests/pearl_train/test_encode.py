"""From a sample to tokens, in six families: the same as at inference, and nothing cut off."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import chat_templates
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import FAMILIES, drawn_picture
from tiny_samples import changed, tiny_sample

from pearl_data.shards import Sample
from pearl_tools.errors import BadInput, UsageError
from pearl_train.settings.config import DataConfig, LvrConfig, ObjectiveConfig, TargetConfig
from pearl_train.views.batch import EncodedSample, Span, ViewPlan
from pearl_train.views.chat import ANSWER_PREFIX, Show, Turn, context_turns, trajectory_turns
from pearl_train.views.encode import (
    Dropped,
    Encoder,
    encode_dialogue,
    encode_prompt,
    encode_sample,
    prepare_picture,
)
from pearl_train.views.pictures import open_picture

Make = Callable[..., Encoder]
EVERYTHING = ViewPlan(("answer", "trajectory", "pred", "lvr"), 4, 2, target=True)
ANSWER = ViewPlan(("answer",))
CROP, DEPTH, TWO_ROOTS, WRONG_FIRST = (tiny_sample(n) for n in (0, 2, 7, 5))


def encode(
    sample: Sample, encoder: Encoder, plan: ViewPlan = EVERYTHING, shard: str = "shard-0"
) -> EncodedSample:
    made = encode_sample(sample, shard, plan, encoder)
    assert isinstance(made, EncodedSample), made
    return made


def spans(encoded: EncodedSample) -> dict[str, Span]:
    found = {"context": encoded.context, **encoded.branches}
    return found if encoded.target is None else {**found, "target": encoded.target}


def text(encoder: Encoder, ids: object) -> str:
    return encoder.tokenizer.decode(list(ids))


def learned(encoder: Encoder, span: Span) -> str:
    return text(encoder, [i for i, learn in zip(span.ids, span.learn, strict=True) if learn])


def as_messages(sample: Sample, turns: tuple[Turn, ...]) -> list[dict[str, object]]:
    return [
        {
            "role": turn.role,
            "content": [
                {"type": "image", "image": open_picture(sample, part.medium)}
                if isinstance(part, Show)
                else {"type": "text", "text": part}
                for part in turn.content
            ],
        }
        for turn in turns
    ]


def whole(encoder: Encoder, sample: Sample, turns: tuple[Turn, ...], *, prompt: bool) -> dict:
    """What transformers itself makes of a conversation, pictures and all."""
    return encoder.processor.apply_chat_template(
        as_messages(sample, turns),
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=prompt,
    )


def question_of(sample: Sample) -> tuple[Turn, ...]:
    task, media = sample.trajectory.task, sample.trajectory.media
    return context_turns(task.question, task.choices, [m.id for m in media if m.parent is None])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sample", [CROP, TWO_ROOTS], ids=["one", "two"])
def test_the_context_is_the_prompt_of_inference(
    family: str, sample: Sample, tiny_encoder: Make
) -> None:
    encoder = tiny_encoder(family)
    plain = whole(encoder, sample, question_of(sample), prompt=True)
    encoded = encode(sample, encoder)
    assert list(encoded.context.ids) == plain["input_ids"][0].tolist()
    if "mm_token_type_ids" in plain and family.startswith("qwen"):
        assert list(encoded.context.is_image) == (plain["mm_token_type_ids"][0] == 1).tolist()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sample", [TWO_ROOTS, WRONG_FIRST], ids=["two-roots", "wrong-first"])
def test_context_and_trajectory_are_the_tokens_of_the_whole_conversation(
    family: str, sample: Sample, tiny_encoder: Make
) -> None:
    encoder = tiny_encoder(family)
    turns = (*question_of(sample), *trajectory_turns(sample.trajectory))
    plain = whole(encoder, sample, turns, prompt=False)["input_ids"][0].tolist()
    encoded = encode(sample, encoder)
    ids = [*encoded.context.ids, *encoded.branches["trajectory"].ids]
    if not encoder.template.parts(question_of(sample), prompt=True)[-1].text.endswith(" "):
        assert plain[: len(ids)] == ids
    # A prompt that ends with a space ends with its token: a reply cannot begin inside it.
    all_of_it = text(encoder, plain)
    assert all_of_it.startswith(text(encoder, ids))
    assert all_of_it[len(text(encoder, ids)) :].strip() == ""


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_stand_in_order_and_have_as_many_tokens_as_the_processor_says(
    family: str, tiny_encoder: Make
) -> None:
    encoded = encode(TWO_ROOTS, tiny_encoder(family))
    assert [image.medium for image in encoded.images] == ["i0", "i1", "o1", "o2"]
    shown = {name: span.images for name, span in spans(encoded).items()}
    nothing = dict.fromkeys(("answer", "pred", "lvr"), ())
    assert shown == {"context": (0, 1), "trajectory": (2, 3), "target": (2, 3), **nothing}
    for span in spans(encoded).values():
        assert sum(span.is_image) == sum(encoded.images[n].tokens for n in span.images)


@pytest.mark.parametrize("family", FAMILIES)
def test_prepared_pictures_are_those_of_one_call_for_all(family: str, tiny_encoder: Make) -> None:
    from pearl_train.views.collate import joined

    encoder = tiny_encoder(family)
    plain = whole(encoder, TWO_ROOTS, question_of(TWO_ROOTS), prompt=True)
    made = joined([image.inputs for image in encode(TWO_ROOTS, encoder).images[:2]])
    assert made.keys() == plain.keys() - {"input_ids", "attention_mask", "mm_token_type_ids"}
    for name, tensor in made.items():
        assert torch.equal(tensor, plain[name])


def test_tiles_have_other_tokens_between_their_image_tokens(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("idefics3")
    encoded = encode(CROP, encoder)
    kept = {text(encoder, [i]) for i, image in _pairs(encoded.context) if image}
    others = text(encoder, [i for i, image in _pairs(encoded.context) if not image])
    assert kept == {"<image>"}
    assert "<row_1_col_1>" in others
    assert "<global-img>" in others


def _pairs(span: Span) -> list[tuple[int, bool]]:
    return list(zip(span.ids, span.is_image, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_image_token_is_learned(family: str, tiny_encoder: Make) -> None:
    encoder = tiny_encoder(family)
    for sample in (CROP, DEPTH, TWO_ROOTS, WRONG_FIRST):
        for span in spans(encode(sample, encoder)).values():
            both = zip(span.learn, span.is_image, strict=True)
            assert not any(learn and image for learn, image in both)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_learned_in_each_branch(family: str, tiny_encoder: Make) -> None:
    encoder = tiny_encoder(family)
    found = {name: learned(encoder, s) for name, s in spans(encode(WRONG_FIRST, encoder)).items()}
    end = encoder.template.stop
    assert found["answer"] == f"Answer: blue{end}"
    assert found["lvr"] == f"<|lvr_start|><|lvr_end|>Answer: blue{end}"
    assert (found["context"], found["pred"], found["target"]) == ("", "", "")
    steps = found["trajectory"].split(end)
    assert [step.split("\n")[0] for step in steps] == [
        "The square is small; I look closer.",
        "I also ask how near things are.",
        "The crop shows a blue square.",
        "",
    ]
    assert "I crop what I think" in text(encoder, encode(WRONG_FIRST, encoder).context.ids) + text(
        encoder, encode(WRONG_FIRST, encoder).branches["trajectory"].ids
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_wrong_steps_are_not_in_the_target(family: str, tiny_encoder: Make) -> None:
    encoder = tiny_encoder(family)
    target = encode(WRONG_FIRST, encoder).target
    assert target is not None
    said = text(encoder, target.ids)
    assert "I crop what I think" not in said
    assert "geometry.outside" not in said
    assert "Which colour" not in said
    loud = tiny_encoder(family, objective=ObjectiveConfig(target=TargetConfig(wrong_steps=True)))
    all_of_it = encode(WRONG_FIRST, loud).target
    assert all_of_it is not None
    assert "geometry.outside" in text(loud, all_of_it.ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_target_is_read_before_its_conclusion_where_marked(
    family: str, tiny_encoder: Make
) -> None:
    encoder = tiny_encoder(family)
    target = encode(CROP, encoder).target
    assert target is not None
    after = text(encoder, target.ids[target.marks["conclusion"] + 1 :])
    assert after == f"The crop shows a red square.\nAnswer: red{encoder.template.stop}"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_target_without_the_answer_ends_where_it_would_be_stated(
    family: str, tiny_encoder: Make
) -> None:
    options = ObjectiveConfig(target=TargetConfig(include_answer=False, include_image=True))
    encoder = tiny_encoder(family, objective=options)
    encoded = encode(CROP, encoder)
    target = encoded.target
    assert target is not None
    assert target.marks["conclusion"] == len(target.ids) - 1
    assert target.images == (0, 1)
    prompt = text(encoder, encoded.context.ids)[-8:]
    assert text(encoder, target.ids).endswith(prompt)
    assert "red square" not in text(encoder, target.ids)


def test_a_target_of_nothing_is_dropped_and_says_so(tiny_encoder: Make) -> None:
    encoder = tiny_encoder(
        "fast_vlm", objective=ObjectiveConfig(target=TargetConfig(include_answer=False))
    )
    all_wrong = changed(CROP, loss_mask=[0])
    made = encode_sample(all_wrong, "s", EVERYTHING, encoder)
    assert isinstance(made, Dropped)
    assert (made.key, made.reason) == ("train-000", "empty-target")


def test_a_target_may_begin_with_a_user_where_the_template_wants_one(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("qwen2_5_vl", template=chat_templates.ALTERNATING)
    target = encode(CROP, encoder).target
    assert target is not None
    assert text(encoder, target.ids).startswith("<|im_start|>user\n<|im_end|>\n<|im_start|>assis")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answer_of_inference_begins_with_the_prefix_of_training(
    family: str, tiny_encoder: Make
) -> None:
    encoder = tiny_encoder(family)
    task = TWO_ROOTS.trajectory.task
    pictures = [open_picture(TWO_ROOTS, name) for name in ("i0", "i1")]
    plan = ViewPlan(("answer",), pause_tokens=3)
    trained = encode(TWO_ROOTS, encoder, plan)
    asked = encode_prompt(
        pictures, task.question, task.choices, encoder=encoder, pause_tokens=3
    ).context.ids
    row = [*trained.context.ids, *trained.branches["answer"].ids]
    assert row[: len(asked)] == list(asked)
    assert text(encoder, asked).endswith(f"<|pause_1|><|pause_2|><|pause_3|>{ANSWER_PREFIX}")
    bare = encode_prompt(pictures, task.question, task.choices, encoder=encoder, prefill="")
    assert bare.context.ids == trained.context.ids
    assert [image.medium for image in bare.images] == ["i0", "i1"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tool_loop_sees_the_tokens_of_training(family: str, tiny_encoder: Make) -> None:
    encoder = tiny_encoder(family)
    turns = (*question_of(CROP), *trajectory_turns(CROP.trajectory)[:2])
    pictures = {
        name: prepare_picture(open_picture(CROP, name), name, encoder) for name in ("i0", "o1")
    }
    asked = encode_dialogue(turns, pictures, encoder=encoder).context
    trained = encode(CROP, encoder)
    branch = trained.branches["trajectory"]
    row = [*trained.context.ids, *branch.ids[: branch.marks["conclusion"] + 1]]
    assert list(asked.ids) == row
    assert asked.images == (0, 1)


def test_choices_may_be_asked_and_answered_by_letter(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("fast_vlm", data=DataConfig(answers="letter"))
    encoded = encode(CROP, encoder)
    assert "\n(A) red\n(B) green\n(C) blue<|im_end|>" in text(encoder, encoded.context.ids)
    assert learned(encoder, encoded.branches["answer"]) == "Answer: (A)<|im_end|>"
    assert encoded.target is not None
    assert text(encoder, encoded.target.ids).endswith("\nAnswer: (A)<|im_end|>")


def test_the_system_message_is_in_context_and_target(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("fast_vlm", data=DataConfig(system="Be brief."))
    encoded = encode(CROP, encoder)
    assert encoded.target is not None
    for span in (encoded.context, encoded.target):
        assert text(encoder, span.ids).startswith("<|im_start|>system\nBe brief.<|im_end|>\n")


def test_depth_is_shown_by_its_picture(tiny_encoder: Make) -> None:
    encoded = encode(DEPTH, tiny_encoder("fast_vlm"), ViewPlan(("trajectory",)))
    depth = encoded.images[-1]
    assert depth.medium == "o2"
    expected = open_picture(DEPTH, "o2")
    assert expected.mode == "RGB"
    pixels = np.asarray(expected)
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_only_what_the_plan_asks_for_is_prepared(tiny_encoder: Make) -> None:
    encoded = encode(TWO_ROOTS, tiny_encoder("fast_vlm"), ViewPlan(("answer",)))
    assert [image.medium for image in encoded.images] == ["i0", "i1"]
    assert list(encoded.branches) == ["answer"]
    assert encoded.target is None
    assert encoded.region == ()


def test_pred_and_pause_tokens_are_those_of_the_model(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("fast_vlm")
    encoded = encode(CROP, encoder, ViewPlan(("answer", "pred"), pred_tokens=3, pause_tokens=1))
    assert encoded.branches["pred"].ids == encoder.tokens.pred[:3]
    assert encoded.branches["answer"].ids[0] == encoder.tokens.pause[0]
    with pytest.raises(UsageError, match=r"objective.pred_tokens: expected at most 4.*got 5"):
        encode(CROP, encoder, ViewPlan(("pred",), pred_tokens=5))
    with pytest.raises(UsageError, match=r"objective.pause_tokens: expected at most 4.*got 9"):
        encode(CROP, encoder, ViewPlan(("answer",), pause_tokens=9))


# What is too long


def test_a_row_that_is_too_long_gets_smaller_pictures(tiny_encoder: Make) -> None:
    full = encode(TWO_ROOTS, tiny_encoder("qwen2_5_vl"))
    longest = sum(len(s.ids) for n, s in spans(full).items() if n != "target")
    encoder = tiny_encoder("qwen2_5_vl", data=DataConfig(max_tokens=longest - 12))
    small = encode(TWO_ROOTS, encoder)
    assert small.notes == ("downscaled",)
    assert sum(len(s.ids) for n, s in spans(small).items() if n != "target") <= longest - 12
    for name, span in spans(small).items():  # no word is lost, and no picture
        if name == "lvr":
            continue  # has as many latents as the region has tokens
        words = [i for i, image in _pairs(span) if not image]
        assert words == [i for i, image in _pairs(spans(full)[name]) if not image]
        assert sum(span.is_image) == sum(small.images[n].tokens for n in span.images)
        assert len(span.images) == len(spans(full)[name].images)
    tokens = [(a.tokens, b.tokens) for a, b in zip(full.images, small.images, strict=True)]
    assert all(after <= before for before, after in tokens)
    assert tokens[-2] == (1, 1)  # the small crop stays sharp


def test_a_target_that_is_too_long_is_made_to_fit_too(tiny_encoder: Make) -> None:
    plan = ViewPlan((), target=True)
    target = encode(DEPTH, tiny_encoder("qwen2_5_vl"), plan).target
    assert target is not None
    encoder = tiny_encoder("qwen2_5_vl", data=DataConfig(max_tokens=len(target.ids) - 1))
    made = encode_sample(DEPTH, "s", plan, encoder)
    # the crop has one token and the depth map two: one fewer in all
    assert isinstance(made, EncodedSample)
    assert made.target is not None
    assert len(made.target.ids) <= len(target.ids) - 1


@pytest.mark.parametrize(
    ("family", "room", "options", "reason"),
    [
        ("qwen2_5_vl", -5, {"too_long": "drop"}, "too-long"),
        ("fast_vlm", -1, {}, "too-long-at-any-size"),  # every picture has as many tokens
        ("qwen2_5_vl", None, {}, "text-too-long"),
    ],
)
def test_what_cannot_fit_is_dropped_with_its_reason(
    family: str, room: int | None, options: dict, reason: str, tiny_encoder: Make
) -> None:
    full = encode(CROP, tiny_encoder(family), ANSWER)
    length = len(full.context.ids) + len(full.branches["answer"].ids)
    most = 20 if room is None else length + room
    encoder = tiny_encoder(family, data=DataConfig(max_tokens=most, **options))
    made = encode_sample(CROP, "shard-3", ANSWER, encoder)
    assert isinstance(made, Dropped)
    assert (made.key, made.shard, made.reason) == ("train-000", "shard-3", reason)
    assert made.detail == f"{length} tokens, of {most}"


def test_pictures_beyond_max_pixels_are_made_smaller_and_counted(tiny_encoder: Make) -> None:
    free = encode(TWO_ROOTS, tiny_encoder("qwen2_5_vl"))
    encoder = tiny_encoder("qwen2_5_vl", max_pixels=80 * 60)
    limited = encode(TWO_ROOTS, encoder)
    assert limited.notes == ("max-pixels",)
    assert all(a.tokens <= b.tokens for a, b in zip(limited.images, free.images, strict=True))
    assert limited.images[0].tokens < free.images[0].tokens
    asked = encode_prompt([open_picture(TWO_ROOTS, "i0")], "Q?", encoder=encoder)
    assert asked.images[0].tokens == limited.images[0].tokens


# What is wrong


def test_a_picture_that_cannot_be_read_is_named_with_its_shard(tiny_encoder: Make) -> None:
    broken = Sample(CROP.trajectory, {**CROP.members, "i0.jpg": CROP.members["i0.jpg"][:200]})
    with pytest.raises(BadInput, match=r"shard-7, sample train-000: media\.i0 .*parse.truncated"):
        encode_sample(broken, "shard-7", ANSWER, tiny_encoder("fast_vlm"))


def test_a_picture_that_is_not_there_is_named(tiny_encoder: Make) -> None:
    without = Sample(CROP.trajectory, {"i0.jpg": CROP.members["i0.jpg"]})
    with pytest.raises(BadInput, match=r"shard-7, sample train-000: medium o1: expected its pic"):
        encode_sample(without, "shard-7", EVERYTHING, tiny_encoder("fast_vlm"))


def test_a_picture_that_the_processor_refuses_is_named(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("qwen2_5_vl")
    with pytest.raises(BadInput, match=r"medium i0: expected a picture that Qwen2_5_VLProcessor"):
        encode_prompt([Image.new("RGB", (2000, 4))], "Q?", encoder=encoder)


def test_a_faulty_template_is_named_with_the_sample(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("qwen2_5_vl", template=chat_templates.ONE_PICTURE)
    with pytest.raises(UsageError, match=r"shard-0, sample train-007: the model's chat template"):
        encode(TWO_ROOTS, encoder)


def test_a_processor_that_is_only_a_tokenizer_is_refused(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("llava", fresh=True)
    encoder.processor.image_processor = None
    with pytest.raises(UsageError, match=r"expected one with an image processor, got Llava"):
        Encoder(encoder.processor, encoder.tokens)


# Traps of particular families


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
    assert len(encode(CROP, few).region) == 2


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
