"""Regions to ask about: one that holds a given number of things, one that holds none."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from pearl_data.sources.facts import Thing, area_share, intersection_share
from pearl_tools.types import Box

#: Regions tried before giving up.
_TRIES = 60
#: A region larger than this share of the picture is hardly enlarged by cropping it.
_LARGEST = 0.6
#: A thing lies wholly in a region from this share on (boxes have rounded corners).
WHOLE = 0.999


def region_with(things: Sequence[Thing], number: int, rng: random.Random) -> Box | None:
    """A region that holds exactly ``number`` (>= 1) of ``things`` whole and none in part, or None.

    Its sides lie on hundredths of the picture, so that the question can name it exactly, and it
    covers at most 60 % of it, so that cropping it enlarges what is counted.
    """
    if number > len(things):
        return None
    for _ in range(_TRIES):
        centre = _centre(rng.choice(list(things)).bbox)
        near = sorted(things, key=lambda thing: _apart(_centre(thing.bbox), centre))[:number]
        margin = rng.uniform(0.005, 0.06)
        region = (
            max(0.0, math.floor((min(t.bbox[0] for t in near) - margin) * 100) / 100),
            max(0.0, math.floor((min(t.bbox[1] for t in near) - margin) * 100) / 100),
            min(1.0, math.ceil((max(t.bbox[2] for t in near) + margin) * 100) / 100),
            min(1.0, math.ceil((max(t.bbox[3] for t in near) + margin) * 100) / 100),
        )
        shares = [intersection_share(thing.bbox, region) for thing in things]
        none_cut = all(share == 0 or share > WHOLE for share in shares)
        if none_cut and len(inside(things, region)) == number and area_share(region) <= _LARGEST:
            return region
    return None


def inside(things: Sequence[Thing], region: Box) -> list[Thing]:
    """The things that lie wholly in ``region``."""
    return [thing for thing in things if intersection_share(thing.bbox, region) > WHOLE]


def loose_box(box: Box, rng: random.Random) -> Box:
    """A box around ``box``, on thousandths, with some room on every side."""
    unit = max(box[2] - box[0], box[3] - box[1])
    left, top, right, bottom = (rng.uniform(0.05, 0.35) * unit for _ in range(4))
    return (
        max(0.0, round(box[0] - left, 3)),
        max(0.0, round(box[1] - top, 3)),
        min(1.0, round(box[2] + right, 3)),
        min(1.0, round(box[3] + bottom, 3)),
    )


def empty_box(like: Box, taken: Sequence[Box], rng: random.Random) -> Box | None:
    """A box about as large as ``like`` that touches none of ``taken``, or None."""
    loose = loose_box(like, rng)
    width, height = loose[2] - loose[0], loose[3] - loose[1]
    for _ in range(_TRIES):
        x0 = round(rng.uniform(0, 1 - width), 3)
        y0 = round(rng.uniform(0, 1 - height), 3)
        box = (x0, y0, min(1.0, round(x0 + width, 3)), min(1.0, round(y0 + height, 3)))
        if all(intersection_share(other, box) == 0 for other in taken):
            return box
    return None


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _apart(a: tuple[float, float], b: tuple[float, float]) -> float:
    return max(abs(a[0] - b[0]), abs(a[1] - b[1]))
