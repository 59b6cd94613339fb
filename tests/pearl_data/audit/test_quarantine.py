"""Calls that were made and then kept out, as ``pearl_data.synthesise`` really writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from drawn import coco_set
from trajectories import build_sample

from pearl_data.audit import Audit, audit_paths
from pearl_data.audit.quarantine import quarantined_caller, quarantined_calls
from pearl_data.shards import BlockResult, CallTiming, DatasetWriter, Quarantined
from pearl_data.sources import parse_source
from pearl_data.sources.base import QuestionSettings
from pearl_data.synthesise import SynthesisSettings, synthesise
from pearl_tools.errors import tool_error
from pearl_tools.executor import ExecutorSettings

REASON = tool_error("semantic.ambiguous", "task", "one answer", "two")


@pytest.fixture(scope="module")
def synthesised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set whose depth ranks are reversed in every other picture, so that some contradict."""
    folder = tmp_path_factory.mktemp("kept") / "set"
    annotations = coco_set(folder, images=4)
    document = json.loads(annotations.read_text())
    for one in document["annotations"]:
        if one["image_id"] % 2:
            one["depth_rank"] = 5 - one["depth_rank"]
    annotations.write_text(json.dumps(document))
    settings = SynthesisSettings(
        source=parse_source(f"coco:{annotations}", folder),
        questions=QuestionSettings(tools=["crop", "depth"], seed=3),
        executor=ExecutorSettings(),
    )
    synthesise(folder / "out", settings)
    return folder / "out"


@pytest.fixture(scope="module")
def audited(synthesised: Path) -> Audit:
    return audit_paths([synthesised])


def entries(dataset: Path) -> list[dict[str, Any]]:
    lines = [
        line
        for file in sorted((dataset / "quarantine").glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]
    return [json.loads(line) for line in lines]


def test_every_call_in_the_quarantine_of_a_synthesis_is_counted(
    synthesised: Path, audited: Audit
) -> None:
    made = [
        (entry["key"], call["id"], call["tool"])
        for entry in entries(synthesised)
        for step in entry["record"].get("steps", [])
        for call in step["calls"]
    ]
    assert made
    rows = audited.calls.lazy().filter(pl.col("outcome") == "quarantined").collect()
    assert rows.select("key", "call_id", "tool").rows() == made
    assert sum(c.quarantined for c in audited.report.by_code) == len(made)
    assert audited.report.calls.calls == audited.calls.height
    assert audited.calls.height == len(made) + sum(c.written for c in audited.report.by_code)


def test_calls_in_the_quarantine_name_family_and_dataset(synthesised: Path, audited: Audit) -> None:
    rows = audited.calls.lazy().filter(pl.col("outcome") == "quarantined").collect()
    known = {
        entry["key"]: (entry["record"]["task"]["family"], entry["record"]["source"]["dataset"])
        for entry in entries(synthesised)
    }
    for key, family, dataset, origin in rows.select("key", "family", "dataset", "origin").rows():
        assert (family, dataset) == known[key]
        assert origin is None


def test_an_unfinished_trial_keeps_its_errors_and_timings(tmp_path: Path) -> None:
    trajectory = msgspec.to_builtins(build_sample("q0-0123456789", failed_call=True).trajectory)
    record = {name: trajectory[name] for name in ("task", "steps", "source")}
    key = trajectory["id"]
    timing = CallTiming(
        key=key, call_id="c2", tool="crop", cache="hit", attempts=1, duration_ms=2.5
    )
    writer = DatasetWriter.open(tmp_path / "set", {"seed": 0}, samples_per_shard=8)
    kept_out = Quarantined(key=key, reason=REASON, record=record)
    writer.add_block(0, BlockResult(2, [build_sample("s000000", seed=1)], [kept_out], [timing]))
    writer.close()
    audit = audit_paths([tmp_path / "set"])
    rows = audit.calls.lazy().filter(pl.col("outcome") == "quarantined").collect()
    assert rows["code"].to_list() == ["geometry.outside", "ok"]
    assert rows["duration_ms"].to_list() == [None, 2.5]
    assert rows["step"].to_list() == [0, 1]
    assert audit.report.calls.errors == 1
    assert audit.report.records.read == audit.report.trajectories.read == 1


def test_a_whole_trajectory_that_was_kept_out_says_all_it_knows() -> None:
    record = msgspec.to_builtins(build_sample("s000001").trajectory)
    caller = quarantined_caller("p", Quarantined(key="s000001", reason=REASON, record=record))
    assert caller[1:] == ("s000001", "train", "drawn", "attribute", "expert", "quarantined")


@pytest.mark.parametrize(
    "record",
    [
        None,
        {},
        {"number": 6},
        {"task": "detection", "source": "web", "steps": 3},
        {"task": {"family": 1}, "source": None, "steps": [1, {}, {"calls": 2}]},
        {"steps": [{"calls": [{"tool": "crop"}, None]}]},
    ],
)
def test_rows_of_a_source_have_no_calls_and_break_nothing(record: dict[str, Any] | None) -> None:
    entry = Quarantined(key="q", reason=REASON, record=record)
    assert [call for calls in quarantined_calls(entry) for call in calls] == []
    assert quarantined_caller("p", entry) == ("p", "q", None, None, None, None, "quarantined")


def test_one_unreadable_call_does_not_hide_its_neighbours() -> None:
    record = msgspec.to_builtins(build_sample("s", second_crop=True).trajectory)
    del record["steps"][0]["calls"][0]["result"]
    entry = Quarantined(key="s", reason=REASON, record={"steps": record["steps"]})
    assert [[call.id for call in calls] for calls in quarantined_calls(entry)] == [[], ["c2"]]
