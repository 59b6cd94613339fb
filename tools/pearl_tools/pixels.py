"""Exact pixels as hashes and bytes: what is compared, and what is stored without loss.

Read stored members with :func:`decode_member`; it never unpickles and believes no header that
does not fit the bytes that follow. Not here: opening other people's pictures
(:mod:`pearl_tools.media`).
"""

from __future__ import annotations

import hashlib
import io
import re

import numpy as np
from numpy.typing import NDArray

from pearl_tools.errors import fail

Pixels = NDArray[np.uint8] | NDArray[np.float32]

#: Head of the only ``.npy`` files that are ours, as ``np.save`` writes it.
_NPY_HEAD = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)"
    rb"(?P<text>\{'descr': '<f4', 'fortran_order': False, "
    rb"'shape': \((?P<height>[1-9][0-9]{0,6}), (?P<width>[1-9][0-9]{0,6})\), \} *\n)",
    re.DOTALL,
)


def pixel_sha256(pixels: Pixels) -> str:
    """Hash of an exact array: dtype name, shape, then its bytes in C order (little endian)."""
    array = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    head = f"{array.dtype.name} {','.join(map(str, array.shape))}\n"
    digest = hashlib.sha256(head.encode("ascii"))
    digest.update(array.data)
    return digest.hexdigest()


def encode_png(pixels: Pixels) -> bytes:
    """Lossless PNG of uint8 ``(h, w, 3)`` RGB or ``(h, w)`` grey, at compression level 1.

    Level 1 is three times as fast as the default for files about a tenth larger.
    """
    import cv2

    assert pixels.dtype == np.uint8, f"encode_png takes uint8, got {pixels.dtype}"
    array = pixels if pixels.ndim == 2 else cv2.cvtColor(np.asarray(pixels), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", array, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done, "OpenCV encodes any uint8 array as PNG"
    return bytes(data)


def encode_npy(pixels: Pixels) -> bytes:
    """``.npy`` bytes of an array, without pickle."""
    file = io.BytesIO()
    np.save(file, pixels, allow_pickle=False)
    return file.getvalue()


def decode_npy(data: bytes, path: str = "member") -> Pixels:
    """The float32 ``(h, w)`` map in ``.npy`` bytes; raises a coded failure for anything else.

    The header is matched, not evaluated (numpy's reader leaks tokenizer errors for damaged ones),
    and its size compared with the bytes before any memory is taken.
    """
    head = _NPY_HEAD.match(data)
    if head is None or int.from_bytes(head["length"], "little") != len(head["text"]):
        raise fail(
            "execution.decode",
            path,
            "a .npy file (version 1.0) of float32 (height, width) in C order",
            f"{len(data)} bytes: {data[:90]!r}",
        )
    shape = (int(head["height"]), int(head["width"]))
    body = memoryview(data)[head.end() :]
    if len(body) != shape[0] * shape[1] * 4:
        expected = f"{shape[0] * shape[1] * 4} bytes of values for {shape}"
        raise fail("parse.truncated", path, expected, f"{len(body)} bytes")
    return np.frombuffer(body, dtype="<f4").reshape(shape)
