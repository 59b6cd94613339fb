"""The depth tool: a float32 map of relative inverse depth from one picture.

The sign is fixed here once: larger = nearer. A picture of the map is derived where it is shown
(:func:`pearl_tools.depth.depth_picture`); the map is never reduced to 8 bits inside the executor.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import jsonschema_rs
import numpy as np
from numpy.typing import NDArray

from pearl_tools.geometry import Naming, box_in_root
from pearl_tools.pixels import Pixels
from pearl_tools.settings import ExecutorSettings
from pearl_tools.tool import IMAGE_ARGUMENT, CheckedCall, Tool, Workplace
from pearl_tools.types import BoxPx, Effective, MediaFacts, MediaRecord, ToolSpec


def depth(calls: Sequence[CheckedCall], workplace: Workplace) -> list[Pixels]:
    """Estimate how near each part of a picture is: a depth map, larger (brighter) = nearer.

    `image` names a picture (not a depth map). Values are relative inverse depth from a network at
    its own working size: compare them within one map to tell which of two things is nearer; they
    are neither metres nor comparable between maps. Returns one map that covers the whole picture.
    """
    images: list[NDArray[np.uint8]] = [np.asarray(c.medium.pixels, dtype=np.uint8) for c in calls]
    maps: list[Pixels] = list(workplace.depth_model().predict(images))
    return maps


def check(
    arguments: dict[str, Any], source: MediaFacts, settings: ExecutorSettings, naming: Naming
) -> Effective:
    """The whole picture."""
    whole: BoxPx = (0, 0, source.width, source.height)
    return Effective(box_px=whole, box_root=box_in_root(whole, source))


def describe(call: CheckedCall, result: MediaRecord) -> str:
    """What the values mean and at which size the network worked."""
    source = call.medium.facts
    return (
        f"{result.id} is a depth map of {source.id} ({source.width}x{source.height} px): relative "
        f"inverse depth, larger is nearer, estimated at a working size of "
        f"{result.width}x{result.height}."
    )


_ARGUMENTS = {
    "type": "object",
    "properties": {"image": IMAGE_ARGUMENT},
    "required": ["image"],
    "additionalProperties": False,
}

DEPTH = Tool(
    spec=ToolSpec(
        name="depth",
        version="1.0",
        description=inspect.getdoc(depth) or "",
        arguments=_ARGUMENTS,
        coordinates=None,
        returns="A depth map: float32 (height, width), relative inverse depth, larger = nearer.",
    ),
    validator=jsonschema_rs.Draft202012Validator(_ARGUMENTS),
    returns_kind="depth",
    check=check,
    execute=depth,
    describe=describe,
    libraries=("numpy",),  # those of the depth model are added
    uses_depth_model=True,
)
