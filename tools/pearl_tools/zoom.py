"""The zoom tool: a region resampled so that its long side has a stated number of pixels.

Pillow's Lanczos filter works on 8-bit pixels in fixed-point integers, so that equal input gives
equal bytes. The size and filter are recorded in ``Effective.resampling``.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import jsonschema_rs
import numpy as np
from PIL import Image

from pearl_tools.crop import adjusted
from pearl_tools.errors import fail
from pearl_tools.geometry import (
    AXES,
    EPSILON_PX,
    Naming,
    box_in_root,
    check_box,
    check_unit,
)
from pearl_tools.pixels import Pixels
from pearl_tools.settings import ExecutorSettings
from pearl_tools.tool import BOX_ARGUMENT, IMAGE_ARGUMENT, CheckedCall, Tool, Workplace
from pearl_tools.types import BoxPx, Coordinates, Effective, MediaFacts, MediaRecord, Resampling
from pearl_tools.types import ToolSpec as Spec

MAX_FACTOR = 1000
_REGION = ("bbox", "center", "factor")


def zoom(calls: Sequence[CheckedCall], workplace: Workplace | None = None) -> list[Pixels]:
    """Look closely at a region of a picture: it is resampled to a fixed, larger size.

    `image` names the picture. Say the region either as `bbox` [x0, y0, x1, y1] in fractions 0 to 1
    of that picture, or as `center` [x, y] in the same fractions with `factor`: the window is then
    1/factor of the picture's width and height around the centre and must lie inside the picture.
    Resampling invents no detail; use crop for exact pixels. Returns the enlarged view and says
    which pixels it shows.
    """
    views: list[Pixels] = []
    for call in calls:
        x0, y0, x1, y1 = call.effective.box_px
        target = call.effective.resampling
        assert target is not None, "check() always sets the size of a zoom"
        cut = Image.fromarray(np.ascontiguousarray(call.medium.pixels[y0:y1, x0:x1]))
        view = cut.resize((target.width, target.height), Image.Resampling.LANCZOS)
        views.append(np.array(view, dtype=np.uint8))
    return views


def check_combination(arguments: dict[str, Any], naming: Naming) -> None:
    """Exactly one way to say the region: ``bbox``, or ``center`` with ``factor``.

    Checked here and not in the JSON Schema, because function-calling services refuse ``oneOf`` at
    the top level of a tool's parameters.
    """
    given = [name for name in _REGION if name in arguments]
    if given not in (["bbox"], ["center", "factor"]):
        raise fail(
            "schema.combination",
            "arguments",
            "either `{}`, or `{}` with `{}`".format(*map(naming.name, _REGION)),
            " and ".join(f"`{naming.name(name)}`" for name in given) or "none of them",
            "give the region in one way",
        )


def check(
    arguments: dict[str, Any], source: MediaFacts, settings: ExecutorSettings, naming: Naming
) -> Effective:
    """The pixels that are shown and the size they are resampled to."""
    if "bbox" in arguments:
        box_px, adjustments = check_box(arguments["bbox"], source, settings, naming)
    else:
        window = window_around(arguments["center"], arguments["factor"], source, settings, naming)
        box_px, adjustments = check_box(window, source, settings, naming, "factor")
    return Effective(
        box_px=box_px,
        box_root=box_in_root(box_px, source),
        adjustments=adjustments,
        resampling=target_size(box_px, settings.zoom_long_side_px),
    )


def window_around(
    center: Sequence[float],
    factor: float,
    source: MediaFacts,
    settings: ExecutorSettings,
    naming: Naming,
) -> list[float]:
    """The window of 1/factor of the medium around ``center``, as fractions; must lie inside."""
    size = (source.width, source.height)
    check_unit(center, naming, "center", size)
    half = 0.5 / factor
    for axis in (0, 1):
        slack = EPSILON_PX / size[axis]
        low, high = center[axis] - half, center[axis] + half
        outside = low >= 1 - slack or high <= slack
        partly = low < -slack or high > 1 + slack
        if outside or (partly and settings.on_partly_outside == "refuse"):
            raise fail(
                "geometry.outside" if outside else "geometry.partly_outside",
                naming.path("center", axis),
                f"{AXES[axis]} between {naming.show(half, size[axis])} and "
                f"{naming.show(1 - half, size[axis])} for {naming.name('factor')} {factor:.6g}",
                naming.show(center[axis], size[axis]),
                f"move {naming.name('center')} inward or raise {naming.name('factor')}",
            )
    x, y = center
    return [x - half, y - half, x + half, y + half]


def target_size(box_px: BoxPx, long_side_px: int) -> Resampling:
    """Size with the long side given and the shape of the box kept to the nearest pixel."""
    width, height = box_px[2] - box_px[0], box_px[3] - box_px[1]
    long = max(width, height)
    return Resampling(
        width=max(1, (2 * width * long_side_px + long) // (2 * long)),
        height=max(1, (2 * height * long_side_px + long) // (2 * long)),
        filter="lanczos",
    )


def describe(call: CheckedCall, result: MediaRecord) -> str:
    """One sentence: which pixels of what, at what size, and what was adjusted."""
    x0, y0, x1, y1 = call.effective.box_px
    return (
        f"{result.id} is a zoom into {call.medium.facts.id}: pixels {[x0, y0, x1, y1]} "
        f"({x1 - x0}x{y1 - y0} px) resampled to {result.width}x{result.height} px"
        f"{adjusted(call.effective)}."
    )


_ARGUMENTS = {
    "type": "object",
    "properties": {
        "image": IMAGE_ARGUMENT,
        "bbox": BOX_ARGUMENT,
        "center": {
            "type": "array",
            "items": {"type": "number"},
            "minItems": 2,
            "maxItems": 2,
            "description": "Centre [x, y] of the window in fractions 0 to 1; needs factor.",
        },
        "factor": {
            "type": "number",
            "minimum": 1,
            "maximum": MAX_FACTOR,
            "description": "The window is 1/factor of the picture's width and height.",
        },
    },
    "required": ["image"],
    "additionalProperties": False,
}

ZOOM = Tool(
    spec=Spec(
        name="zoom",
        version="1.0",
        description=inspect.getdoc(zoom) or "",
        arguments=_ARGUMENTS,
        coordinates=Coordinates(unit="fraction"),
        returns="A picture: the region resampled (Lanczos) to a stated long side, uint8 RGB.",
    ),
    validator=jsonschema_rs.Draft202012Validator(_ARGUMENTS),
    returns_kind="zoom",
    check=check,
    execute=zoom,
    describe=describe,
    check_combination=check_combination,
    libraries=("pillow",),
)
