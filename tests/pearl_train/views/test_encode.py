"""From a sample to tokens, in six families: the same as at inference, and nothing cut off."""

from __future__ import annotations

import chat_templates
import numpy as np
import pytest
import torch
from encoded import (
    CROP,
    DEPTH,
    EVERYTHING,
    TWO_ROOTS,
    WRONG_FIRST,
    Make,
    encode,
    learned,
    pairs,
    question_of,
    spans,
    text,
    whole,
)
from tiny_models import FAMILIES
from tiny_samples import changed

from pearl_data.formats.chat import ANSWER_PREFIX, trajectory_turns
from pearl_data.shards import Sample
from pearl_tools.errors import UsageError
from pearl_train.settings.config import DataConfig, ObjectiveConfig, TargetConfig
from pearl_train.views.batch import ViewPlan
from pearl_train.views.encode import (
    Dropped,
    encode_dialogue,
    encode_prompt,
    encode_sample,
    prepare_picture,
)
from pearl_train.views.pictures import open_picture


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
    kept = {text(encoder, [i]) for i, image in pairs(encoded.context) if image}
    others = text(encoder, [i for i, image in pairs(encoded.context) if not image])
    assert kept == {"<image>"}
    assert "<row_1_col_1>" in others
    assert "<global-img>" in others


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
