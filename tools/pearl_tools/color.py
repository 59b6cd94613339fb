"""From any Pillow mode to 8-bit RGB, saying what was done.

Choices: 16-bit samples are divided by 257 (65535 / 255), so that a value means the same grey in
every picture; 32-bit integers and floats have no declared white and are scaled by their own range,
which is recorded; transparency is laid on white; CMYK is converted without its colour profile.
Left out: files, orientation and frames (:mod:`pearl_tools.media`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Modes with 16-bit grey samples, in their byte orders.
_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N")
_PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


class NotAPictureError(ValueError):
    """Values that cannot be shown as a picture; the message says which."""


def to_rgb8(image: Image.Image, *, white_16: bool = False) -> tuple[NDArray[np.uint8], list[str]]:
    """uint8 ``(h, w, 3)`` pixels of a loaded image, perhaps read-only, and what changes made them.

    ``white_16`` says that 32-bit integers hold 16-bit samples (PGM does that). Raises
    :class:`NotAPictureError` for a mode or values that have no colours.
    """
    mode = image.mode
    changes = [] if mode == "RGB" else [f"mode:{mode}"]
    if mode in _GREY_16 or (mode == "I" and white_16):
        if "transparency" in image.info:
            changes.append("transparency:ignored")
        return _grey(_divide_by_257(np.asarray(image))), [*changes, "bits:16/257"]
    if mode in ("I", "F"):
        grey, low, high = _scale_by_range(np.asarray(image))
        return _grey(grey), [*changes, f"range:{low:.6g}..{high:.6g}"]
    if mode == "RGB" and "transparency" not in image.info:
        # One copy. Image.convert and np.array would each make another: 107 of 147 ms at 12 MP.
        return np.asarray(image, dtype=np.uint8), changes
    if mode in _ALPHA or (mode in _PLAIN and "transparency" in image.info):
        return _on_white(image), [*changes, "alpha:on_white"]
    if mode in _PLAIN:
        return np.array(image.convert("RGB"), dtype=np.uint8), changes
    raise NotAPictureError(f"colour mode {mode}")


def _divide_by_257(samples: NDArray[np.generic]) -> NDArray[np.uint8]:
    """16-bit samples as 8-bit ones, rounded to the nearest."""
    wide = np.clip(samples.astype(np.int64), 0, 65535)
    return ((wide + 128) // 257).astype(np.uint8)


def _scale_by_range(samples: NDArray[np.generic]) -> tuple[NDArray[np.uint8], float, float]:
    """Samples with their least value black and their greatest white (constant: black)."""
    values = samples.astype(np.float64)
    if not np.isfinite(values).all():
        raise NotAPictureError("values that are not finite")
    low, high = float(values.min()), float(values.max())
    span = high - low
    if not np.isfinite(span):
        raise NotAPictureError("values beyond any range")
    scaled = np.zeros_like(values) if span == 0 else (values - low) / span
    return np.rint(scaled * 255).astype(np.uint8), low, high


def _grey(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(grey[:, :, None], 3, axis=2)


def _on_white(image: Image.Image) -> NDArray[np.uint8]:
    colours = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    white = Image.new("RGBA", colours.size, (255, 255, 255, 255))
    return np.array(Image.alpha_composite(white, colours).convert("RGB"), dtype=np.uint8)
