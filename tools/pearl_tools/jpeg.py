"""JPEG pixels by OpenCV, twice as fast as by Pillow, and only where they are the same pixels.

Both decode with libjpeg-turbo; Pillow unpacks every pixel twice on the way to an array. Builds may
differ (another library, other settings), so both decode a test picture once a process, and where
they disagree OpenCV is not used. Left out: what is damaged or cut short, which Pillow names better;
grey, CMYK and turned pictures.
"""

from __future__ import annotations

import io
from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

_END = b"\xff\xd9"
#: Straight to RGB, which costs nothing; OpenCV has this since 4.11, and before it Pillow decodes.
_RGB: Final[int | None] = getattr(cv2, "IMREAD_COLOR_RGB", None)


def plain_pixels(image: Image.Image, data: bytes) -> NDArray[np.uint8] | None:
    """uint8 ``(h, w, 3)`` RGB of ``data``, whose header ``image`` is; None where Pillow must do it:
    no whole colour JPEG, or OpenCV decodes otherwise or not at all.
    """
    whole = data.endswith(_END)
    if image.format != "JPEG" or image.mode != "RGB" or not whole or not same_decoders():
        return None
    pixels = _decode(data)
    return pixels if pixels is not None and pixels.shape[1::-1] == image.size else None


@cache
def same_decoders() -> bool:
    """Whether OpenCV and Pillow give the same pixels for test pictures of every common sampling,
    sequential and progressive.
    """
    ramp = np.add.outer(np.arange(37) * 5, np.arange(53) * 3)
    noise = np.random.default_rng(0).integers(0, 64, (37, 53, 3))
    drawn = Image.fromarray(((ramp[:, :, None] * (1, 2, 3) + noise) % 256).astype(np.uint8))
    for sampling in (0, 1, 2):
        for progressive in (False, True):
            file = io.BytesIO()
            drawn.save(file, "JPEG", quality=80, subsampling=sampling, progressive=progressive)
            pixels = _decode(file.getvalue())
            if pixels is None or not np.array_equal(pixels, np.asarray(Image.open(file))):
                return False
    return True


def _decode(data: bytes) -> NDArray[np.uint8] | None:
    if _RGB is None:
        return None
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if pixels is None else np.asarray(pixels, np.uint8)
