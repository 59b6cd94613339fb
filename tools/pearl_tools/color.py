"""Conversion from any Pillow mode to 8-bit sRGB, with a record of the changes.

16-bit samples are divided by 257 (65535 / 255), so that a value means the same grey in every
picture. 32-bit integers and floats have no declared white and are scaled by their own range, which
is recorded. Transparency is composited on white. A colour profile that changes colours is applied
(``icc:Display P3``), an sRGB profile has no effect, and an unusable profile is recorded
(``icc:ignored``); without a profile, Pillow's rule converts CMYK. The conversion works in bands of
rows and needs little memory besides the picture and the result. Not here: files, orientation and
frames (:mod:`pearl_tools.media`). Not supported: PNG's gAMA, cHRM and cICP.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Modes with 16-bit grey samples, in their byte orders.
_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N")
_PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
#: Modes whose colour profile is applied -> the mode that it is applied to.
_PROFILED = {"L": "L", "LA": "L", "CMYK": "CMYK", "RGB": "RGB", "RGBA": "RGB", "P": "RGB",
             "PA": "RGB", "RGBX": "RGB", "YCbCr": "RGB"}  # fmt: skip
_BAND_PIXELS = 1 << 21
#: A profile counts as sRGB if it changes no test colour by more than this.
_SAME_COLOUR = 3
_Band = Callable[[Image.Image], NDArray[np.uint8]]
_Convert = Callable[[Image.Image], Image.Image]


class NotAPictureError(ValueError):
    """Values that cannot be shown as a picture; the message says which."""


class Profile(NamedTuple):
    """A colour profile for one mode: its name, and its conversion to sRGB.

    ``convert`` is None if the profile cannot be applied, or need not be (``name`` is empty then).
    """

    name: str
    convert: _Convert | None


def to_rgb8(image: Image.Image, *, white_16: bool = False) -> tuple[NDArray[np.uint8], list[str]]:
    """uint8 ``(h, w, 3)`` pixels of a loaded image, and the changes made.

    ``white_16`` says that 32-bit integers hold 16-bit samples (PGM does that). Raises
    :class:`NotAPictureError` for a mode or values that have no colours.
    """
    changes = [] if image.mode == "RGB" else [f"mode:{image.mode}"]
    convert, changed = _converter(image, white_16=white_16)
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    top = 0
    for band in _bands(image):
        pixels[top : top + band.height] = convert(band)
        top += band.height
    return pixels, [*changes, *changed]


def profile_of(data: bytes | None, mode: str) -> Profile:
    """The colour profile ``data`` (None: sRGB) for pictures of ``mode``."""
    if not data:
        return Profile("", None)
    if mode not in _PROFILED:
        return Profile("ignored", None)
    return _opened_profile(bytes(data), _PROFILED[mode])


def _converter(image: Image.Image, *, white_16: bool) -> tuple[_Band, list[str]]:
    """The function that converts a band of ``image`` to pixels, and its changes."""
    mode = image.mode
    profile = profile_of(image.info.get("icc_profile"), mode)
    told = [f"icc:{profile.name}"] if profile.name else []
    clear = "transparency" in image.info
    if mode in _GREY_16 or (mode == "I" and white_16):
        lost = ["transparency:ignored"] if clear else []
        return _divided_by_257, [*lost, "bits:16/257", *told]
    if mode in ("I", "F"):
        low, high = _range(image)
        return partial(_scaled, low=low, high=high), [f"range:{low:.6g}..{high:.6g}", *told]
    if mode in _ALPHA or (mode in _PLAIN and clear):
        return partial(_on_white, convert=profile.convert), [*told, "alpha:on_white"]
    if mode in _PLAIN:
        return partial(_plain, convert=profile.convert), told
    raise NotAPictureError(f"colour mode {mode}")


def _bands(image: Image.Image) -> Iterator[Image.Image]:
    """``image`` in slices of rows, from the top."""
    width, height = image.size
    rows = max(1, _BAND_PIXELS // width)
    if rows >= height:
        yield image
        return
    for top in range(0, height, rows):
        yield image.crop((0, top, width, min(top + rows, height)))


def _divided_by_257(band: Image.Image) -> NDArray[np.uint8]:
    """16-bit samples as 8-bit ones, rounded to the nearest."""
    wide = np.clip(np.asarray(band).astype(np.int64), 0, 65535)
    return _grey(((wide + 128) // 257).astype(np.uint8))


def _range(image: Image.Image) -> tuple[float, float]:
    """The least and the greatest sample."""
    lows, highs = [], []
    for band in _bands(image):
        values = np.asarray(band, np.float64)
        if not np.isfinite(values).all():
            raise NotAPictureError("values that are not finite")
        lows.append(float(values.min()))
        highs.append(float(values.max()))
    low, high = min(lows), max(highs)
    if not np.isfinite(high - low):
        raise NotAPictureError("values beyond any range")
    return low, high


def _scaled(band: Image.Image, *, low: float, high: float) -> NDArray[np.uint8]:
    """Samples with ``low`` black and ``high`` white (constant: black)."""
    values = np.asarray(band).astype(np.float64)
    span = high - low
    scaled = np.zeros_like(values) if span == 0 else (values - low) / span
    return _grey(np.rint(scaled * 255).astype(np.uint8))


def _grey(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(grey[:, :, None], 3, axis=2)


def _plain(band: Image.Image, *, convert: _Convert | None) -> NDArray[np.uint8]:
    if convert is not None:
        band = convert(band)
    return np.asarray(band if band.mode == "RGB" else band.convert("RGB"), dtype=np.uint8)


def _on_white(band: Image.Image, *, convert: _Convert | None) -> NDArray[np.uint8]:
    clear = (band.convert("LA") if band.mode == "La" else band).convert("RGBA")
    if convert is not None:
        # a grey profile belongs to a grey picture, whose channel was only repeated
        colours = convert(band.convert("L") if band.mode == "LA" else clear.convert("RGB"))
        colours.putalpha(clear.getchannel("A"))
        clear = colours
    white = Image.new("RGBA", clear.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, clear).convert("RGB"), dtype=np.uint8)


@lru_cache(maxsize=32)
def _opened_profile(data: bytes, mode: str) -> Profile:
    """The profile for pictures of ``mode`` (L, RGB or CMYK), by Little CMS, perceptual intent."""
    try:
        from PIL import ImageCms
    except ImportError:
        return Profile("ignored", None)
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        name = ImageCms.getProfileDescription(profile)
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return Profile("ignored", None)  # unreadable, or a profile of other colours

    def convert(band: Image.Image) -> Image.Image:
        source = band if band.mode == mode else band.convert(mode)
        return transform.apply(source)

    if mode != "CMYK" and "srgb" in name.lower():
        levels = np.linspace(0, 255, 9 if mode == "RGB" else 256).round().astype(np.uint8)
        cube = np.stack(np.meshgrid(*[levels] * len(mode)), -1) if mode == "RGB" else levels[None]
        ladder = Image.fromarray(cube.reshape(1, -1, 3) if mode == "RGB" else cube)
        plain = np.asarray(ladder.convert("RGB"), np.int16)
        if np.abs(np.asarray(convert(ladder), np.int16) - plain).max() <= _SAME_COLOUR:
            return Profile("", None)
    cleaned = " ".join(re.sub(r"[^\w .,()+-]", " ", name).split())[:60]
    return Profile(cleaned or "unnamed", convert)
