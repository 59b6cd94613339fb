from __future__ import annotations

import io
import tarfile
from pathlib import Path

import msgspec
import polars as pl
import pytest
from click.testing import CliRunner, Result
from trajectories import build_block, build_sample

from pearl_data.audit import AuditReport
from pearl_data.audit.calls import CALL_COLUMNS
from pearl_data.cli.audit import audit
from pearl_data.shards import DatasetWriter
from pearl_data.trajectory import canonical_json
from pearl_tools.errors import UsageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    samples = [build_sample(f"s{n}", seed=n, failed_call=n == 0, depth=True) for n in range(4)]
    out = tmp_path / "set.jsonl"
    out.write_bytes(b"\n".join(canonical_json(sample.trajectory) for sample in samples))
    return out


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(audit, [str(a) for a in arguments])


def test_json_is_an_audit_report(file: Path) -> None:
    report = msgspec.json.decode(run(file, "--json").stdout, type=AuditReport)
    assert report.calls.calls == 9


def test_out_has_a_row_per_call(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "calls.parquet"
    assert run(file, "--out", out).exit_code == 0
    frame = pl.read_parquet(out)
    assert frame.schema == CALL_COLUMNS
    assert frame.filter(pl.col("code") != "ok")["code"].to_list() == ["geometry.outside"]
    assert frame.height == 9


def test_fail_over_names_the_tools(file: Path) -> None:
    result = run(file, "--fail-over", "0.05")
    assert result.exit_code == 1
    assert "at most 5 % of calls with an error, got 11.1 %" in result.stderr
    assert "tools over it: crop 1 of 5" in result.stderr
    assert "depth" not in result.stderr
    assert run(file, "--fail-over", "0.2").exit_code == 0


@pytest.mark.parametrize(
    ("option", "name", "told"),
    [("--out", "calls.csv", ".parquet"), ("--html", "page.txt", ".html")],
)
def test_outputs_of_another_kind_are_refused(
    file: Path, tmp_path: Path, option: str, name: str, told: str
) -> None:
    result = run(file, option, tmp_path / name)
    assert isinstance(result.exception, UsageError)
    assert told in str(result.exception)


def test_paths_that_hold_no_trajectories_are_misuse(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    assert isinstance(run(tmp_path / "a.txt").exception, UsageError)
    assert run(tmp_path / "absent").exit_code == 2
    assert run().exit_code == 2


def test_html_is_written(file: Path, tmp_path: Path) -> None:
    assert run(file, "--html", tmp_path / "a.html").exit_code == 0
    assert "<!doctype html>" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("foreign.json", b'{"a": 1}', "1 of 1 unreadable"),
        ("empty.jsonl", b"", "expected at least one trajectory, read none"),
    ],
)
def test_nothing_usable_is_a_failure_that_is_said(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    for options in ([], ["--json"]):
        result = run(tmp_path / name, *options)
        assert result.exit_code == 1
        assert told in result.stderr
        assert "failed" not in result.stdout
    assert msgspec.json.decode(result.stdout, type=AuditReport).records.read == 0


def test_one_unreadable_record_among_good_ones_is_a_failure(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\n{}\n")
    result = run(file)
    assert result.exit_code == 1
    assert "1 of 5 unreadable" in result.stderr
    assert "4 read" in result.stdout


def test_a_tampered_dataset_is_a_failure(tmp_path: Path) -> None:
    writer = DatasetWriter.open(tmp_path / "set", {"seed": 0}, samples_per_shard=8)
    writer.add_block(0, build_block(0))
    writer.close()
    (tar,) = (tmp_path / "set" / "shards").glob("*.tar")
    data = bytearray(tar.read_bytes())
    data[data.index(b"Which colour")] ^= 1
    assert run(tmp_path / "set").exit_code == 0
    tar.write_bytes(data)
    result = run(tmp_path / "set")
    assert result.exit_code == 1
    assert "1 of 4 unreadable" in result.stderr


@pytest.mark.parametrize(("option", "name"), [("--out", "x.parquet"), ("--html", "new/x.html")])
def test_a_place_that_cannot_be_is_refused_before_reading(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, name: str
) -> None:
    def read(*_: object, **__: object) -> None:
        pytest.fail("read before the output was checked")

    monkeypatch.setattr("pearl_data.audit.audit_paths", read)
    (tmp_path / "afile").touch()
    result = run(file, option, tmp_path / "afile" / name)
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).endswith(f"expected a folder at {tmp_path / 'afile'}, got a file")


def test_a_line_of_timings_in_no_encoding_is_named(tmp_path: Path) -> None:
    out = tmp_path / "set"
    writer = DatasetWriter.open(out, {"seed": 0})
    writer.add_block(0, build_block(0, 2))
    writer.close()
    (timings,) = (out / "timings").glob("*.jsonl")
    timings.write_bytes(b'{"key": "s\xff"}\n')
    result = run(out, "--json")
    report = msgspec.json.decode(result.stdout, type=AuditReport)
    assert result.exit_code == 1
    (told,) = report.unreadable
    assert told.file.endswith("timings/000000.jsonl")
    assert told.expected == "a line of timings"
    assert "expected timings that can all be read, got 1 unreadable" in result.stderr
    assert (report.records.found, report.records.unreadable) == (report.records.read, 0)
    assert report.calls.calls  # a lost duration costs no call


def test_a_record_that_nests_too_deep_is_unreadable_not_fatal(tmp_path: Path) -> None:
    deep = tmp_path / "deep.tar"
    with tarfile.open(deep, "w") as tar:
        info = tarfile.TarInfo("s0.json")
        data = b'{"a":' * 5_000 + b"1" + b"}" * 5_000
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    result = run(deep)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
