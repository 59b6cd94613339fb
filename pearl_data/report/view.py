"""A trajectory for display: numbered calls, each with its root picture and its colour.

The text, the figure and the HTML page are all made from it. Not here: pixels
(:mod:`pearl_data.report.pictures`).
"""

from __future__ import annotations

from typing import NamedTuple

from pearl_data.trajectory import Call, Trajectory, named_media
from pearl_tools.types import Box, MediaRecord, Region

#: One colour per call, in turn; dark enough for white text on them. Green and red are left to
#: answers and errors.
COLOURS = ("#1f6fb2", "#c2571a", "#7b4ea3", "#15808a", "#8a6414", "#a83a86")
#: A box that covers this share of its picture is the whole picture and is not drawn.
WHOLE_SHARE = 0.98


class CallView(NamedTuple):
    """One call: its number from 1, the step it is in, the roots and media around it.

    ``thought`` is the step's thought at its first call and empty at the others; ``box_root`` is
    None where nothing was cut or the whole picture was taken.
    """

    number: int
    step: int
    thought: str
    call: Call
    root: str | None
    box_root: Box | None
    observations: list[MediaRecord]
    colour: str


class StepView(NamedTuple):
    """One step: its thought and its calls (none where it is only a thought)."""

    number: int
    thought: str
    calls: list[CallView]


class TrajectoryView(NamedTuple):
    """A trajectory with its roots and its steps."""

    trajectory: Trajectory
    roots: list[MediaRecord]
    steps: list[StepView]

    @property
    def calls(self) -> list[CallView]:
        """All calls in order."""
        return [call for step in self.steps for call in step.calls]

    def boxes_on(self, root: str) -> list[CallView]:
        """The calls that cut a part out of ``root``, directly or through other views."""
        return [call for call in self.calls if call.root == root and call.box_root]


def view_of(trajectory: Trajectory) -> TrajectoryView:
    """``trajectory`` as a view; unknown ids of media are skipped, never an error."""
    media = {medium.id: medium for medium in trajectory.media}
    steps, number = [], 0
    for position, step in enumerate(trajectory.steps, 1):
        calls: list[CallView] = []
        for call in step.calls:
            taken = named_media(call)
            root = _root_of(taken[0] if taken else None, media)
            calls.append(
                CallView(
                    number=number + 1,
                    step=position,
                    thought="" if calls else step.thought,
                    call=call,
                    root=root,
                    box_root=_part_box(call, media.get(root or "")),
                    observations=[media[id_] for id_ in call.result.media if id_ in media],
                    colour=COLOURS[number % len(COLOURS)],
                )
            )
            number += 1
        steps.append(StepView(position, step.thought, calls))
    roots = [medium for medium in trajectory.media if medium.parent is None]
    return TrajectoryView(trajectory, roots, steps)


def _root_of(id_: object, media: dict[str, MediaRecord]) -> str | None:
    seen: set[str] = set()
    while isinstance(id_, str) and id_ in media and id_ not in seen:
        seen.add(id_)
        parent = media[id_].parent
        if parent is None:
            return id_
        id_ = parent
    return None


def _part_box(call: Call, root: MediaRecord | None) -> Box | None:
    if not isinstance(call.effective, Region) or root is None:
        return None
    x0, y0, x1, y1 = call.effective.box_root
    if not (0 <= x0 < x1 <= root.width and 0 <= y0 < y1 <= root.height):
        return None
    whole = (x1 - x0) * (y1 - y0) >= WHOLE_SHARE * root.width * root.height
    return None if whole else call.effective.box_root
