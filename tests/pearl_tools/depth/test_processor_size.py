"""Sizes that are asked of an image processor, against the library's own arithmetic; no network."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BitImageProcessor, DPTImageProcessor
from transformers.image_transforms import get_resize_output_image_size as of_edge
from transformers.models.dpt.image_processing_dpt import get_resize_output_image_size as of_dpt
from transformers.models.zoedepth.image_processing_zoedepth import (
    get_resize_output_image_size as of_zoedepth,
)

from pearl_tools.depth.processor_size import LONGEST_RESIZED_PX, ProcessorSize

SIDES = st.integers(1, 20000)
DEPTH_ANYTHING = ProcessorSize({"height": 518, "width": 518}, True, 14, 14)
ZOEDEPTH = ProcessorSize({"height": 384, "width": 512}, True, 32, 16)
EDGE = ProcessorSize({"shortest_edge": 60}, False, 1, 14)
ALL = (DEPTH_ANYTHING, ZOEDEPTH, EDGE)


@given(SIDES, SIDES, st.booleans(), st.sampled_from([1, 14, 32, 1 / 32]))
def test_a_processors_own_size_is_computed_as_the_library_does(
    height: int, width: int, keeps_aspect: bool, ensured: float
) -> None:
    own = ProcessorSize({"height": 384, "width": 512}, keeps_aspect, ensured, 16)
    image = np.broadcast_to(np.uint8(0), (3, height, width))
    found = of_zoedepth(image, (384, 512), keeps_aspect, ensured, "channels_first")
    assert own.published(height, width) == tuple(int(side) for side in found)
    if ensured >= 1:
        same = of_dpt(image, (384, 512), keeps_aspect, ensured)
        assert own.published(height, width) == (same.height, same.width)
    edge = of_edge(image, 60, default_to_square=False, input_data_format="channels_first")
    assert EDGE.published(height, width) == edge


@given(SIDES, SIDES, st.sampled_from(ALL))
def test_what_the_network_sees_is_whole_patches_within_bounds(
    height: int, width: int, size: ProcessorSize
) -> None:
    seen = size.seen(height, width)
    assert all(side % size.patch == 0 for side in seen)
    assert size.patch <= min(seen) <= max(seen) <= LONGEST_RESIZED_PX
    assert (size.options(height, width) == {}) == (seen == size.published(height, width))


@pytest.mark.parametrize(
    ("size", "shape", "seen"),
    [
        (DEPTH_ANYTHING, (480, 640), (518, 686)),
        (DEPTH_ANYTHING, (375, 1242), (518, 1722)),
        (DEPTH_ANYTHING, (500, 2450), (518, 2534)),
        (DEPTH_ANYTHING, (500, 2500), (504, 2548)),
        (DEPTH_ANYTHING, (500, 20000), (70, 2548)),
        (DEPTH_ANYTHING, (4000, 40), (518, 14)),
        (ZOEDEPTH, (375, 1242), (384, 1280)),
        (ZOEDEPTH, (8, 900), (32, 512)),
        (EDGE, (100, 300), (56, 182)),
        (EDGE, (1, 5000), (14, 2548)),
        (ProcessorSize({"height": 3000, "width": 3000}, True, 1, 8), (4000, 4000), (3000, 3000)),
        (ProcessorSize({"height": 384, "width": 384}, True, 1, 16, 384), (480, 640), (384, 384)),
        (ProcessorSize({"height": 64, "width": 64}, False, 1, 14), (480, 640), (70, 70)),
    ],
)
def test_sizes(size: ProcessorSize, shape: tuple[int, int], seen: tuple[int, int]) -> None:
    assert size.seen(*shape) == seen


def test_what_is_asked_is_exact() -> None:
    asked = {"size": {"height": 14, "width": 518}, "keep_aspect_ratio": False}
    assert DEPTH_ANYTHING.options(8, 900) == asked
    assert EDGE.options(100, 300) == {"size": {"height": 56, "width": 182}}


@pytest.mark.parametrize(
    ("network", "patch", "square"),
    [
        ({"model_type": "dpt", "patch_size": 16, "image_size": 384}, 16, 384),
        ({"model_type": "dpt", "backbone_config": SimpleNamespace(patch_size=4)}, 4, None),
        (
            {
                "model_type": "dpt",
                "backbone_config": SimpleNamespace(),
                "is_hybrid": True,
                "image_size": 384,
            },
            32,
            384,
        ),
        ({"model_type": "zoedepth", "backbone_config": SimpleNamespace(patch_size=16)}, 16, None),
    ],
    ids=["dpt", "dpt of swin", "hybrid dpt", "zoedepth"],
)
def test_the_network_tells_patches_and_squares(
    network: dict[str, object], patch: int, square: int | None
) -> None:
    processor = DPTImageProcessor(size={"height": 384, "width": 384}, ensure_multiple_of=32)
    assert ProcessorSize.of(processor, SimpleNamespace(**network)) == ProcessorSize(
        {"height": 384, "width": 384}, keeps_aspect=False, ensured=32, patch=patch, square=square
    )


def test_an_unknown_form_of_size_is_refused() -> None:
    processor = BitImageProcessor(size={"shortest_edge": 56, "longest_edge": 80})
    with pytest.raises(ValueError, match=r"or shortest_edge, got \{'longest_edge': 80, 'short"):
        ProcessorSize.of(processor, SimpleNamespace())
