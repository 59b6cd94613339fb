"""What a sample becomes is known from its record."""

from __future__ import annotations

import pytest
from encoded import EVERYTHING, Make
from tiny_models import FAMILIES
from tiny_samples import tiny_sample, with_picture

from pearl_train.errors import BY_PROCESSOR, Refused
from pearl_train.settings.config import DataConfig, ObjectiveConfig, TargetConfig
from pearl_train.views.batch import EncodedSample
from pearl_train.views.by_size import BlankPictures, measure
from pearl_train.views.encode import Dropped, encode_sample

SAMPLES = [tiny_sample(number) for number in range(8)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("most", [4096, 400, 340, 280])
def test_a_record_says_what_encoding_makes_of_its_sample(
    family: str, most: int, tiny_encoder: Make
) -> None:
    options = ObjectiveConfig(target=TargetConfig(include_image=True))
    encoder = tiny_encoder(family, data=DataConfig(max_tokens=most), objective=options)
    blanks = BlankPictures(encoder.preparer)
    for sample in SAMPLES:
        made = encode_sample(sample, "shard", EVERYTHING, encoder)
        told = measure(sample.trajectory, "shard", EVERYTHING, encoder, blanks)
        if isinstance(made, Dropped):
            assert told == made
            continue
        assert isinstance(told, EncodedSample)
        assert (told.context, told.branches, told.target) == (
            made.context,
            made.branches,
            made.target,
        )
        assert (told.notes, told.region) == (made.notes, made.region)
        assert [(i.medium, i.tokens) for i in told.images] == [
            (i.medium, i.tokens) for i in made.images
        ]


def test_a_size_that_is_refused_is_named_with_its_own_medium(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("qwen2_5_vl")
    blanks = BlankPictures(encoder.preparer)
    for medium in ("i0", "o1"):
        strip = with_picture(SAMPLES[0], medium, 1210, 6)
        told = measure(strip.trajectory, "shard", EVERYTHING, encoder, blanks)
        assert told == encode_sample(strip, "shard", EVERYTHING, encoder)
        assert isinstance(told, Dropped)
        assert told.reason == BY_PROCESSOR
        assert f"medium {medium}" in told.detail
    for size in ((6, 1210), (1210, 6)):
        with pytest.raises(Refused, match=f"medium x: .* {size[0]}x{size[1]} px"):
            blanks.of(size, "x")
    assert blanks.of((1200, 6), "x").image.medium == "x"
    assert blanks.of((1, 1), "x").image.tokens == 1
