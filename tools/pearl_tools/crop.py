"""The crop tool: exact pixels of a region, copied without any resampling."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import jsonschema_rs

from pearl_tools.geometry import Naming, box_in_root, check_box
from pearl_tools.pixels import Pixels
from pearl_tools.settings import ExecutorSettings
from pearl_tools.tool import BOX_ARGUMENT, IMAGE_ARGUMENT, CheckedCall, Tool, Workplace
from pearl_tools.types import Coordinates, Effective, MediaFacts, MediaRecord, ToolSpec


def crop(calls: Sequence[CheckedCall], workplace: Workplace | None = None) -> list[Pixels]:
    """Cut a region out of a picture and look at it alone, at the picture's own resolution.

    `image` names the picture; `bbox` is the region [x0, y0, x1, y1] in fractions 0 to 1 of that
    picture (left, top, right, bottom). A result can be cropped again: its fractions then refer to
    the result, not to the original. A box that is inverted, empty or outside is refused with the
    valid range. Returns the pixels unchanged; use zoom to enlarge them.
    """
    cuts: list[Pixels] = []
    for call in calls:
        x0, y0, x1, y1 = call.effective.box_px
        cuts.append(call.medium.pixels[y0:y1, x0:x1].copy())
    return cuts


def check(
    arguments: dict[str, Any], source: MediaFacts, settings: ExecutorSettings, naming: Naming
) -> Effective:
    """The pixels that ``bbox`` takes; raises the geometry failure it breaks first."""
    box_px, adjustments = check_box(arguments["bbox"], source, settings, naming)
    return Effective(box_px=box_px, box_root=box_in_root(box_px, source), adjustments=adjustments)


def describe(call: CheckedCall, result: MediaRecord) -> str:
    """One sentence: which pixels of what, and what was adjusted."""
    return (
        f"{result.id} is a crop of {call.medium.facts.id}, {result.width}x{result.height} px: "
        f"pixels {list(call.effective.box_px)}{adjusted(call.effective)}."
    )


def adjusted(effective: Effective) -> str:
    """What was changed about the requested box, as a clause; empty if nothing was."""
    words = {"clamped": "clamped to the picture", "padded": "padded as the settings ask"}
    kinds = [words[a.kind] for a in effective.adjustments]
    return f" ({', '.join(kinds)})" if kinds else ""


_ARGUMENTS = {
    "type": "object",
    "properties": {"image": IMAGE_ARGUMENT, "bbox": BOX_ARGUMENT},
    "required": ["image", "bbox"],
    "additionalProperties": False,
}

CROP = Tool(
    spec=ToolSpec(
        name="crop",
        version="1.0",
        description=inspect.getdoc(crop) or "",
        arguments=_ARGUMENTS,
        coordinates=Coordinates(unit="fraction"),
        returns="A picture: exactly the pixels of the region, uint8 RGB.",
    ),
    validator=jsonschema_rs.Draft202012Validator(_ARGUMENTS),
    returns_kind="crop",
    check=check,
    execute=crop,
    describe=describe,
    libraries=("numpy",),
)
