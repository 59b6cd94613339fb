"""Which tokens look at the region of interest, in each family's layout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_samples import changed, tiny_sample

from pearl_tools.errors import UsageError
from pearl_train.views.encode import Encoder
from pearl_train.views.regions import WHOLE, Grid, grid_of, region_boxes, thinned, tokens_under

Make = Callable[..., Encoder]


def test_the_region_is_what_crops_and_zooms_took() -> None:
    cropped = tiny_sample(1)  # a crop and a crop of it, in one step
    first, second = cropped.trajectory.steps[0].calls
    boxes = region_boxes(cropped.trajectory)["i0"]
    for call, box in zip((first, second), boxes, strict=True):
        assert call.effective is not None
        x0, y0, x1, y1 = call.effective.box_root
        assert box == pytest.approx((x0 / 160, y0 / 120, x1 / 160, y1 / 120))


def test_depth_maps_and_mistakes_are_no_region() -> None:
    sample = tiny_sample(2)  # a crop, then a depth map
    assert len(region_boxes(sample.trajectory)["i0"]) == 1
    wrong = changed(sample, loss_mask=[0, 1]).trajectory
    assert region_boxes(wrong) == {"i0": [wrong.task.evidence[0].bbox]}


def test_without_evidence_the_region_is_every_picture() -> None:
    sample = changed(tiny_sample(7), loss_mask=[0, 0], task__evidence=[])
    assert region_boxes(sample.trajectory) == {"i0": [WHOLE], "i1": [WHOLE]}


def test_tokens_that_a_box_touches() -> None:
    grid = Grid(0, rows=2, columns=4)
    assert tokens_under(grid, [(0.0, 0.0, 0.25, 0.5)]) == [0]
    assert tokens_under(grid, [(0.2, 0.4, 0.3, 0.6)]) == [0, 1, 4, 5]
    assert tokens_under(grid, [(0.0, 0.0, 0.1, 0.1), (0.9, 0.9, 1.0, 1.0)]) == [0, 7]
    assert tokens_under(grid, [WHOLE]) == list(range(8))


def test_a_box_that_was_cut_away_has_the_nearest_token() -> None:
    middle = Grid(1, rows=2, columns=2, box=(0.25, 0.0, 0.75, 1.0))
    assert tokens_under(middle, [(0.0, 0.8, 0.1, 0.9)]) == [3]
    assert tokens_under(middle, [(0.9, 0.0, 1.0, 0.1)]) == [2]


def test_thinning_is_even_and_keeps_what_is_few() -> None:
    assert thinned([1, 2, 3], 3) == [1, 2, 3]
    assert thinned(list(range(100)), 4) == [0, 25, 50, 75]


@pytest.mark.parametrize(
    ("family", "grid"),
    [
        ("qwen2_5_vl", Grid(0, 3, 4)),
        ("qwen3_vl", Grid(0, 3, 4)),
        ("llava", Grid(0, 4, 4, (0.125, 0.0, 0.875, 1.0))),  # the middle of a 4:3 picture
        ("idefics3", Grid(16, 2, 2)),  # four tiles, then the whole
        ("internvl", Grid(0, 2, 2)),
        ("fast_vlm", Grid(0, 2, 2)),
    ],
)
def test_each_family_lays_tokens_out_in_its_way(
    family: str, grid: Grid, tiny_encoder: Make
) -> None:
    encoder = tiny_encoder(family)
    prepared = encoder.preparer.prepare(Image.new("RGB", (112, 84)), "i0")
    found = grid_of(encoder.processor, prepared)
    assert found[:3] == grid[:3]
    assert found.box == pytest.approx(grid.box, abs=0.02)


def test_of_several_tiles_the_view_of_the_whole_counts(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("internvl")
    prepared = encoder.preparer.prepare(Image.new("RGB", (112, 56)), "i0")
    assert prepared.image.tokens == 12  # two tiles and a thumbnail
    assert grid_of(encoder.processor, prepared) == Grid(8, 2, 2)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "llava", "internvl"])
def test_the_tokens_of_a_region_are_those_that_its_pixels_move(
    family: str, tiny_encoder: Make, tiny_folder: Callable
) -> None:
    """The layout against the network: lighting one corner changes its features most."""
    from transformers import AutoModelForImageTextToText

    encoder = tiny_encoder(family)
    network = AutoModelForImageTextToText.from_pretrained(tiny_folder(family)).eval()
    pixels = np.zeros((112, 112, 3), np.uint8)
    lit = pixels.copy()
    lit[56:, :56] = 255  # bottom left
    features = []
    for array in (pixels, lit):
        prepared = encoder.preparer.prepare(Image.fromarray(array), "i0")
        with torch.no_grad():
            found = network.model.get_image_features(
                **prepared.image.inputs, return_dict=True
            ).pooler_output
        found = torch.cat([f.reshape(-1, f.shape[-1]) for f in found])
        features.append(found)
    grid = grid_of(encoder.processor, prepared)
    corner = tokens_under(grid, [(0.05, 0.55, 0.45, 0.95)])
    opposite = tokens_under(grid, [(0.55, 0.05, 0.95, 0.45)])
    moved = (features[1] - features[0]).norm(dim=-1)
    assert moved[corner].mean() > moved[opposite].mean()


def test_tokens_in_no_grid_are_refused(tiny_encoder: Make) -> None:
    encoder = tiny_encoder("fast_vlm")
    prepared = encoder.preparer.prepare(Image.new("RGB", (64, 64)), "i0")
    odd = prepared._replace(
        image=prepared.image.__class__(medium="i0", inputs=prepared.image.inputs, tokens=7)
    )
    with pytest.raises(UsageError, match=r"image tokens in a grid, got 7 tokens"):
        grid_of(encoder.processor, odd)
