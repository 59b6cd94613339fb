"""The depth tool: a float32 map of relative inverse depth from one picture.

The sign is fixed here once: larger = nearer. A picture of the map is derived where it is shown
(:func:`pearl_tools.depth.depth_picture`); the map is never reduced to 8 bits inside the executor.
"""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from pearl_tools.geometry import root_box
from pearl_tools.tool import (
    IMAGE_ARGUMENT,
    CheckedCall,
    Output,
    Request,
    Result,
    Tolerance,
    Tool,
    ToolContext,
)
from pearl_tools.types import Effective, MediaFacts, MediaRecord, ToolSpec, Whole


def depth(calls: Sequence[CheckedCall], context: ToolContext) -> list[Result]:
    """Estimate how near each part of a picture is: a depth map, larger (brighter) = nearer.

    `image` names a picture (not a depth map). Values are relative inverse depth from a network at
    its own working size: compare them within one map to tell which of two things is nearer; they
    are neither metres nor comparable between maps. Returns one map that covers the whole picture.
    """
    images: list[NDArray[np.uint8]] = [np.asarray(c.medium.pixels, dtype=np.uint8) for c in calls]
    return [Result((values,)) for values in context.depth_model().predict(images)]


class Depth(Tool):
    """`depth`: relative inverse depth of a whole picture, float32 at the network's working size."""

    shows = "depth"
    uses_depth_model = True
    batch_size = 8
    # batch size and thread count change the last bits, another kind of device slightly more
    tolerance = Tolerance(same_device=1e-3, other_device=1e-2)
    spec = ToolSpec(
        name="depth",
        version="1.0",
        description=inspect.getdoc(depth) or "",
        arguments={
            "type": "object",
            "properties": {"image": IMAGE_ARGUMENT},
            "required": ["image"],
            "additionalProperties": False,
        },
        coordinates=None,
        returns="A depth map: float32 (height, width), relative inverse depth, larger = nearer.",
    )

    def check(self, request: Request) -> Whole:
        """The whole picture."""
        return Whole()

    def outputs(self, effective: Effective, sources: Sequence[MediaFacts]) -> list[Output]:
        """One map of the whole picture, at the size that the network chooses."""
        source = sources[0]
        return [Output("depth", source.id, root_box(source), frame=source.frame)]

    def run(self, calls: Sequence[CheckedCall], context: ToolContext) -> list[Result]:
        """The maps of pictures of one shape, in one pass of the network."""
        return depth(calls, context)

    def describe(self, call: CheckedCall, made: Sequence[MediaRecord], text: str) -> str:
        """The meaning of the values and the working size of the network."""
        source, (result,) = call.medium.facts, made
        return (
            f"{result.id} is a depth map of {source.id} ({source.width}x{source.height} px): "
            f"relative inverse depth, larger is nearer, estimated at a working size of "
            f"{result.width}x{result.height}."
        )

    def cache_key(self, call: CheckedCall) -> Hashable:
        """The key is empty: a map depends only on the picture and the model."""
        return ()
