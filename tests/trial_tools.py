"""Three tools that only tests know: two input pictures, two outputs, an answer in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pearl_tools.pixels import Pixels
from pearl_tools.tool import IMAGE_ARGUMENT, CheckedCall, Output, Request, Result, Tool, ToolContext
from pearl_tools.types import Effective, MediaFacts, MediaRecord, ToolSpec, Whole


def _spec(name: str, description: str, properties: dict[str, Any]) -> ToolSpec:
    arguments = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return ToolSpec(
        name=name,
        version="1.0",
        description=description,
        arguments=arguments,
        coordinates=None,
        returns="",
    )


class Difference(Tool):
    """Two pictures in, one out: where they differ."""

    spec = _spec(
        "difference",
        "Show where `before` and `after` differ.",
        {"before": IMAGE_ARGUMENT, "after": IMAGE_ARGUMENT},
    )
    media = {
        "before": frozenset({"image", "crop", "zoom"}),
        "after": frozenset({"image", "crop", "zoom"}),
    }

    def check(self, request: Request) -> Whole:
        return Whole()

    def outputs(self, effective: Effective, sources: Sequence[MediaFacts]) -> list[Output]:
        one = sources[0]
        return [Output("crop", one.id, one.box_root, one.width, one.height)]

    def run(self, calls: Sequence[CheckedCall], context: ToolContext) -> list[Result]:
        both = [[medium.pixels.astype(np.int16) for medium in call.media] for call in calls]
        return [Result((np.abs(a - b).astype(np.uint8),)) for a, b in both]

    def describe(self, call: CheckedCall, made: Sequence[MediaRecord], text: str) -> str:
        return f"{made[0].id} shows where {' and '.join(m.facts.id for m in call.media)} differ."


class Halves(Tool):
    """One picture in, two out: its left and its right half."""

    spec = _spec("halves", "Cut `image` into two halves.", {"image": IMAGE_ARGUMENT})

    def check(self, request: Request) -> Whole:
        return Whole()

    def outputs(self, effective: Effective, sources: Sequence[MediaFacts]) -> list[Output]:
        one = sources[0]
        middle, height = one.width // 2, float(one.height)
        boxes = [(0.0, 0.0, float(middle), height), (float(middle), 0.0, float(one.width), height)]
        return [Output("crop", one.id, box, int(box[2] - box[0]), one.height) for box in boxes]

    def run(self, calls: Sequence[CheckedCall], context: ToolContext) -> list[Result]:
        return [Result(tuple(self._cut(call.medium.pixels))) for call in calls]

    def _cut(self, pixels: Pixels) -> list[Pixels]:
        middle = pixels.shape[1] // 2
        return [pixels[:, :middle].copy(), pixels[:, middle:].copy()]

    def describe(self, call: CheckedCall, made: Sequence[MediaRecord], text: str) -> str:
        return f"{made[0].id} and {made[1].id} are the halves of {call.medium.facts.id}."


class Brightness(Tool):
    """One picture in, words out: no medium at all."""

    spec = _spec("brightness", "Say how bright `image` is.", {"image": IMAGE_ARGUMENT})

    def check(self, request: Request) -> Whole:
        return Whole()

    def outputs(self, effective: Effective, sources: Sequence[MediaFacts]) -> list[Output]:
        return []

    def run(self, calls: Sequence[CheckedCall], context: ToolContext) -> list[Result]:
        return [Result(text=f"mean value {float(c.medium.pixels.mean()):.1f}") for c in calls]


TRIAL_TOOLS: tuple[Tool, ...] = (Difference(), Halves(), Brightness())
