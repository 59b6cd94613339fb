"""Boxes an expert asks for: the evidence with room around it, as fractions of a medium."""

from __future__ import annotations

import math
import random

from pearl_tools.types import Box

#: Decimals of the fractions in a call; rounding always goes outward.
_DECIMALS = 4


def around(box: Box, rng: random.Random, *, least: float, most: float, smallest: float) -> Box:
    """``box`` with a random margin on each side, inside 0..1, rounded outward.

    Margins are ``least`` to ``most`` times the longer side of the box, and each side of the result
    is at least ``smallest`` (a fraction), so that the place in the view tells nothing.
    """
    width, height = box[2] - box[0], box[3] - box[1]
    unit = max(width, height)
    left, top, right, bottom = (rng.uniform(least, most) * unit for _ in range(4))
    x0, x1 = _widen(max(0.0, box[0] - left), min(1.0, box[2] + right), smallest)
    y0, y1 = _widen(max(0.0, box[1] - top), min(1.0, box[3] + bottom), smallest)
    return outward((x0, y0, x1, y1))


def outward(box: Box) -> Box:
    """``box`` with few decimals, never smaller than it was, inside 0..1."""
    scale = 10**_DECIMALS
    low = [max(0.0, math.floor(value * scale) / scale) for value in box[:2]]
    high = [min(1.0, math.ceil(value * scale) / scale) for value in box[2:]]
    return (low[0], low[1], high[0], high[1])


def within(box: Box, view_root: Box, width: int, height: int) -> Box:
    """``box`` (fractions of the root, ``width`` x ``height`` px) as fractions of a view of it.

    ``view_root`` is the view's own box in root pixels.
    """
    x0, y0, x1, y1 = view_root
    return (
        min(1.0, max(0.0, (box[0] * width - x0) / (x1 - x0))),
        min(1.0, max(0.0, (box[1] * height - y0) / (y1 - y0))),
        min(1.0, max(0.0, (box[2] * width - x0) / (x1 - x0))),
        min(1.0, max(0.0, (box[3] * height - y0) / (y1 - y0))),
    )


def _widen(low: float, high: float, smallest: float) -> tuple[float, float]:
    missing = smallest - (high - low)
    if missing <= 0:
        return low, high
    low, high = low - missing / 2, high + missing / 2
    # push back inside rather than cut, so that the view keeps its size at the border
    shift = max(0.0, -low) - max(0.0, high - 1.0)
    return low + shift, high + shift
