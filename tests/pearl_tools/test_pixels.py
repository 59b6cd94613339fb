from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from made_media import gradient
from numpy.typing import NDArray

from pearl_tools.errors import ToolFailure
from pearl_tools.media import open_image
from pearl_tools.pixels import decode_npy, encode_npy, encode_png, pixel_sha256

pictures = npst.arrays(
    np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3)), fill=st.nothing()
)


@given(pictures)
def test_png_is_lossless(pixels: NDArray[np.uint8]) -> None:
    assert (open_image(encode_png(pixels)).pixels == pixels).all()


def test_grey_png_is_lossless() -> None:
    grey = gradient(20, 10)[:, :, 0].copy()
    assert (open_image(encode_png(grey)).pixels[:, :, 1] == grey).all()


def test_hash_is_of_dtype_shape_and_bytes() -> None:
    pixels = gradient(4, 3)
    expected = hashlib.sha256(b"uint8 3,4,3\n" + pixels.tobytes()).hexdigest()
    assert pixel_sha256(pixels) == expected
    assert pixel_sha256(pixels.reshape(4, 3, 3)) != expected
    assert pixel_sha256(np.asfortranarray(pixels)) == expected


def test_hash_does_not_depend_on_byte_order() -> None:
    depth = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    assert pixel_sha256(depth) == pixel_sha256(depth.astype(">f4"))  # type: ignore[arg-type]  # same values


@given(npst.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_npy_is_exact(depth: NDArray[np.float32]) -> None:
    assert decode_npy(encode_npy(depth)).tobytes() == depth.tobytes()


def test_npy_with_objects_is_refused_not_unpickled() -> None:
    file = io.BytesIO()
    np.save(file, np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    with pytest.raises(ToolFailure) as raised:
        decode_npy(file.getvalue(), "o1.npy")
    assert raised.value.error.code == "execution.decode"
    assert raised.value.error.path == "o1.npy"


@pytest.mark.parametrize("array", [np.zeros((2, 2)), np.zeros((2, 2, 3), np.float32), np.zeros(3)])
def test_npy_of_another_kind_is_refused(array: NDArray[np.generic]) -> None:
    file = io.BytesIO()
    np.save(file, array)
    with pytest.raises(ToolFailure) as raised:
        decode_npy(file.getvalue())
    assert raised.value.error.code == "execution.decode"


def test_npy_header_that_promises_more_than_there_is_is_refused_before_memory_is_taken() -> None:
    data = encode_npy(np.zeros((4, 4), np.float32))
    huge = data.replace(b"(4, 4), }      ", b"(90000, 90000),}"[:15])
    for broken in (data[:-1], huge):
        with pytest.raises(ToolFailure):
            decode_npy(broken)
    with pytest.raises(ToolFailure) as raised:
        decode_npy(data[:-1])
    assert raised.value.error.code == "parse.truncated"


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"not an array at all"])
def test_bytes_that_are_no_npy_are_refused(data: bytes) -> None:
    with pytest.raises(ToolFailure) as raised:
        decode_npy(data)
    assert raised.value.error.code == "execution.decode"
