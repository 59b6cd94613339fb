"""What is too long to encode, and what is wrong with it."""

from __future__ import annotations

import chat_templates
import pytest
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

from pearl_data.shards import Sample
from pearl_tools.errors import BadInput, UsageError
from pearl_train.settings.config import DataConfig
from pearl_train.views.batch import EncodedSample, ViewPlan
from pearl_train.views.encode import (
    Dropped,
    Encoder,
    encode_prompt,
    encode_sample,
)
from pearl_train.views.pictures import open_picture


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
        words = [i for i, image in pairs(span) if not image]
        assert words == [i for i, image in pairs(spans(full)[name]) if not image]
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
