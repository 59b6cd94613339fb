"""The geometry and result stages: what a call says that it did follows from its arguments.

Each tool's own pure ``check`` computes the effective box again from the arguments and the medium's
record; no pixels are needed. How boxes were treated (clamped, padded, resampled to which size) is
read from what the call recorded, so a record can be judged without the settings of its run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from pearl_data.findings import Finding, finding, from_tool_error
from pearl_data.trajectory import Call, Evidence, Trajectory
from pearl_tools.errors import ToolFailure, UsageError
from pearl_tools.executor import ExecutorSettings
from pearl_tools.geometry import OWN_NAMING, box_in_root, fraction_to_px
from pearl_tools.registry import TOOLS
from pearl_tools.types import Adjustment, Effective, MediaRecord
from pearl_tools.zoom import target_size

#: Boxes in root pixels may differ by this much: they are computed in float64.
BOX_TOLERANCE_PX = 1e-6


def check_geometry(trajectory: Trajectory, media: dict[str, MediaRecord]) -> Iterator[Finding]:
    """Boxes that cannot be, and calls, media and evidence whose boxes do not fit each other."""
    for index, medium in enumerate(trajectory.media):
        whole = (0.0, 0.0, float(medium.width), float(medium.height))
        if medium.parent is None and medium.box_root not in (None, whole):
            path = f"media[{index}].box_root"
            yield finding("result.box_mismatch", path, list(whole), medium.box_root)  # type: ignore[arg-type]
    for index, evidence in enumerate(trajectory.task.evidence):
        yield from _evidence(evidence, f"task.evidence[{index}].bbox")
    for i, step in enumerate(trajectory.steps):
        for j, call in enumerate(step.calls):
            if call.result.status == "ok":
                yield from _call(trajectory, call, f"steps[{i}].calls[{j}]", media)


def settings_of(call: Call) -> ExecutorSettings:
    """Settings under which ``call`` may have done what it recorded.

    Raises ``UsageError`` where there are none.
    """
    effective = call.effective
    if effective is None:
        return _settings(clamp=False, pad_share=0.0, zoom_px=448)
    kinds = {adjustment.kind for adjustment in effective.adjustments}
    size = effective.resampling
    return _settings(
        clamp="clamped" in kinds,
        pad_share=max(map(_pad_share, effective.adjustments)) if "padded" in kinds else 0.0,
        zoom_px=max(size.width, size.height) if size else 448,
    )


@lru_cache(maxsize=1024)
def _settings(*, clamp: bool, pad_share: float, zoom_px: int) -> ExecutorSettings:
    return ExecutorSettings(
        on_partly_outside="clamp" if clamp else "refuse",
        pad_share=pad_share,
        min_side_px=1,
        zoom_long_side_px=zoom_px,
    )


def _pad_share(adjustment: Adjustment) -> float:
    """The share of the box that was added per side: of the side that no edge has cut."""
    if adjustment.kind != "padded":
        return 0.0
    before, after = adjustment.requested, adjustment.effective
    width, height = before[2] - before[0], before[3] - before[1]
    if width <= 0 or height <= 0:
        return 0.0
    return max(
        (before[0] - after[0]) / width,
        (before[1] - after[1]) / height,
        (after[2] - before[2]) / width,
        (after[3] - before[3]) / height,
    )


def _call(
    trajectory: Trajectory, call: Call, where: str, media: dict[str, MediaRecord]
) -> Iterator[Finding]:
    arguments, recorded = call.arguments, call.effective
    assert arguments is not None  # the schema says so of an ok call
    assert recorded is not None
    source = media.get(arguments.get("image", ""))
    if source is None:
        return  # the reference stage has said so
    for name in call.result.media:
        made = media.get(name)
        if made is not None:
            yield from _medium(trajectory, made, recorded)
    if is_plainly_right(call.tool, arguments, recorded, source):
        return
    tool = TOOLS[call.tool]
    try:
        if tool.check_combination:
            tool.check_combination(arguments, OWN_NAMING)
        computed = tool.check(arguments, source, settings_of(call), OWN_NAMING)
    except ToolFailure as failure:
        yield from_tool_error(failure.error, where)
        return
    except UsageError as error:
        yield finding("result.box_mismatch", f"{where}.effective", "possible settings", error)
        return
    if computed != recorded:
        yield from _compare(computed, recorded, f"{where}.effective")


def is_plainly_right(
    tool: str, arguments: dict[str, Any], recorded: Effective, source: MediaRecord
) -> bool:
    """Whether a box inside its picture was taken as it is, so that the full check finds nothing.

    The short way for nearly all calls: 3 us instead of 10. False only means: check in full.
    """
    if "bbox" not in arguments or len(arguments) != 2 or recorded.adjustments:
        return False
    x0, y0, x1, y1 = bbox = arguments["bbox"]
    left, top, right, bottom = box_px = recorded.box_px
    size = recorded.resampling
    return (
        0 <= x0 < x1 <= 1
        and 0 <= y0 < y1 <= 1
        and left < right
        and top < bottom
        and fraction_to_px(bbox, source.width, source.height) == box_px
        and box_in_root(box_px, source) == recorded.box_root
        and (
            (tool == "crop" and size is None)
            or (
                tool == "zoom"
                and size is not None
                and 16 <= max(size.width, size.height) <= 4096
                and target_size(box_px, max(size.width, size.height)) == size
            )
        )
    )


def _compare(computed: Effective, recorded: Effective, where: str) -> Iterator[Finding]:
    """The first fields of ``recorded`` that do not follow from the arguments."""
    if computed.box_px != recorded.box_px:
        yield _box(f"{where}.box_px", computed.box_px, recorded.box_px)
    if not _near(computed.box_root, recorded.box_root):
        yield _box(f"{where}.box_root", computed.box_root, recorded.box_root)
    if computed.resampling != recorded.resampling:
        size, got = computed.resampling, recorded.resampling
        shown = [f"{each.width}x{each.height}" if each else "none" for each in (size, got)]
        yield finding("result.size_mismatch", f"{where}.resampling", *shown)
    kinds = [adjustment.kind for adjustment in computed.adjustments]
    got_kinds = [adjustment.kind for adjustment in recorded.adjustments]
    if kinds != got_kinds:
        expected = ", ".join(kinds) or "none"
        got_text = ", ".join(got_kinds) or "none"
        yield finding("result.box_mismatch", f"{where}.adjustments", expected, got_text)
        return
    pairs = zip(computed.adjustments, recorded.adjustments, strict=True)
    for index, (one, other) in enumerate(pairs):
        for field, box, got_box in (
            ("requested", one.requested, other.requested),
            ("effective", one.effective, other.effective),
        ):
            if not _near(box, got_box):
                yield _box(f"{where}.adjustments[{index}].{field}", box, got_box)


def _medium(trajectory: Trajectory, made: MediaRecord, effective: Effective) -> Iterator[Finding]:
    """A view has the size and the place of what its call took."""
    x0, y0, x1, y1 = effective.box_px
    size = effective.resampling
    width, height = (size.width, size.height) if size else (x1 - x0, y1 - y0)
    if made.kind == "depth":  # at the working size of its network
        width, height = made.width, made.height
    fits = made.width == width and made.height == height
    if fits and made.box_root is not None and _near(made.box_root, effective.box_root):
        return
    where = f"media[{trajectory.media.index(made)}]"
    if made.width != width:
        yield finding("result.size_mismatch", f"{where}.width", f"{width} px", f"{made.width} px")
    if made.height != height:
        got = f"{made.height} px"
        yield finding("result.size_mismatch", f"{where}.height", f"{height} px", got)
    if made.box_root is None or not _near(made.box_root, effective.box_root):
        yield _box(f"{where}.box_root", effective.box_root, made.box_root)


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


def _near(one: Sequence[float], other: Sequence[float]) -> bool:
    return one == other or all(
        abs(a - b) <= BOX_TOLERANCE_PX for a, b in zip(one, other, strict=True)
    )


def _box(path: str, expected: Sequence[float], got: Sequence[float] | None) -> Finding:
    shown = None if got is None else list(got)
    hint = "the record was edited, or another version of the tool made it"
    return finding("result.box_mismatch", path, str(list(expected)), shown, hint)
