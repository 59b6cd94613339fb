"""The zoom tool: a region resampled so that its long side has a stated number of pixels.

Pillow's Lanczos filter works on 8-bit pixels in fixed-point integers, so that equal input gives
equal bytes. The size and filter are recorded in ``Region.resampling``.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from pearl_tools.errors import fail
from pearl_tools.geometry import (
    AXES,
    EPSILON_PX,
    OWN_NAMING,
    Naming,
    box_in_root,
    check_aspect_ratio,
    check_box,
    check_unit,
)
from pearl_tools.regions import BOX_ARGUMENT, RegionTool, adjusted, region_of
from pearl_tools.tool import IMAGE_ARGUMENT, CheckedCall, Request, Result, ToolContext
from pearl_tools.types import BoxPx, Coordinates, MediaRecord, Region, Resampling, ToolSpec

MAX_FACTOR = 1000
_REGION = ("bbox", "center", "factor")


def zoom(calls: Sequence[CheckedCall]) -> list[Result]:
    """Look closely at a region of a picture: it is resampled to a fixed, larger size.

    `image` names the picture. Say the region either as `bbox` [x0, y0, x1, y1] in fractions 0 to 1
    of that picture, or as `center` [x, y] in the same fractions with `factor`: the window is then
    1/factor of the picture's width and height around the centre and must lie inside the picture.
    Resampling invents no detail; use crop for exact pixels. Returns the enlarged view and says
    which pixels it shows.
    """
    views = []
    for call in calls:
        region = region_of(call.effective)
        x0, y0, x1, y1 = region.box_px
        target = region.resampling
        assert target is not None, "check() always sets the size of a zoom"
        cut = Image.fromarray(np.ascontiguousarray(call.medium.pixels[y0:y1, x0:x1]))
        view = cut.resize((target.width, target.height), Image.Resampling.LANCZOS)
        views.append(Result((np.array(view, dtype=np.uint8),)))
    return views


class Zoom(RegionTool):
    """`zoom`: a region resampled to the long side that the settings ask for, uint8 RGB."""

    kind = "zoom"
    libraries = ("pillow",)
    spec = ToolSpec(
        name="zoom",
        version="1.0",
        description=inspect.getdoc(zoom) or "",
        arguments={
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
        },
        coordinates=Coordinates(unit="fraction"),
        returns="A picture: the region resampled (Lanczos) to a stated long side, uint8 RGB.",
    )

    def check_arguments(self, arguments: dict[str, Any], naming: Naming = OWN_NAMING) -> None:
        """Exactly one way to give the region: ``bbox``, or ``center`` with ``factor``.

        Checked here and not in the JSON Schema, because function-calling services refuse ``oneOf``
        at the top level of a tool's parameters.
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

    def check(self, request: Request) -> Region:
        """The pixels that are shown and the size they are resampled to."""
        arguments, source = request.arguments, request.source
        if "bbox" in arguments:
            box, argument = arguments["bbox"], "bbox"
        else:
            box = window_around(arguments["center"], arguments["factor"], request)
            argument = "factor"
        box_px, adjustments = check_box(box, source, request.settings, request.naming, argument)
        target = self.resampling(box_px, request.settings.zoom_long_side_px)
        # rounding the short side may make a thin box thinner still
        where = request.naming.path(argument)
        check_aspect_ratio(target.width, target.height, where, "caller")
        return Region(
            box_px=box_px,
            box_root=box_in_root(box_px, source),
            adjustments=adjustments,
            resampling=target,
        )

    def resampling(self, box_px: BoxPx, long_side_px: int) -> Resampling:
        """The size with the given long side and the shape of the box, rounded to pixels."""
        width, height = box_px[2] - box_px[0], box_px[3] - box_px[1]
        long = max(width, height)
        return Resampling(
            width=max(1, (2 * width * long_side_px + long) // (2 * long)),
            height=max(1, (2 * height * long_side_px + long) // (2 * long)),
            filter="lanczos",
        )

    def run(self, calls: Sequence[CheckedCall], context: ToolContext) -> list[Result]:
        """Each region, resampled."""
        return zoom(calls)

    def describe(self, call: CheckedCall, made: Sequence[MediaRecord], text: str) -> str:
        """One sentence: which pixels of which picture, the size shown, and every adjustment."""
        region, (result,) = region_of(call.effective), made
        x0, y0, x1, y1 = region.box_px
        return (
            f"{result.id} is a zoom into {call.medium.facts.id}: pixels {[x0, y0, x1, y1]} "
            f"({x1 - x0}x{y1 - y0} px) resampled to {result.width}x{result.height} px"
            f"{adjusted(region)}."
        )


def window_around(center: Sequence[float], factor: float, request: Request) -> list[float]:
    """The window of 1/factor of the medium around ``center``, as fractions; must lie inside."""
    source, naming = request.source, request.naming
    size = (source.width, source.height)
    check_unit(center, naming, "center", size)
    half = 0.5 / factor
    for axis in (0, 1):
        slack = EPSILON_PX / size[axis]
        low, high = center[axis] - half, center[axis] + half
        outside = low >= 1 - slack or high <= slack
        partly = low < -slack or high > 1 + slack
        if outside or (partly and request.settings.on_partly_outside == "refuse"):
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
