"""Depth for eyes: brighter is nearer, the ends are named where they are, and no map breaks it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pearl_data.report.depth_colours import (
    RANGE,
    Ends,
    Limits,
    colour_depth,
    depth_bar,
    ends_of,
    is_log,
    limits_of,
    mark_ends,
    with_legend,
)


def luminance(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float64) @ [0.299, 0.587, 0.114]


@pytest.mark.parametrize("start", [0.0, 0.5, -1.0])
def test_nearer_is_brighter_in_depth_colours(start: float) -> None:
    ramp = np.linspace(start, start + 1, 64, dtype=np.float32)[None]
    brightness = luminance(colour_depth(ramp))[0]
    assert (np.diff(brightness) > -1.5).all()
    assert brightness[0] < 20
    assert brightness[-1] > 200


def test_one_near_thing_does_not_leave_the_rest_of_a_room_black() -> None:
    """Inverse depth from 1/10 m to 1/3 m, and a pole at half a metre."""
    room = np.tile(np.linspace(0.1, 0.33, 50, dtype=np.float32), (20, 1))
    room[:, :2] = 2.0
    brightness = luminance(colour_depth(room))[:, 2:]
    assert brightness.max() - brightness.min() > 60


def test_depth_that_is_not_finite_is_grey() -> None:
    depth = np.array([[0, np.nan], [np.inf, 1]], np.float32)
    assert (colour_depth(depth)[0, 1] == 128).all()
    assert (colour_depth(np.full((2, 2), np.nan, np.float32)) == 128).all()
    assert (colour_depth(np.ones((2, 2), np.float32)) == 128).all()


def test_shared_limits_give_equal_depths_equal_colours() -> None:
    first, second = np.array([[1.0, 2.0]], np.float32), np.array([[2.0, 4.0]], np.float32)
    limits = Limits(1.0, 4.0)
    assert (colour_depth(first, limits)[0, 1] == colour_depth(second, limits)[0, 0]).all()


def test_the_scale_begins_where_zeros_do_not_stretch_it() -> None:
    depth = np.zeros((10, 10), np.float32)
    depth[5:] = 3
    assert limits_of(depth) == Limits(3 / RANGE, 3)


def test_ends_are_named_where_they_are() -> None:
    depth = np.full((60, 90), 0.5, np.float32)
    depth[40:50, 70:80] = 1
    depth[5:15, 10:20] = 0.1
    ends = ends_of(depth)
    assert ends is not None
    assert 70 <= ends.near[0] * 90 <= 80
    assert 40 <= ends.near[1] * 60 <= 50
    assert 10 <= ends.far[0] * 90 <= 20
    assert 5 <= ends.far[1] * 60 <= 15
    picture = Image.fromarray(colour_depth(depth)).resize((360, 240))
    changed = (np.asarray(picture) != np.asarray(mark_ends(picture, ends))).any(axis=2)
    assert changed[160:200, 280:320].any()
    assert changed[20:60, 40:80].any()
    assert changed.mean() < 0.03


def test_single_pixels_are_no_ends() -> None:
    depth = np.full((60, 90), 0.5, np.float32)
    depth[40:50, 70:80] = 1
    depth[5, 5] = 2
    ends = ends_of(depth)
    assert ends is not None
    assert ends.near[0] * 90 > 60


@pytest.mark.parametrize("place", [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.5, 1.0)])
def test_marks_at_the_border_stay_inside(place: tuple[float, float]) -> None:
    picture = Image.new("RGB", (200, 150), "black")
    marked = np.asarray(mark_ends(picture, Ends(place, place)))
    assert marked.any()
    assert not marked[[0, -1]].any()
    assert not marked[:, [0, -1]].any()


def test_a_map_without_range_has_no_ends_and_tiny_pictures_no_marks() -> None:
    assert ends_of(np.ones((4, 4), np.float32)) is None
    assert ends_of(np.full((4, 4), np.nan, np.float32)) is None
    tiny = Image.new("RGB", (20, 20))
    assert mark_ends(tiny, Ends((0.5, 0.5), (0, 0))).tobytes() == tiny.tobytes()


def test_the_legend_runs_from_far_to_near() -> None:
    bar = luminance(np.asarray(depth_bar(300, 16)))
    middle = bar[bar.shape[0] // 2]
    assert middle[60] < middle[150] < middle[240]
    assert with_legend(Image.new("RGB", (300, 100)), log=True).height == 100 + 4 + bar.shape[0]


def test_the_legend_says_that_the_scale_is_logarithmic_where_it_is() -> None:
    inverse = np.array([[0.1, 1.0]], np.float32)
    assert is_log(limits_of(inverse))
    assert not is_log(limits_of(inverse - 2))  # no logarithm of values below 0
    plain, log = (depth_bar(300, 16, log=log) for log in (False, True))
    assert plain.tobytes() != log.tobytes()
    assert depth_bar(80, 16, log=True).tobytes() == depth_bar(80, 16).tobytes()  # no room


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.integers(1, 6)),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)
def test_any_map_gets_a_picture(depth: np.ndarray) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        picture = colour_depth(depth)
        ends = ends_of(depth)
    assert picture.shape == (*depth.shape, 3)
    mark_ends(Image.fromarray(picture).resize((80, 80)), ends)
