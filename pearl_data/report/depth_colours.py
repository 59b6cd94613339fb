"""Depth for eyes: a coloured picture of a map, its legend, and where its ends lie.

Colours follow the logarithm of inverse depth, so that one thing close by does not leave the rest of
a room black; their brightness rises all the way, for eyes that see few hues. The grey picture that
models see (:func:`pearl_tools.depth.depth_picture`) is another one and stays as it is stored.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pearl_data.report.type_setting import face

#: Below the near end divided by this, all is as far: a log scale must begin somewhere.
RANGE = 50.0
UNKNOWN = 128


class Limits(NamedTuple):
    """The inverse depths that get the first and the last colour."""

    far: float
    near: float


class Ends(NamedTuple):
    """Where a map is nearest and farthest: (x, y) as fractions of its width and height."""

    near: tuple[float, float]
    far: tuple[float, float]


def limits_of(depth: NDArray[np.float32]) -> Limits:
    """The 1st and 99th percentile of the finite values, at most :data:`RANGE` apart."""
    finite = depth[np.isfinite(depth)].astype(np.float64)
    if finite.size == 0:
        return Limits(0.0, 0.0)
    low, high = (float(v) for v in np.percentile(finite, (1, 99)))
    return Limits(max(low, high / RANGE) if high > 0 else low, high)


def colour_depth(depth: NDArray[np.float32], limits: Limits | None = None) -> NDArray[np.uint8]:
    """``(h, w)`` relative inverse depth as ``(h, w, 3)`` RGB: black = far, pale yellow = near.

    ``limits`` gives several maps one scale (default: the map's own). Values that are not finite are
    grey, and so is a map without any range.
    """
    far, near = limits or limits_of(depth)
    finite = np.isfinite(depth)
    if not near > far:
        return np.full((*depth.shape, 3), UNKNOWN, np.uint8)
    values = np.nan_to_num(depth.astype(np.float64), posinf=near, neginf=far)
    if is_log(Limits(far, near)):
        scaled = np.log(np.clip(values, far, near) / far) / np.log(near / far)
    else:  # values below 0 have no logarithm; models whose shift is unknown may give them
        scaled = (np.clip(values, far, near) - far) / (near - far)
    colours = cv2.applyColorMap(np.rint(255 * scaled).astype(np.uint8), cv2.COLORMAP_INFERNO)
    rgb = np.ascontiguousarray(colours[:, :, ::-1])
    rgb[~finite] = UNKNOWN
    return rgb.astype(np.uint8)


def is_log(limits: Limits) -> bool:
    """Whether :func:`colour_depth` follows the logarithm between these limits; legends say so,
    because readings in words are shares of a map's range as it is.
    """
    return 0 < limits.far < limits.near


def ends_of(depth: NDArray[np.float32]) -> Ends | None:
    """The nearest and the farthest place of a map, smoothed so that single pixels do not count;
    None where there is no such place.
    """
    finite = np.isfinite(depth)
    if not finite.any() or float(np.ptp(depth[finite])) == 0:
        return None
    filled = np.where(finite, depth, np.median(depth[finite])).astype(np.float32)
    side = max(3, min(depth.shape) // 24 | 1)
    smooth = cv2.blur(filled, (side, side))

    def place(index: int) -> tuple[float, float]:
        y, x = np.unravel_index(index, depth.shape)
        return (float(x) + 0.5) / depth.shape[1], (float(y) + 0.5) / depth.shape[0]

    return Ends(place(int(smooth.argmax())), place(int(smooth.argmin())))


def mark_ends(picture: Image.Image, ends: Ends | None, size: int = 15) -> Image.Image:
    """A copy with rings around the nearest and the farthest place, named in letters of ``size``."""
    out = picture.copy()
    if ends is None or min(out.size) < 4 * size:
        return out
    draw = ImageDraw.Draw(out)
    font = face(size)
    radius = max(3, size // 3)
    for name, (x, y) in zip(("near", "far"), ends, strict=True):
        # the whole ring stays in the picture
        cx = min(max(x * out.width, radius + 2), out.width - radius - 2)
        cy = min(max(y * out.height, radius + 2), out.height - radius - 2)
        ring = (cx - radius, cy - radius, cx + radius, cy + radius)
        draw.ellipse([ring[0] - 1, ring[1] - 1, ring[2] + 1, ring[3] + 1], outline="black", width=3)
        draw.ellipse(ring, outline="white", width=2)
        room = font.getlength(name) + radius + 6
        right = cx + room < out.width
        left_edge = cx + radius + 4 if right else cx - radius - 4
        draw.text(
            (left_edge, min(max(cy, 0.7 * size), out.height - 0.7 * size)),
            name,
            "white",
            font,
            anchor="lm" if right else "rm",
            stroke_width=2,
            stroke_fill="black",
        )
    return out


def with_legend(picture: Image.Image, size: int = 16, *, log: bool = False) -> Image.Image:
    """A depth picture with the bar from far to near under it."""
    bar = depth_bar(picture.width, size, log=log)
    out = Image.new("RGB", (picture.width, picture.height + bar.height + 4), "white")
    out.paste(picture, (0, 0))
    out.paste(bar, (0, picture.height + 4))
    return out


def depth_bar(width: int, size: int, *, log: bool = False) -> Image.Image:
    """A bar ``width`` pixels wide from far to near, named at both ends in letters of ``size``; says
    that colours follow a logarithm where there is room for it.
    """
    font = face(size)
    far, near = "far", "near (log scale)" if log else "near"
    if font.getlength(f"{far}  {near}") > 0.6 * width:
        near = "near"
    out = Image.new("RGB", (width, round(1.3 * size)), "white")
    draw = ImageDraw.Draw(out)
    left, right = round(font.getlength(f"{far} ")), round(font.getlength(f" {near}"))
    ramp = np.linspace(-1, 0, max(width - left - right, 8), dtype=np.float32)[None]
    middle = round(0.65 * size)
    colours = colour_depth(ramp, Limits(-1.0, 0.0))
    strip = Image.fromarray(np.repeat(colours, max(size // 2, 2), axis=0))
    out.paste(strip, (left, middle - strip.height // 2))
    draw.text((0, middle), far, "#555555", font, anchor="lm")
    draw.text((width, middle), near, "#555555", font, anchor="rm")
    return out
