"""Annotated pictures as data sets: what needs no tool, and what only the depth map says."""

from __future__ import annotations

from pathlib import Path

import pytest
from annotated import people, write
from click.testing import CliRunner

from pearl_data.audit import audit_paths
from pearl_data.cli.synth import synth
from pearl_data.shards import DatasetReader
from pearl_data.sources.base import DEPTH_TRUTH_MARGIN, QuestionSettings, Rejected
from pearl_data.sources.coco import CocoSource
from pearl_data.trajectory import Trajectory
from pearl_data.validate import validate_paths


def made(path: Path, out: Path, *options: str) -> list[Trajectory]:
    """The records that synth writes of ``path``; they validate and replay."""
    arguments = ["--source", f"coco:{path}", "--images", str(path.parent), "--out", str(out)]
    result = CliRunner().invoke(synth, [*arguments, *options])
    assert result.exit_code == 0, result.output
    assert validate_paths([out], replay=True).findings == []
    return [sample.trajectory for sample in DatasetReader(out)]


def test_questions_that_need_no_tool_are_answered_without_one(tmp_path: Path) -> None:
    path = people(tmp_path / "set", [[(180, 40, 240, 420)], [(30, 90, 560, 330)]])
    options = ("--tools", "crop", "--per-image", "12")
    only = made(path, tmp_path / "only", *options)
    assert only
    assert all(record.task.needs_tool and record.steps for record in only)
    every = made(path, tmp_path / "any", *options, "--needs-tool", "any")
    plain = [record for record in every if not record.task.needs_tool]
    assert {record.task.family for record in plain} == {"whole"}
    for record in plain:
        assert (record.steps, record.loss_mask, len(record.media)) == ([], [], 1)
        assert record.final.answer == record.task.answer
        assert record.final.verdict == "supported"
    counts = audit_paths([tmp_path / "any"]).report.trajectories
    assert counts.without_call == counts.needing_no_call == len(plain)


@pytest.mark.slow
def test_depth_alone_is_asked_by_option_and_marked(tmp_path: Path) -> None:
    categories = [{"id": n, "name": name} for n, name in enumerate(["cat", "dog", "cow"])]
    boxes = [
        {"category_id": 0, "bbox": [10, 20, 60, 60]},
        {"category_id": 1, "bbox": [200, 330, 200, 140]},
        {"category_id": 2, "bbox": [450, 20, 90, 60]},
    ]
    path = write(tmp_path / "set", categories, [boxes] * 2)
    source = CocoSource(path, path.parent, QuestionSettings(tools=["depth"]))
    hints = [i.reason.hint for slot in source.block(0) for i in slot if isinstance(i, Rejected)]
    assert ["--depth-truth tool" in str(hint) for hint in hints] == [True, True]
    records = made(path, tmp_path / "yes", "--tools", "depth", "--depth-truth", "tool")
    assert records
    for record in records:
        assert (record.task.family, record.task.answer_source) == ("nearer", "tool")
        assert record.final.verdict == "unverified"
        assert record.final.answer == record.task.answer
        assert record.task.answer in record.task.choices


def test_the_help_states_the_margin_at_which_a_depth_map_decides() -> None:
    text = " ".join(CliRunner().invoke(synth, ["--help"]).output.split())
    assert f"differ by at least {100 * DEPTH_TRUTH_MARGIN:.0f} % of its range" in text
