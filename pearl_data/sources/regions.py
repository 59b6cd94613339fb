"""Regions to ask about: around a number of things, around none, around one thing or its part."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from heapq import nsmallest

from pearl_data.sources.facts import Thing, area_share, intersection_share
from pearl_tools.types import Box

#: Regions tried before giving up.
_TRIES = 60
#: A region larger than this share of the picture is hardly enlarged by cropping it.
LARGEST = 0.6
#: A thing counts as cut if a box cuts off at least this share of its width or height.
_CUT = (0.2, 0.5)
#: A thing lies wholly in a region from this share on (boxes have rounded corners).
WHOLE = 0.999


def region_with(
    things: Sequence[Thing], number: int, rng: random.Random, *, largest: float = LARGEST
) -> Box | None:
    """A region that holds exactly ``number`` (>= 1) of ``things`` whole and none in part, or None.

    Its sides are multiples of 0.01, so that the question can state it exactly, and it
    covers at most the share ``largest`` of the picture; up to 60 % a crop enlarges the things.
    """
    if number > len(things):
        return None
    for _ in range(_TRIES):
        centre = _centre(rng.choice(list(things)).bbox)
        near = nsmallest(number, things, key=lambda thing: _apart(_centre(thing.bbox), centre))
        margin = rng.uniform(0.005, 0.06)
        region = (
            max(0.0, math.floor((min(t.bbox[0] for t in near) - margin) * 100) / 100),
            max(0.0, math.floor((min(t.bbox[1] for t in near) - margin) * 100) / 100),
            min(1.0, math.ceil((max(t.bbox[2] for t in near) + margin) * 100) / 100),
            min(1.0, math.ceil((max(t.bbox[3] for t in near) + margin) * 100) / 100),
        )
        if area_share(region) <= largest and _holds(region, things, number):
            return region
    return None


def _holds(region: Box, things: Sequence[Thing], number: int) -> bool:
    """True if ``region`` holds ``number`` of ``things`` whole and none in part."""
    whole = 0
    for thing in things:
        share = intersection_share(thing.bbox, region)
        whole += share > WHOLE
        if 0 < share <= WHOLE or whole > number:
            return False
    return whole == number


def inside(things: Sequence[Thing], region: Box) -> list[Thing]:
    """The things that lie wholly in ``region``."""
    return [thing for thing in things if intersection_share(thing.bbox, region) > WHOLE]


def loose_box(
    box: Box,
    rng: random.Random,
    smallest: tuple[float, float],
    *,
    least: float = 0.05,
    most: float = 0.35,
) -> Box:
    """A box around ``box`` with a margin of ``least`` to ``most`` times its longer side, more
    for a width or height under ``smallest``; its sides are rounded outward to multiples of 0.001.
    """
    width, height = box[2] - box[0], box[3] - box[1]
    unit = max(width, height)
    left, top, right, bottom = (rng.uniform(least, most) * unit for _ in range(4))
    more_x, more_y = max(0.0, smallest[0] - width) / 2, max(0.0, smallest[1] - height) / 2
    return (
        max(0.0, math.floor((box[0] - left - more_x) * 1000) / 1000),
        max(0.0, math.floor((box[1] - top - more_y) * 1000) / 1000),
        min(1.0, math.ceil((box[2] + right + more_x) * 1000) / 1000),
        min(1.0, math.ceil((box[3] + bottom + more_y) * 1000) / 1000),
    )


def empty_box(
    like: Box, taken: Sequence[Box], rng: random.Random, smallest: tuple[float, float]
) -> Box | None:
    """A box about as large as ``like`` that touches none of ``taken``, or None."""
    loose = loose_box(like, rng, smallest)
    return free_box((loose[2] - loose[0], loose[3] - loose[1]), taken, rng, decimals=3)


def free_box(
    size: tuple[float, float], taken: Sequence[Box], rng: random.Random, *, decimals: int
) -> Box | None:
    """A box of ``size`` (fractions) that touches none of ``taken``, or None."""
    width, height = size
    for _ in range(_TRIES):
        x0 = round(rng.uniform(0, 1 - width), decimals)
        y0 = round(rng.uniform(0, 1 - height), decimals)
        x1, y1 = round(x0 + width, decimals), round(y0 + height, decimals)
        box = (x0, y0, min(1.0, x1), min(1.0, y1))
        if all(intersection_share(other, box) == 0 for other in taken):
            return box
    return None


def cut_box(whole: Box, thing: Box, rng: random.Random) -> Box | None:
    """A box like ``whole``, which holds ``thing``, that cuts a fifth to a half of the thing off.

    It is as large as ``whole`` if the picture has room to move it, else one side is moved inward;
    None if the thing has no side that can be cut.
    """
    width, height = whole[2] - whole[0], whole[3] - whole[1]
    for _ in range(_TRIES):
        axis = rng.choice((0, 1))
        size = (width, height)[axis]
        cut = rng.uniform(*_CUT) * (thing[axis + 2] - thing[axis])
        if rng.random() < 0.5:
            low = round(thing[axis] + cut, 3)
            high = round(low + size, 3)
        else:
            high = round(thing[axis + 2] - cut, 3)
            low = round(high - size, 3)
        if low >= 0 and high <= 1:
            return _with_axis(whole, axis, low, high)
    axis = rng.choice((0, 1))
    cut = rng.uniform(*_CUT) * (thing[axis + 2] - thing[axis])
    if rng.random() < 0.5:
        low, high = round(thing[axis] + cut, 3), whole[axis + 2]
    else:
        low, high = whole[axis], round(thing[axis + 2] - cut, 3)
    return _with_axis(whole, axis, low, high) if low < high else None


def part_box(
    point: tuple[float, float], side_px: float, width: int, height: int, rng: random.Random
) -> Box | None:
    """A square of ``side_px`` on a picture of ``width`` x ``height`` px that holds ``point``
    (fractions) somewhere in its middle half; None if it does not fit in the picture.
    """
    box = []
    for place, size in zip(point, (width, height), strict=True):
        low = place * size - side_px * rng.uniform(0.25, 0.75)
        low = min(max(0.0, low), size - side_px)
        box.append((low / size, (low + side_px) / size))
    (x0, x1), (y0, y1) = box
    square = (round(x0, 3), round(y0, 3), round(x1, 3), round(y1, 3))
    return square if min(square) >= 0 and max(square) <= 1 else None


def distance_from(box: Box, point: tuple[float, float], width: int, height: int) -> float:
    """Pixels from ``point`` to the nearest side of ``box``: negative for a point inside it."""
    x, y = point
    return max(
        (box[0] - x) * width, (x - box[2]) * width, (box[1] - y) * height, (y - box[3]) * height
    )


def _with_axis(box: Box, axis: int, low: float, high: float) -> Box:
    return (low, box[1], high, box[3]) if axis == 0 else (box[0], low, box[2], high)


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _apart(a: tuple[float, float], b: tuple[float, float]) -> float:
    return max(abs(a[0] - b[0]), abs(a[1] - b[1]))
