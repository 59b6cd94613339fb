"""The geometry and result stages: the recorded effect of a call follows from its arguments.

Each tool checks its own stored calls from arguments and media records; no pixels are needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeGuard

from pearl_data.containment import WHOLE_SHARE, is_whole
from pearl_data.findings import Finding, finding, from_tool_error
from pearl_data.trajectory import Call, Evidence, Trajectory
from pearl_tools.errors import ToolFailure, UsageError
from pearl_tools.executor import ExecutorSettings
from pearl_tools.geometry import MAX_ASPECT_RATIO, check_aspect_ratio
from pearl_tools.regions import near
from pearl_tools.registry import TOOLS
from pearl_tools.tool import Output
from pearl_tools.types import PICTURE_KINDS, Box, MediaRecord


def check_geometry(trajectory: Trajectory, media: dict[str, MediaRecord]) -> Iterator[Finding]:
    """Boxes that cannot be, and calls, media and evidence whose boxes do not fit each other."""
    for index, medium in enumerate(trajectory.media):
        if medium.kind in PICTURE_KINDS:
            sides = (medium.width, medium.height)
            if max(sides) > MAX_ASPECT_RATIO * min(sides):
                yield from _thin(*sides, f"media[{index}]")
        if medium.parent is None and medium.box_root is not None:
            whole = [0.0, 0.0, float(medium.width), float(medium.height)]
            if [*medium.box_root] != whole:
                path = f"media[{index}].box_root"
                yield finding("result.box_mismatch", path, str(whole), medium.box_root)
    task = trajectory.task
    looks = trajectory.origin == "expert" and task.needs_tool
    for index, evidence in enumerate(task.evidence):
        x0, y0, x1, y1 = evidence.bbox
        path = f"task.evidence[{index}].bbox"
        if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
            yield from _evidence(evidence, path)
        if looks and evidence.role != "pair" and is_whole(evidence.bbox):
            expected = f"a part of the picture, at most {WHOLE_SHARE:.0%} of it"
            yield finding("geometry.whole_image", path, expected, list(evidence.bbox))
    for i, step in enumerate(trajectory.steps):
        for j, call in enumerate(step.calls):
            if call.result.status == "ok":
                yield from _call(trajectory, (i, j), media)


def settings_of(call: Call) -> ExecutorSettings:
    """Settings under which ``call`` may have done what it recorded.

    Raises ``UsageError`` where there are none.
    """
    tool = TOOLS.get(call.tool)
    if tool is None or call.effective is None:
        return ExecutorSettings(min_side_px=1)
    return tool.settings_of(call.effective)


def _call(
    trajectory: Trajectory, place: tuple[int, int], media: dict[str, MediaRecord]
) -> Iterator[Finding]:
    call = trajectory.steps[place[0]].calls[place[1]]
    arguments, recorded, tool = call.arguments, call.effective, TOOLS[call.tool]
    assert arguments is not None  # the schema says so of an ok call
    assert recorded is not None
    sources = tuple([media.get(name) for _, name in tool.named_media(arguments)])
    if not _all_there(sources):
        return  # the reference stage has said so
    try:
        errors = list(tool.check_record(arguments, sources, recorded))
    except UsageError as error:
        path = f"{_where(place)}.effective"
        yield finding("result.box_mismatch", path, "possible settings", error)
        return
    for each in errors:
        yield from_tool_error(each, _where(place))
    if isinstance(recorded, tool.effects):  # otherwise reported above
        yield from _outputs(trajectory, call, tool.outputs(recorded, sources), place, media)


def _all_there(
    sources: tuple[MediaRecord | None, ...],
) -> TypeGuard[tuple[MediaRecord, ...]]:
    return None not in sources


def _where(place: tuple[int, int]) -> str:
    return f"steps[{place[0]}].calls[{place[1]}]"


def _thin(width: int, height: int, path: str) -> Iterator[Finding]:
    try:
        check_aspect_ratio(width, height, path)
    except ToolFailure as failure:
        yield from_tool_error(failure.error, "")


def _outputs(
    trajectory: Trajectory,
    call: Call,
    outputs: Sequence[Output],
    place: tuple[int, int],
    media: dict[str, MediaRecord],
) -> Iterator[Finding]:
    """The media of a result match the call's outputs: kind, parent, size and place."""
    if len(call.result.media) != len(outputs):
        path = f"{_where(place)}.result.media"
        yield finding("result.missing_media", path, f"{len(outputs)}", f"{len(call.result.media)}")
        return
    for name, output in zip(call.result.media, outputs, strict=True):
        made = media.get(name)
        if made is None or _is_as(made, output):
            continue
        medium = f"media[{_place(trajectory, made)}]"
        if made.kind != output.kind:
            expected = f"{output.kind}, made by {call.tool}"
            yield finding("reference.wrong_kind", f"{medium}.kind", expected, made.kind)
        if made.parent != output.parent:
            expected = f"{output.parent}, which the call took"
            yield finding("reference.unknown_medium", f"{medium}.parent", expected, made.parent)
        for side in ("width", "height"):
            size, got = getattr(output, side), getattr(made, side)
            if size not in (None, got):
                yield finding("result.size_mismatch", f"{medium}.{side}", f"{size} px", f"{got} px")
        if not _same_box(made.box_root, output.box_root):
            path, hint = f"{medium}.box_root", "the record was edited, or another version made it"
            got_box = None if made.box_root is None else list(made.box_root)
            expected = str(output.box_root and list(output.box_root))
            yield finding("result.box_mismatch", path, expected, got_box, hint)
        if made.frame != output.frame:
            yield finding("result.box_mismatch", f"{medium}.frame", str(output.frame), made.frame)


def _place(trajectory: Trajectory, medium: MediaRecord) -> int:
    return next(index for index, each in enumerate(trajectory.media) if each is medium)


def _is_as(made: MediaRecord, output: Output) -> bool:
    return (
        made.kind == output.kind
        and made.parent == output.parent
        and output.width in (None, made.width)
        and output.height in (None, made.height)
        and made.frame == output.frame
        and _same_box(made.box_root, output.box_root)
    )


def _same_box(one: Box | None, other: Box | None) -> bool:
    return one == other or (one is not None and other is not None and near(one, other))


def _evidence(evidence: Evidence, where: str) -> Iterator[Finding]:
    x0, y0, x1, y1 = box = evidence.bbox
    for axis, (low, high) in enumerate(((x0, x1), (y0, y1))):
        if low > high:
            yield finding("geometry.inverted", f"{where}[{axis}]", f"at most {high}", low)
        elif low == high:
            yield finding("geometry.zero_area", f"{where}[{axis + 2}]", f"more than {low}", high)
    for index, value in enumerate(box):
        if not 0 <= value <= 1:
            yield finding(
                "geometry.outside", f"{where}[{index}]", "a fraction 0 to 1 of the picture", value
            )
