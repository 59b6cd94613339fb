"""Boxes: from a caller's unit to integer pixels, with a code for every failed check.

A fraction box becomes half-open integer pixels by rounding outward (floor, ceil), so that the
requested region is always contained. :data:`EPSILON_PX` absorbs the rounding error of the division
that made the fraction, so that k / W comes back as exactly k. A unit is declared, never guessed:
values that cannot be in the declared unit are refused. Not here: pixel data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pearl_tools.errors import FaultOwner, ToolFailure, fail, tool_error
from pearl_tools.settings import ExecutorSettings
from pearl_tools.types import Adjustment, Box, BoxPx, MediaFacts

Unit = Literal["fraction", "pixel", "per_mille"]

#: A millionth of a pixel: far above float64 rounding for any picture, far below any intention.
EPSILON_PX = 1e-6
#: Longer side by shorter side: processors of vision-language models refuse thinner pictures.
MAX_ASPECT_RATIO = 200
AXES = ("x", "y")
UNIT_WORDS: dict[Unit, str] = {
    "fraction": "fractions 0 to 1 of the picture",
    "pixel": "pixels of the picture",
    "per_mille": "thousandths 0 to 1000 of the picture",
}


@dataclass(frozen=True, kw_only=True)
class Naming:
    """A caller's vocabulary: the unit of its boxes, its names for our arguments and media.

    Errors use it, so that a model reads ``arguments.bbox_2d[0]: 0 to 1000`` if that is
    its own form. The default is our own dialect. ``tool`` is the caller's only tool (empty: it has
    ours), ``medium`` gives its name for the medium with our id.
    """

    unit: Unit = "fraction"
    names: Mapping[str, str] = field(default_factory=dict)
    tool: str = ""
    medium: Callable[[str], str] = str

    def name(self, argument: str) -> str:
        """The caller's name of an argument of ours."""
        return self.names.get(argument, argument)

    def path(self, argument: str, index: int | None = None) -> str:
        """JSON path of an argument of ours in the caller's names."""
        where = f"arguments.{self.name(argument)}"
        return where if index is None else f"{where}[{index}]"

    def show(self, fraction: float, size_px: int) -> str:
        """A coordinate in the caller's unit, as text."""
        return f"{fraction * unit_scale(self.unit, size_px):.6g}"


OWN_NAMING = Naming()


class CheckedBox(NamedTuple):
    """The pixels that a box stands for, and how they differ from what was asked."""

    box_px: BoxPx
    adjustments: list[Adjustment]


def unit_scale(unit: Unit, size_px: int) -> float:
    """How many of ``unit`` make the whole side of a picture."""
    return {"fraction": 1.0, "per_mille": 1000.0, "pixel": float(size_px)}[unit]


def to_fraction(values: Sequence[float], unit: Unit, width: int, height: int) -> list[float]:
    """Coordinates ``[x, y, x, y, ...]`` in ``unit`` as fractions of a picture."""
    return [v / unit_scale(unit, (width, height)[i % 2]) for i, v in enumerate(values)]


def from_fraction(values: Sequence[float], unit: Unit, width: int, height: int) -> list[float]:
    """Fractions ``[x, y, x, y, ...]`` of a picture as coordinates in ``unit``."""
    return [v * unit_scale(unit, (width, height)[i % 2]) for i, v in enumerate(values)]


def fraction_to_px(bbox: Sequence[float], width: int, height: int) -> BoxPx:
    """The smallest half-open pixel box that contains ``bbox`` (fractions inside the picture).

    >>> fraction_to_px((0.5, 0.5, 1, 1), 1000, 800)
    (500, 400, 1000, 800)
    >>> fraction_to_px((1 / 3, 0, 2 / 3, 1), 10, 10)
    (3, 0, 7, 10)
    """
    x0, y0, x1, y1 = bbox
    return (
        max(0, math.floor(x0 * width + EPSILON_PX)),
        max(0, math.floor(y0 * height + EPSILON_PX)),
        min(width, math.ceil(x1 * width - EPSILON_PX)),
        min(height, math.ceil(y1 * height - EPSILON_PX)),
    )


def px_to_fraction(box_px: Sequence[float], width: int, height: int) -> Box:
    """A pixel box as fractions of its picture; :func:`fraction_to_px` brings it back exactly."""
    x0, y0, x1, y1 = box_px
    return (x0 / width, y0 / height, x1 / width, y1 / height)


def root_box(source: MediaFacts) -> Box:
    """Where a medium lies in its root image, in root pixels; the whole of itself for a root."""
    return source.box_root or (0.0, 0.0, float(source.width), float(source.height))


def box_in_root(box_px: Sequence[float], source: MediaFacts) -> Box:
    """Pixels of a medium as pixels of its root image; fractional below a zoom.

    Exact where the medium was not resampled; a side that ends with the medium ends with its
    ``box_root``.
    """
    left, top, right, bottom = root_box(source)
    if (left, top, right, bottom) == (0, 0, source.width, source.height):
        x0, y0, x1, y1 = box_px
        return (float(x0), float(y0), float(x1), float(y1))

    def along(value: float, start: float, end: float, size: int) -> float:
        return end if value == size else start + value * ((end - start) / size)

    x0, y0, x1, y1 = box_px
    return (
        along(x0, left, right, source.width),
        along(y0, top, bottom, source.height),
        along(x1, left, right, source.width),
        along(y1, top, bottom, source.height),
    )


def check_unit(
    values: Sequence[float], naming: Naming, argument: str, size: tuple[int, int]
) -> None:
    """Refuse values that cannot be in the caller's declared unit (``geometry.wrong_unit``).

    Fractions beyond -1..2 and thousandths above 1000 are some other unit; so are "pixels" that
    are all at most 1 with a fractional part. Smaller excursions are left to :func:`check_box`.
    """
    unit = naming.unit
    if unit == "pixel":
        tiny = all(abs(v) <= 1 for v in values) and any(v != int(v) for v in values)
        odd = 0 if tiny else None
    else:
        low, high = (-1.0, 2.0) if unit == "fraction" else (-math.inf, 1000 + EPSILON_PX)
        odd = next((i for i, v in enumerate(values) if not low <= v <= high), None)
    if odd is not None:
        raise fail(
            "geometry.wrong_unit",
            naming.path(argument, odd),
            f"{UNIT_WORDS[unit]} ({size[0]}x{size[1]} px)",
            f"{values[odd]:.6g}",
            f"give {naming.name(argument)} in {UNIT_WORDS[unit]}; nothing is rescaled",
        )


def check_box(
    bbox: Sequence[float],
    source: MediaFacts,
    settings: ExecutorSettings,
    naming: Naming = OWN_NAMING,
    argument: str = "bbox",
) -> CheckedBox:
    """The pixels of ``bbox`` (fractions of the medium), or the first broken rule as a failure.

    Rules in this order: wrong_unit (our own unit only: a dialect checks its own before it
    converts), inverted, zero_area, partly_outside or outside, too_small, aspect_ratio, whole_image.
    """
    size = (source.width, source.height)
    if naming.unit == "fraction":
        check_unit(bbox, naming, argument, size)
    _check_order(bbox, size, naming, argument)
    asked: Box = (bbox[0], bbox[1], bbox[2], bbox[3])
    adjustments: list[Adjustment] = []
    inside = _clip(asked)
    off_px = max(
        abs(a - b) * size[i % 2] for i, (a, b) in enumerate(zip(asked, inside, strict=True))
    )
    if off_px > EPSILON_PX:
        _check_inside(asked, source, settings, naming, argument)
        adjustments.append(Adjustment(kind="clamped", requested=asked, effective=inside))
    if settings.pad_share:
        padded = _pad(inside, settings.pad_share)
        adjustments.append(Adjustment(kind="padded", requested=inside, effective=padded))
        inside = padded
    box_px = fraction_to_px(inside, *size)
    _check_size(box_px, source, settings, naming, argument)
    return CheckedBox(box_px, adjustments)


def check_aspect_ratio(
    width: int, height: int, path: str, fault_owner: FaultOwner = "media"
) -> None:
    """Raise ``geometry.aspect_ratio`` for a picture thinner than :data:`MAX_ASPECT_RATIO`, which
    processors of models refuse.
    """
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        expected = f"sides of a ratio of at most {MAX_ASPECT_RATIO}"
        error = tool_error(
            "geometry.aspect_ratio",
            path,
            expected,
            f"{width}x{height} px",
            "ask for a region that is less thin" if fault_owner == "caller" else "",
            fault_owner=fault_owner,
        )
        raise ToolFailure(error)


def _clip(bbox: Box) -> Box:
    x0, y0, x1, y1 = (min(max(v, 0.0), 1.0) for v in bbox)
    return (x0, y0, x1, y1)


def _pad(bbox: Box, share: float) -> Box:
    x0, y0, x1, y1 = bbox
    dx, dy = (x1 - x0) * share, (y1 - y0) * share
    return _clip((x0 - dx, y0 - dy, x1 + dx, y1 + dy))


def _check_order(
    bbox: Sequence[float], size: tuple[int, int], naming: Naming, argument: str
) -> None:
    for axis in (0, 1):
        low, high = bbox[axis], bbox[axis + 2]
        if low > high:
            raise fail(
                "geometry.inverted",
                naming.path(argument, axis),
                f"{AXES[axis]}0 below {AXES[axis]}1 = {naming.show(high, size[axis])}",
                naming.show(low, size[axis]),
                "a box is [x0, y0, x1, y1]: left, top, right, bottom; the last two are a corner, "
                "not a size",
            )
    for axis in (0, 1):
        if bbox[axis] == bbox[axis + 2]:
            raise fail(
                "geometry.zero_area",
                naming.path(argument, axis + 2),
                f"{AXES[axis]}1 above {AXES[axis]}0 = {naming.show(bbox[axis], size[axis])}",
                naming.show(bbox[axis + 2], size[axis]),
                "ask for a region that has a width and a height",
            )


def _check_inside(
    bbox: Box, source: MediaFacts, settings: ExecutorSettings, naming: Naming, argument: str
) -> None:
    """Refuse ``outside`` always and ``partly_outside`` unless the settings say clamp."""
    size, picture = (source.width, source.height), naming.medium(source.id)
    beyond = [i for i in (0, 1) if bbox[i] * size[i] >= size[i] - EPSILON_PX]
    before = [i + 2 for i in (0, 1) if bbox[i + 2] * size[i] <= EPSILON_PX]
    outside = beyond + before
    if outside:
        code, at = "geometry.outside", outside[0]
        hint = f"the whole box lies outside {picture}"
    elif settings.on_partly_outside == "refuse":
        code = "geometry.partly_outside"
        at = next(i for i in range(4) if not 0 <= bbox[i] <= 1)
        hint = f"part of the box lies outside {picture}; give the part inside it"
    else:
        return
    side = size[at % 2]
    whole = naming.show(1.0, side)
    raise fail(
        code,
        naming.path(argument, at),
        f"{AXES[at % 2]} between 0 and {whole} ({'width' if at % 2 == 0 else 'height'} of "
        f"{picture})",
        naming.show(bbox[at], side),
        hint,
    )


def _check_size(
    box_px: BoxPx, source: MediaFacts, settings: ExecutorSettings, naming: Naming, argument: str
) -> None:
    width, height = box_px[2] - box_px[0], box_px[3] - box_px[1]
    least = settings.min_side_px
    if width < least or height < least:
        size, picture = f"{source.width}x{source.height} px", naming.medium(source.id)
        if min(source.width, source.height) < least:
            hint = f"{picture} itself is {size}: no part of it can be {least} px a side"
        else:
            narrow = width < least
            side, whole = ("width", source.width) if narrow else ("height", source.height)
            hint = (
                f"ask for a larger region: {least} px of {picture} ({size}) are "
                f"{naming.show(least / whole, whole)} of its {side}"
            )
        raise fail(
            "geometry.too_small",
            naming.path(argument),
            f"a region of at least {least} px a side",
            f"{width}x{height} px",
            hint,
        )
    check_aspect_ratio(width, height, naming.path(argument), "caller")
    if settings.whole_image == "refuse" and box_px == (0, 0, source.width, source.height):
        raise fail(
            "geometry.whole_image",
            naming.path(argument),
            "a part of the picture",
            "the whole picture",
            f"{naming.medium(source.id)} has been shown already; ask for a region of it",
        )
