"""The grey picture of a depth map: brighter is nearer, outliers do not flatten it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pearl_tools.depth import depth_picture


def test_larger_is_brighter_and_the_channels_are_equal() -> None:
    ramp = np.linspace(1, 3, 200, dtype=np.float32).reshape(10, 20)
    picture = depth_picture(ramp)
    assert (picture.shape, picture.dtype) == ((10, 20, 3), np.uint8)
    grey = picture[..., 0].ravel().astype(int)
    assert (np.diff(grey) >= 0).all()
    assert (grey[0], grey[-1]) == (0, 255)
    assert (picture == picture[..., :1]).all()


def test_one_extreme_pixel_does_not_flatten_the_rest() -> None:
    ramp = np.linspace(1, 3, 1000, dtype=np.float32)
    ramp[-1] = 1e6
    assert np.ptp(depth_picture(ramp.reshape(20, 50))[..., 0].ravel()[:-1].astype(int)) > 240


def test_a_constant_map_is_mid_grey() -> None:
    assert (depth_picture(np.full((4, 5), 7, np.float32)) == 128).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 2, 1), np.float32), r"expected a map \(h, w\), got shape \(2, 2, 1\)"),
        (np.zeros((0, 2), np.float32), "got shape"),
        (np.array([[0, np.nan]], np.float32), "expected finite values"),
    ],
)
def test_what_is_no_map_is_refused(values: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        depth_picture(values)


@given(arrays(np.float32, (5, 7), elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_order_is_never_reversed(values: np.ndarray) -> None:
    grey = depth_picture(values)[..., 0].astype(int).ravel()
    order = np.argsort(values.ravel(), kind="stable")
    assert (np.diff(grey[order]) >= 0).all()
