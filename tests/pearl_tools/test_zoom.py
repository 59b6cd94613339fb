from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from box_strategies import pixel_boxes
from hypothesis import given
from hypothesis import strategies as st
from made_media import gradient, photo
from PIL import Image

from pearl_tools.executor import ExecutorSettings, ToolExecutor
from pearl_tools.geometry import px_to_fraction
from pearl_tools.types import Observation, ToolCall
from pearl_tools.zoom import Zoom

PHOTO = photo(300, 200)
EXECUTOR = ToolExecutor()


def zoom(executor: ToolExecutor = EXECUTOR, **arguments: Any) -> Observation:
    call = ToolCall(id="c1", tool="zoom", arguments={"image": "i0", **arguments})
    return executor.run(call, {"i0": PHOTO})


def test_zoom_is_pillows_lanczos_of_the_exact_region_at_the_stated_size() -> None:
    observation = zoom(bbox=[0.25, 0.25, 0.5, 0.5])
    [view] = observation.media
    cut = Image.fromarray(gradient(300, 200)[50:100, 75:150].copy())
    assert (view.pixels == np.asarray(cut.resize((448, 299), Image.Resampling.LANCZOS))).all()
    assert observation.effective is not None
    resampling = observation.effective.resampling
    assert resampling is not None
    assert (resampling.width, resampling.height, resampling.filter) == (448, 299, "lanczos")
    assert observation.effective.box_root == (75, 50, 150, 100) == view.record.box_root
    assert "(75x50 px) resampled to 448x299 px" in observation.text


def test_zoom_is_bit_identical_to_the_recorded_one() -> None:
    [view] = zoom(bbox=[0.25, 0.25, 0.5, 0.5]).media
    assert view.record.pixel_sha256 == GOLDEN


def test_center_and_factor_are_the_window_around_the_centre() -> None:
    by_box = zoom(bbox=[0.25, 0.25, 0.75, 0.75])
    by_center = zoom(center=[0.5, 0.5], factor=2)
    assert by_center.effective == by_box.effective
    assert by_center.media[0].record.pixel_sha256 == by_box.media[0].record.pixel_sha256


def test_factor_one_is_the_whole_picture() -> None:
    effective = zoom(center=[0.5, 0.5], factor=1).effective
    assert effective is not None
    assert effective.box_px == (0, 0, 300, 200)


@pytest.mark.parametrize(
    ("arguments", "code", "path"),
    [
        ({}, "schema.combination", "arguments"),
        ({"center": [0.5, 0.5]}, "schema.combination", "arguments"),
        ({"factor": 2}, "schema.combination", "arguments"),
        ({"bbox": [0, 0, 1, 1], "factor": 2}, "schema.combination", "arguments"),
        ({"center": [0.9, 0.5], "factor": 2}, "geometry.partly_outside", "arguments.center[0]"),
        ({"center": [0.5, 1.9], "factor": 2}, "geometry.outside", "arguments.center[1]"),
        ({"center": [150, 100], "factor": 2}, "geometry.wrong_unit", "arguments.center[0]"),
        ({"center": [0.5, 0.5], "factor": 100}, "geometry.too_small", "arguments.factor"),
    ],
)
def test_every_wrong_window_has_its_code_and_place(
    arguments: dict[str, Any], code: str, path: str
) -> None:
    error = zoom(**arguments).error
    assert error is not None
    assert (error.code, error.path) == (code, path)


def test_window_outside_says_where_the_centre_may_lie() -> None:
    error = zoom(center=[0.9, 0.5], factor=2).error
    assert error is not None
    assert error.expected == "x between 0.25 and 0.75 for factor 2"
    assert error.got == "0.9"


def test_window_is_clamped_with_a_record_when_the_settings_say_so() -> None:
    executor = ToolExecutor(ExecutorSettings(on_partly_outside="clamp"))
    effective = zoom(executor, center=[0.9, 0.5], factor=2).effective
    assert effective is not None
    assert effective.box_px == (195, 50, 300, 150)
    assert [a.kind for a in effective.adjustments] == ["clamped"]


@given(pixel_boxes(5000, 5000, least=1), st.integers(16, 4096))
def test_long_side_is_as_stated_and_the_shape_is_kept(
    box_px: tuple[int, int, int, int], long_side_px: int
) -> None:
    width, height = box_px[2] - box_px[0], box_px[3] - box_px[1]
    size = Zoom().resampling(box_px, long_side_px)
    assert max(size.width, size.height) == long_side_px
    exact = min(width, height) * long_side_px / max(width, height)
    assert abs(min(size.width, size.height) - max(1, exact)) <= 0.5


@given(pixel_boxes(300, 200, least=4))
def test_zoom_shows_the_pixels_it_says(box_px: tuple[int, int, int, int]) -> None:
    executor = ToolExecutor(ExecutorSettings(zoom_long_side_px=16))
    observation = zoom(executor, bbox=list(px_to_fraction(box_px, 300, 200)))
    assert observation.effective is not None
    assert observation.effective.box_px == box_px


#: Of the gradient's region at 448x299. A Pillow that resamples otherwise must not go unnoticed:
#: stored zooms would no longer replay.
GOLDEN = "283bbfcc3f9c787d612fecd63d64957fbc1eac61f0ad99cba0250a04b11be8d5"
