from __future__ import annotations

import msgspec
from goldens import assert_golden
from trajectories import build_sample

from pearl_data.report import tell
from pearl_data.report.view import view_of
from pearl_data.trajectory import Fault
from pearl_tools.types import Adjustment


def test_story_reads_as_the_golden() -> None:
    sample = build_sample(seed=1, depth=True, second_crop=True, failed_call=True)
    fault = Fault(code="geometry.outside", step=0, recovered_at=1)
    trajectory = msgspec.structs.replace(sample.trajectory, origin="injected", fault=fault)
    assert_golden("show.txt", tell(trajectory) + "\n")


def test_story_names_what_was_clamped() -> None:
    trajectory = build_sample().trajectory
    call = trajectory.steps[0].calls[0]
    change = Adjustment(kind="clamped", requested=(0, 0, 1.5, 1), effective=(0, 0, 1, 1))
    effective = msgspec.structs.replace(call.effective, adjustments=[change])
    step = msgspec.structs.replace(
        trajectory.steps[0], calls=[msgspec.structs.replace(call, effective=effective)]
    )
    assert "clamped from [0, 0, 1.5, 1] to [0, 0, 1, 1]" in tell(
        msgspec.structs.replace(trajectory, steps=[step])
    )


def test_story_shows_control_characters() -> None:
    trajectory = build_sample().trajectory
    final = msgspec.structs.replace(trajectory.final, thought="red\x1b[31m")
    text = tell(msgspec.structs.replace(trajectory, final=final))
    assert "\x1b" not in text
    assert "red\\x1b[31m" in text


def test_boxes_of_nested_crops_lie_on_the_root() -> None:
    sample = build_sample(second_crop=True, depth=True)
    view = view_of(sample.trajectory)
    assert [call.number for call in view.boxes_on("i0")] == [1, 2]
    assert [call.root for call in view.calls] == ["i0", "i0", "i0"]


def test_ids_that_no_medium_has_are_left_out() -> None:
    trajectory = build_sample().trajectory
    view = view_of(msgspec.structs.replace(trajectory, media=[]))
    assert view.roots == []
    assert view.calls[0].observations == []
    assert view.calls[0].box_root is None


def test_a_circle_of_parents_has_no_root() -> None:
    trajectory = build_sample().trajectory
    media = [msgspec.structs.replace(medium, parent="o1") for medium in trajectory.media]
    assert view_of(msgspec.structs.replace(trajectory, media=media)).calls[0].root is None
