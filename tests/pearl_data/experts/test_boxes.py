from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pearl_data.experts.boxes import around, within
from pearl_data.experts.depth_reading import margin_share, reading

boxes = st.tuples(
    st.floats(0, 0.99), st.floats(0, 0.99), st.floats(0.001, 1), st.floats(0.001, 1)
).map(lambda b: (b[0], b[1], min(1.0, b[0] + b[2]), min(1.0, b[1] + b[3])))


@given(boxes, st.integers(0, 99), st.floats(0.01, 0.5))
def test_a_view_holds_its_evidence_and_stays_in_the_picture(
    box: tuple[float, float, float, float], seed: int, smallest: float
) -> None:
    view = around(box, random.Random(seed), least=0.1, most=0.8, smallest=smallest)
    assert view[0] <= box[0]
    assert view[1] <= box[1]
    assert view[2] >= box[2]
    assert view[3] >= box[3]
    assert min(view) >= 0
    assert max(view) <= 1
    assert view[2] - view[0] >= min(smallest, 1) - 1e-3
    assert all(abs(value * 1e4 - round(value * 1e4)) < 1e-6 for value in view)


@given(boxes)
def test_a_box_within_a_view_of_everything_is_itself(
    box: tuple[float, float, float, float],
) -> None:
    inside = within(box, (0, 0, 640, 480), 640, 480)
    assert np.allclose(inside, box)


def test_a_reading_is_the_median_of_the_middle_and_larger_is_nearer() -> None:
    depth = np.zeros((100, 100), np.float32)
    depth[20:40, 20:40] = 0.9
    depth[60:80, 60:80] = 0.4
    assert np.isclose(reading(depth, (0.2, 0.2, 0.4, 0.4)), 0.9)
    assert np.isclose(reading(depth, (0.6, 0.6, 0.8, 0.8)), 0.4)
    assert np.isclose(margin_share(depth, 0.9, 0.4), 0.5 / 0.9)
    assert margin_share(depth, 0.4, 0.9) < 0


def test_a_flat_map_decides_nothing() -> None:
    assert margin_share(np.ones((4, 4), np.float32), 1, 1) == 0


def test_a_box_smaller_than_a_pixel_still_reads_one() -> None:
    depth = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert reading(depth, (0.999, 0.999, 1.0, 1.0)) == 15
