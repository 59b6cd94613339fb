"""The facts of a source about one picture, from which questions are made.

A :class:`Thing` is one object with its box and whatever is known of it; :class:`Facts` are the
things of one picture with their provenance. Not here: questions (:mod:`pearl_data.sources.tasks`)
and pixels.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

from pearl_tools.types import Box, Record


class Thing(Record, frozen=True, kw_only=True):
    """One object of a picture.

    ``bbox`` is a fraction 0..1 of the picture; ``distance`` orders things from near to far
    (metres or a rank; null where unknown) and is compared only within one picture. ``crowd`` is a
    box that means no single thing, or only the part of the picture where one may be: never asked
    about, and its kind is never counted. ``keypoints`` are named parts: (x, y as fractions 0..1 of
    the picture, 0 not labelled, 1 hidden, 2 visible). ``kin`` are broader and narrower names that
    fit it, too.
    """

    id: str
    name: str
    bbox: Box
    description: str | None = None
    attributes: dict[str, str] = {}
    distance: float | None = None
    crowd: bool = False
    keypoints: dict[str, tuple[float, float, int]] = {}
    kin: list[str] = []


class Facts(Record, frozen=True, kw_only=True):
    """The things of one picture. ``complete`` names the kinds of which every instance is listed,
    so that they can be counted; ``doubtful`` those that may be there without being listed, so that
    they are not offered as wrong names.
    """

    dataset: str
    row: str
    licence: str
    width: int
    height: int
    things: list[Thing]
    complete: list[str]
    doubtful: list[str] = []


def area_share(box: Box) -> float:
    """Share 0..1 of the picture that ``box`` covers."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0..1."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0.0, width) * max(0.0, height)
    union = area_share(one) + area_share(other) - both
    return both / union if union > 0 else 0.0


def intersection_share(inner: Box, outer: Box) -> float:
    """Share 0..1 of ``inner`` that lies in ``outer``."""
    x0, y0 = max(inner[0], outer[0]), max(inner[1], outer[1])
    x1, y1 = min(inner[2], outer[2]), min(inner[3], outer[3])
    inside = max(0.0, x1 - x0) * max(0.0, y1 - y0)
    whole = area_share(inner)
    return inside / whole if whole > 0 else 0.0


def centre_distance(box: Box, width: int, height: int) -> float:
    """Distance in pixels from the centre of ``box`` to the centre of the picture."""
    x = ((box[0] + box[2]) / 2 - 0.5) * width
    y = ((box[1] + box[3]) / 2 - 0.5) * height
    return math.hypot(x, y)


def long_side_px(box: Box, width: int, height: int, model_long_side_px: int) -> float:
    """Longer side of ``box`` in pixels once the picture is shrunk to the model's long side."""
    scale = min(1.0, model_long_side_px / max(width, height))
    return max((box[2] - box[0]) * width, (box[3] - box[1]) * height) * scale


def phrase(thing: Thing, things: Sequence[Thing]) -> str:
    """A noun phrase that means ``thing`` and no other of ``things``: ``the red mug``.

    The annotator's own description first, then the plain name, then colour and name; where all of
    these also fit another thing, its box as fractions of the picture makes it certain.
    """
    described = [other.description for other in things if other.id != thing.id]
    if thing.description and thing.description.casefold() not in {
        other.casefold() for other in described if other
    }:
        return with_article(thing.description)
    alike = {thing.name, *thing.kin}
    same = [other for other in things if other.name in alike and other.id != thing.id]
    if not same:
        return with_article(thing.name)
    colour = thing.attributes.get("color")
    if colour and all(
        other.attributes.get("color", colour).casefold() != colour.casefold() for other in same
    ):
        return f"the {colour} {thing.name}"
    return placed(thing)


def placed(thing: Thing) -> str:
    """``thing`` by its name and box: ``the mug at [0.1, 0.2, 0.3, 0.4]``."""
    return f"the {thing.name} at {box_words(thing.bbox)}"


def fold(text: str) -> str:
    """``text`` without letter case, spaces, underscores, hyphens and a full stop or comma at its
    end: texts that fold alike are one.

    >>> fold("Traffic_Light.") == fold("traffic  light")
    True
    """
    plain = unicodedata.normalize("NFKC", text).casefold().rstrip(".,;:! ")
    return "".join(plain.replace("_", " ").replace("-", " ").split())


def with_article(noun: str) -> str:
    """``noun`` with a definite article unless it already has one; ``a`` becomes ``the``.

    Example:
        >>> with_article("an old spoon"), with_article("The mug")
        ('the old spoon', 'The mug')

    """
    first, _, rest = noun.partition(" ")
    if rest and first.casefold() in ("a", "an"):
        noun = rest
    return noun if first.casefold() == "the" else f"the {noun}"


def box_words(box: Box) -> str:
    """``box`` as questions write it: ``[0.12, 0.3, 0.255, 0.41]``, fractions of the picture."""
    return "[" + ", ".join(f"{round(value, 3):g}" for value in box) + "]"
