"""What is too long to encode, and what is wrong with it."""

from __future__ import annotations

from collections import Counter

import chat_templates
import pytest
import torch
from encoded import (
    ANSWER,
    CROP,
    DEPTH,
    EVERYTHING,
    TWO_ROOTS,
    Make,
    encode,
    pairs,
    spans,
)
from PIL import Image
from tiny_samples import with_picture

from pearl_data.shards import Sample
from pearl_tools.errors import BadInput, UsageError
from pearl_train.settings.config import DataConfig, ObjectiveConfig, TargetConfig
from pearl_train.views.batch import EncodedSample, ViewPlan
from pearl_train.views.encode import (
    Dropped,
    Encoder,
    encode_prompt,
    encode_sample,
)
from pearl_train.views.left_out import how_to_keep
from pearl_train.views.pictures import open_picture

#: What the tool shows is as large as I0: 12 tokens each, for the tiny Qwen.
LARGE_VIEW = with_picture(CROP, "o1", 112, 84)


def test_a_view_that_is_too_long_gets_smaller_pictures(tiny_encoder: Make) -> None:
    plan = ViewPlan(("answer", "trajectory"))
    full = encode(LARGE_VIEW, tiny_encoder("qwen2_5_vl"), plan)
    longest = len(full.context.ids) + len(full.branches["trajectory"].ids)
    encoder = tiny_encoder("qwen2_5_vl", data=DataConfig(max_tokens=longest - 3))
    small = encode(LARGE_VIEW, encoder, plan)
    assert small.notes == ("downscaled",)
    assert len(small.context.ids) + len(small.branches["trajectory"].ids) <= longest - 3
    for name, span in spans(small).items():  # no word is lost, and no picture
        words = [i for i, image in pairs(span) if not image]
        assert words == [i for i, image in pairs(spans(full)[name]) if not image]
        assert sum(span.is_image) == sum(small.images[n].tokens for n in span.images)
        assert len(span.images) == len(spans(full)[name].images)
    assert [image.tokens for image in full.images] == [12, 12]
    assert [image.tokens for image in small.images] == [12, 6], "I0 is as it was"


def test_r_is_cut_to_its_own_limit(tiny_encoder: Make) -> None:
    """The row has room for the picture as it is, R with a system message and I0 has not."""
    plan = ViewPlan(("answer", "pred"), 4, target=True)
    full = encode(LARGE_VIEW, tiny_encoder("qwen2_5_vl"), plan)
    assert full.target is not None
    most = len(full.target.ids) - 3
    assert len(full.context.ids) + len(full.branches["answer"].ids) < most
    small = encode(LARGE_VIEW, tiny_encoder("qwen2_5_vl", data=DataConfig(max_tokens=most)), plan)
    assert [image.tokens for image in small.images] == [12, 6]
    assert small.target is not None
    assert len(small.target.ids) == len(full.target.ids) - 6


PLANS = {
    "sft": ANSWER,
    "sft with pause tokens": ViewPlan(("answer",), pause_tokens=4),
    "sft, view trajectory": ViewPlan(("answer", "trajectory")),
    "tools": ViewPlan(("trajectory",)),
    "lvr": ViewPlan(("lvr",)),
    "pearl": ViewPlan(("answer", "pred"), 4, target=True),
    "pearl, question": ViewPlan(("answer", "pred"), 4, target=True, pred_in_question=True),
    "pearl, cached": ViewPlan(("answer", "pred"), 4),
    "its targets": ViewPlan((), target=True),
}


@pytest.mark.parametrize(
    ("family", "include_image", "too_long"),
    [
        ("qwen2_5_vl", False, "downscale"),
        ("qwen2_5_vl", True, "downscale"),
        ("qwen2_5_vl", True, "drop"),
        ("internvl", True, "downscale"),
    ],
)
def test_every_objective_trains_on_the_same_i0(
    family: str, include_image: bool, too_long: str, tiny_encoder: Make
) -> None:
    """Whatever else a view shows and however little room there is: the same, or none."""
    target = TargetConfig(include_image=include_image)
    met: Counter[str] = Counter()
    for sample in (LARGE_VIEW, TWO_ROOTS):
        roots = [m.id for m in sample.trajectory.media if m.parent is None]
        whole = encode(sample, tiny_encoder(family), EVERYTHING)
        for most in range(len(whole.context.ids) - 8, len(whole.context.ids) + 200, 13):
            options = DataConfig(max_tokens=most, too_long=too_long)
            encoder = tiny_encoder(family, data=options, objective=ObjectiveConfig(target=target))
            sft = encode_sample(sample, "s", ANSWER, encoder)
            for name, plan in PLANS.items():
                made = encode_sample(sample, "s", plan, encoder)
                if isinstance(made, Dropped):
                    met["dropped"] += 1
                    continue
                assert isinstance(sft, EncodedSample), f"{name} takes what sft drops"
                assert made.context.is_image == sft.context.is_image or plan.pred_in_question
                shown = [one for one in made.images if one.medium in roots]
                for one, plain in zip(shown, sft.images, strict=True):
                    assert one.tokens == plain.tokens
                    assert one.content == plain.content
                    assert all(torch.equal(one.inputs[k], plain.inputs[k]) for k in plain.inputs)
                for span in spans(made).values():
                    assert sum(span.is_image) == sum(made.images[n].tokens for n in span.images)
                met["smaller I0"] += sft.notes == ("downscaled",)
                met["smaller R"] += made.notes != sft.notes
                if made.target is not None:
                    assert len(made.target.ids) <= most
                if "trajectory" in made.branches:
                    row = len(made.context.ids) + len(made.branches["trajectory"].ids)
                    assert row <= most
    assert met["dropped"] > 50
    if (family, too_long) == ("qwen2_5_vl", "downscale"):
        assert met["smaller I0"] >= 5
        assert met["smaller R"] >= 2


def test_a_picture_may_be_smaller_in_the_row_than_in_r(tiny_encoder: Make) -> None:
    """Each view has its own limit: the row holds the question as well."""
    plan = ViewPlan(("trajectory",), target=True)
    full = encode(LARGE_VIEW, tiny_encoder("qwen2_5_vl"), plan)
    assert full.target is not None
    row = len(full.context.ids) + len(full.branches["trajectory"].ids)
    assert len(full.target.ids) < row - 3
    encoder = tiny_encoder("qwen2_5_vl", data=DataConfig(max_tokens=row - 3))
    small = encode(LARGE_VIEW, encoder, plan)
    assert [(image.medium, image.tokens) for image in small.images] == [
        ("i0", 12),
        ("o1", 6),
        ("o1", 12),
    ]
    assert small.target is not None
    assert (small.branches["trajectory"].images, small.target.images) == ((1,), (2,))
    assert small.target.ids == full.target.ids


def test_i0_that_leaves_no_room_is_named_as_the_reason(tiny_encoder: Make) -> None:
    full = encode(CROP, tiny_encoder("qwen2_5_vl"), ViewPlan(("answer", "trajectory")))
    most = len(full.context.ids) + len(full.branches["trajectory"].ids) - 3
    encoder = tiny_encoder("qwen2_5_vl", data=DataConfig(max_tokens=most))
    made = encode_sample(CROP, "s", ViewPlan(("trajectory",)), encoder)
    assert isinstance(made, Dropped)
    assert (made.reason, made.detail) == ("no-room-beside-i0", f"{most + 3} tokens, of {most}")
    assert how_to_keep([made.reason], encoder.data).startswith(f"raise data.max_tokens ({most})")


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
