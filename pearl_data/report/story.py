"""One trajectory as text for a terminal: asked, thought, called, seen, answered."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from pearl_data.report.view import CallView, TrajectoryView, view_of
from pearl_data.terminal import one_line
from pearl_data.trajectory import Trajectory, named_media
from pearl_tools.types import Effective, Frames, MediaRecord, Whole

WIDTH = 100
_INDENT = 10


def tell(trajectory: Trajectory) -> str:
    """The whole story of ``trajectory``, wrapped to 100 columns; control characters are shown."""
    view = view_of(trajectory)
    task, final, source = trajectory.task, trajectory.final, trajectory.source
    plain = "" if task.needs_tool else ", needs no tool"
    lines = [
        *_item("key", f"{trajectory.id}  (split {trajectory.split}, family {task.family}{plain})"),
        *_item("source", f"{source.dataset}, row {source.row}, licence {source.licence}"),
        *_item("origin", trajectory.origin + _fault(trajectory)),
        *_item("pictures", "; ".join(medium_line(root) for root in view.roots) or "none"),
        "",
        *_item("question", task.question),
        *_item("choices", " | ".join(task.choices) or "none: an open answer"),
        "",
        *_steps(view),
        *_item("so", final.thought),
        *_item("answer", final.answer),
        *_item("checked", f"{final.verdict}, by {final.verifier}"),
        *_item("truth", f"{task.answer}  (from the {task.answer_source})"),
    ]
    return "\n".join(lines)


def medium_line(medium: MediaRecord) -> str:
    """A medium in a few words: ``o1 crop 32x32``."""
    changes = f" ({', '.join(medium.changes)})" if medium.changes else ""
    return f"{medium.id} {medium.kind} {medium.width}x{medium.height}{changes}"


def numbers(box: Sequence[float]) -> str:
    """A box as short text: ``[10, 20, 30.5, 40]``."""
    return "[" + ", ".join(f"{value:.6g}" for value in box) + "]"


def _fault(trajectory: Trajectory) -> str:
    fault = trajectory.fault
    if fault is None:
        return ""
    repaired = "never repaired" if fault.recovered_at is None else "repaired in step "
    where = "" if fault.recovered_at is None else str(fault.recovered_at + 1)
    return f", with {fault.code} in step {fault.step + 1}, {repaired}{where}"


def _steps(view: TrajectoryView) -> Iterator[str]:
    masks = view.trajectory.loss_mask
    for step in view.steps:
        kept = masks[step.number - 1] if step.number <= len(masks) else 1
        yield from _item(f"step {step.number}", step.thought + ("" if kept else "  (not learned)"))
        for call in step.calls:
            yield from _call(call)
        yield ""


def _call(view: CallView) -> Iterator[str]:
    call = view.call
    yield from _item(f"  {call.id}", f"{call.tool} {call.arguments_raw}")
    if call.effective:
        yield from _item("", took(call.effective, view))
    if call.result.error:
        yield from _item("", f"error: {call.result.error}")
        return
    back = "; ".join(medium_line(medium) for medium in view.observations) or "no media"
    yield from _item("", f"got {back}")
    if call.result.text:
        yield from _item("", f'"{call.result.text}"')


def took(effective: Effective, view: CallView) -> str:
    """The effective request in a line: ``took [0, 0, 32, 32] px of i0``."""
    of = ", ".join(named_media(view.call))
    if isinstance(effective, Whole):
        return f"took the whole of {of}"
    if isinstance(effective, Frames):
        times = ", ".join(f"{pts:.3f} s" for pts in effective.pts_s)
        return f"took frames {numbers(effective.indices)} of {of}, at {times}"
    text = f"took {numbers(effective.box_px)} px of {of}"
    if view.root and view.root != of:
        text += f" = {numbers(effective.box_root)} px of {view.root}"
    for change in effective.adjustments:
        text += f"; {change.kind} from {numbers(change.requested)} to {numbers(change.effective)}"
    if size := effective.resampling:
        text += f"; resized to {size.width}x{size.height} ({size.filter})"
    return text


def _item(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        one_line(text) or "-",
        WIDTH,
        initial_indent=label.ljust(_INDENT),
        subsequent_indent=" " * _INDENT,
        break_long_words=True,
        break_on_hyphens=False,
    )
