"""An audit's memory does not grow with the number of records."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import msgspec
import pytest
from trajectories import build_sample

from pearl_data.audit import audit_paths, spooled
from pearl_data.audit.reading import open_collection
from pearl_data.shards import BlockResult, CallTiming, DatasetWriter, Sample
from pearl_data.trajectory import canonical_json

PER_SHARD = 100


def many(count: int, out: Path) -> Path:
    """A set of so many small samples, each another question, with timings."""
    trajectory, members = build_sample()
    with DatasetWriter.open(out, {}, samples_per_shard=PER_SHARD, tools={}) as writer:
        for start in range(0, count, PER_SHARD):
            samples, timings = [], []
            for number in range(start, start + PER_SHARD):
                task = msgspec.structs.replace(trajectory.task, question=f"Number {number}?")
                record = msgspec.structs.replace(trajectory, id=f"s{number:06d}", task=task)
                samples.append(Sample(record, members))
                timings.append(
                    CallTiming(key=record.id, call_id="c1", tool="crop", cache="miss",
                               attempts=1, duration_ms=float(number))
                )  # fmt: skip
            writer.add_block(writer.next_block, BlockResult(PER_SHARD, samples, [], timings))
        writer.close()
    return out


def peak_bytes(path: Path, records: int) -> int:
    """The most memory that Python objects took while ``path`` was audited."""
    tracemalloc.start()
    try:
        report = audit_paths([path]).report
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.records.read == records
    return peak


@pytest.mark.parametrize("kind", ["dataset", "tars", "jsonl"])
def test_more_records_take_the_same_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(spooled, "_ROWS", 100)
    peaks = []
    for count in (200, 200, 1500):  # the first warms up what is made once
        path = many(count, tmp_path / f"{len(peaks)}")
        if kind == "jsonl":
            records = [e.sample.trajectory for e in open_collection(path).entries() if e.sample]
            path = tmp_path / f"{len(peaks)}.jsonl"
            path.write_bytes(b"".join(canonical_json(record) + b"\n" for record in records))
            del records
        peaks.append(peak_bytes(path / "shards" if kind == "tars" else path, count))
    # the names of more files and the lines of the manifest: a fraction of a record each
    assert peaks[2] - peaks[1] < 200_000, peaks
