"""The crop tool: exact pixels of a region, copied without any resampling."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from pearl_tools.geometry import box_in_root, check_box
from pearl_tools.regions import BOX_ARGUMENT, RegionTool, adjusted, region_of
from pearl_tools.tool import IMAGE_ARGUMENT, CheckedCall, Request, Result, ToolContext
from pearl_tools.types import Coordinates, MediaRecord, Region, ToolSpec


def crop(calls: Sequence[CheckedCall]) -> list[Result]:
    """Cut a region out of a picture and look at it alone, at the picture's own resolution.

    `image` names the picture; `bbox` is the region [x0, y0, x1, y1] in fractions 0 to 1 of that
    picture (left, top, right, bottom). A result can be cropped again: its fractions then refer to
    the result, not to the original. A box that is inverted, empty or outside is refused with the
    valid range. Returns the pixels unchanged; use zoom to enlarge them.
    """
    cuts = []
    for call in calls:
        x0, y0, x1, y1 = region_of(call.effective).box_px
        cuts.append(Result((call.medium.pixels[y0:y1, x0:x1].copy(),)))
    return cuts


class Crop(RegionTool):
    """`crop`: uint8 RGB pixels of a region, unchanged."""

    kind = "crop"
    spec = ToolSpec(
        name="crop",
        version="1.0",
        description=inspect.getdoc(crop) or "",
        arguments={
            "type": "object",
            "properties": {"image": IMAGE_ARGUMENT, "bbox": BOX_ARGUMENT},
            "required": ["image", "bbox"],
            "additionalProperties": False,
        },
        coordinates=Coordinates(unit="fraction"),
        returns="A picture: exactly the pixels of the region, uint8 RGB.",
    )

    def check(self, request: Request) -> Region:
        """The pixels of ``bbox``; raises the first geometry failure."""
        source = request.source
        box_px, adjustments = check_box(
            request.arguments["bbox"], source, request.settings, request.naming
        )
        return Region(box_px=box_px, box_root=box_in_root(box_px, source), adjustments=adjustments)

    def run(self, calls: Sequence[CheckedCall], context: ToolContext) -> list[Result]:
        """A copy of each region."""
        return crop(calls)

    def describe(self, call: CheckedCall, made: Sequence[MediaRecord], text: str) -> str:
        """One sentence: which pixels of which picture, and every adjustment."""
        region, (result,) = region_of(call.effective), made
        return (
            f"{result.id} is a crop of {call.medium.facts.id}, {result.width}x{result.height} px: "
            f"pixels {list(region.box_px)}{adjusted(region)}."
        )
