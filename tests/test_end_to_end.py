"""One run of the whole way, as a user goes it: synthesise, validate with replay, audit, look."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from pearl_data.cli.group import cli
from pearl_data.shards import DatasetReader


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("end") / "scenes"
    run("synth", "--tools", "crop,zoom,depth", "--out", str(out), "--limit", "28", "--seed", "11")
    return out


def run(*arguments: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == exit_code, result.output
    return result


def test_synthesis_needs_nothing_of_ones_own(scenes: Path) -> None:
    reader = DatasetReader(scenes)
    assert len(reader) == 28
    families = {sample.trajectory.task.family for sample in reader}
    assert families == {"read", "attribute", "count", "identity", "nearer", "nearer_read"}
    assert (scenes / "index.html").stat().st_size > 50_000


def test_every_call_replays_from_the_original_bytes(scenes: Path) -> None:
    report = json.loads(run("validate", str(scenes), "--replay", "--json").stdout)
    assert report["findings"] == []
    assert set(report["replay"]) == {"crop", "zoom", "depth"}
    for counts in report["replay"].values():
        assert counts["equal"] + counts["within_tolerance"] == counts["calls"] > 0


def test_the_audit_counts_every_call(scenes: Path, tmp_path: Path) -> None:
    table = tmp_path / "calls.parquet"
    report = json.loads(run("audit", str(scenes), "--json", "--out", str(table)).stdout)
    calls = sum(len(s.calls) for x in DatasetReader(scenes) for s in x.trajectory.steps)
    written = pl.read_parquet(table).filter(pl.col("outcome") == "written")
    assert len(written) == calls
    assert report["schema_version"] == "1.0"


def test_one_trajectory_can_be_looked_at(scenes: Path, tmp_path: Path) -> None:
    key = next(k for k in DatasetReader(scenes).keys() if "nearer_read" in k)  # noqa: SIM118
    told = run("show", str(scenes), "--key", key, "--out", str(tmp_path / "look")).stdout
    assert "depth" in told
    assert (tmp_path / "look" / "trajectory.png").exists()


def test_an_edited_box_is_found(scenes: Path, tmp_path: Path) -> None:
    sample = next(
        s for s in DatasetReader(scenes)
        if s.trajectory.steps[0].calls[0].tool == "crop" and len(s.trajectory.steps) == 1
    )  # fmt: skip
    record = json.loads(json.dumps(_plain(sample.trajectory)))
    record["steps"][0]["calls"][0]["arguments"]["bbox"][0] += 0.05
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(record))
    report = json.loads(run("validate", str(path), "--json", exit_code=1).stdout)
    assert {f["file"] for f in report["findings"]} == {str(path)}
    assert {f["key"] for f in report["findings"]} == {sample.trajectory.id}
    assert any(f["path"].startswith("steps[0].calls[0].") for f in report["findings"])


def _plain(value: object) -> object:
    import msgspec

    return msgspec.to_builtins(value)
