"""The audit: reads trajectories, lays out their calls, counts.

Figures about calls cover written trajectories and quarantine entries alike, finished or not,
because a call that was kept out was still made; figures about trajectories, answers and shortcuts
cover the written ones, which are what a model will see.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from pearl_data.audit import records as r
from pearl_data.audit.calls import (
    CALL_COLUMNS,
    NO_CALL,
    TRAJECTORY_COLUMNS,
    call_rows,
    trajectory_row,
    written_caller,
)
from pearl_data.audit.kept_out import kept_out_caller, kept_out_calls
from pearl_data.audit.reading import open_collection
from pearl_data.audit.shortcuts import Question, question_of, shortcut_table
from pearl_data.findings import Finding
from pearl_data.progress import Progress
from pearl_data.shards.sample import CallTiming, Quarantined
from pearl_data.trajectory import Trajectory
from pearl_data.wilson import share
from pearl_tools.errors import STAGES

#: Answers listed per family; the rest are summed as ``(other)``.
ANSWERS_SHOWN = 5
_STAGE_ORDER = {name: place for place, name in enumerate(("ok", *STAGES))}


class Audit(NamedTuple):
    """The report and the frames it was counted from."""

    report: r.AuditReport
    calls: pl.DataFrame
    trajectories: pl.DataFrame


def audit_paths(paths: Sequence[Path], *, progress: Progress | None = None) -> Audit:
    """The audit of everything at ``paths`` (see :func:`~pearl_data.audit.reading.open_collection`).

    Raises ``UsageError`` for a path that holds no trajectories and ``BadInput`` for a broken
    dataset; single broken records are counted and listed instead.
    """
    found = _Found()
    for path in paths:
        collection = open_collection(path)
        timings = collection.timings(found.lost_timings)
        for entry in collection.entries():
            if entry.fault is not None:
                found.unreadable.append(entry.fault)
            elif entry.sample is not None:
                found.add_written(str(path), entry.sample.trajectory, timings)
            if progress:
                progress.advance()
        for kept_out in collection.quarantined():
            if isinstance(kept_out, Finding):
                found.unreadable.append(kept_out)
            else:
                found.add_quarantined(str(path), kept_out, timings)
    calls = pl.DataFrame(found.call_rows, schema=CALL_COLUMNS, orient="row")
    trajectories = pl.DataFrame(found.trajectory_rows, schema=TRAJECTORY_COLUMNS, orient="row")
    report = _report([str(path) for path in paths], found, calls, trajectories)
    return Audit(report, calls, trajectories)


class _Found:
    """What reading collects, in the least that the counts need."""

    def __init__(self) -> None:
        self.call_rows: list[tuple[Any, ...]] = []
        self.trajectory_rows: list[tuple[Any, ...]] = []
        self.questions: list[Question] = []
        self.quarantined: list[Quarantined] = []
        self.unreadable: list[Finding] = []
        self.lost_timings: list[Finding] = []

    def add_written(
        self, path: str, trajectory: Trajectory, timings: dict[tuple[str, str], CallTiming]
    ) -> None:
        calls = [step.calls for step in trajectory.steps]
        self.call_rows += call_rows(written_caller(path, trajectory), calls, timings)
        self.trajectory_rows.append(trajectory_row(path, trajectory))
        self.questions.append(question_of(trajectory))

    def add_quarantined(
        self, path: str, kept_out: Quarantined, timings: dict[tuple[str, str], CallTiming]
    ) -> None:
        self.quarantined.append(msgspec.structs.replace(kept_out, record=None))
        self.call_rows += call_rows(
            kept_out_caller(path, kept_out), kept_out_calls(kept_out), timings
        )


def _report(
    paths: list[str], found: _Found, calls: pl.DataFrame, trajectories: pl.DataFrame
) -> r.AuditReport:
    real = calls.filter(pl.col("code") != NO_CALL)
    counts = r.RecordCounts(
        found=trajectories.height + len(found.unreadable) + len(found.quarantined),
        read=trajectories.height,
        unreadable=len(found.unreadable),
        quarantined=len(found.quarantined),
    )
    return r.AuditReport(
        schema_version=r.AUDIT_SCHEMA_VERSION,
        paths=paths,
        records=counts,
        unreadable=found.unreadable + found.lost_timings,
        trajectories=_trajectory_counts(trajectories),
        calls=_totals(calls, real),
        by_tool=_by_tool(real),
        by_code=_by_code(calls),
        by_fault_owner=_by_fault_owner(real),
        durations=_durations(real),
        calls_per_trajectory=_calls_per_trajectory(trajectories),
        quarantine=_quarantine(found.quarantined),
        families=_named(trajectories["family"]),
        splits=_named(trajectories["split"]),
        sources=_named(trajectories["dataset"]),
        origins=_named(trajectories["origin"]),
        injected_faults=_named(trajectories["fault"].drop_nulls()),
        answers=_answers(trajectories),
        shortcuts=shortcut_table(found.questions),
    )


def _trajectory_counts(trajectories: pl.DataFrame) -> r.TrajectoryCounts:
    without = int((trajectories["calls"] == 0).sum())
    bad = int((trajectories["errors"] > 0).sum())
    return r.TrajectoryCounts(
        read=trajectories.height,
        without_call=without,
        all_ok=trajectories.height - without - bad,
        with_bad_call=bad,
    )


def _totals(calls: pl.DataFrame, real: pl.DataFrame) -> r.CallTotals:
    errors = int((real["code"] != "ok").sum())
    return r.CallTotals(
        calls=real.height,
        ok=real.height - errors,
        errors=errors,
        error_share=share(errors, real.height),
        no_call_entries=calls.height - real.height,
    )


def _by_tool(real: pl.DataFrame) -> list[r.ToolCalls]:
    table = (
        real.group_by("tool")
        .agg(n=pl.len(), errors=(pl.col("code") != "ok").sum())
        .sort("n", "tool", descending=[True, False])
    )
    return [
        r.ToolCalls(
            tool=row["tool"],
            ok=row["n"] - row["errors"],
            errors=row["errors"],
            error_share=share(row["errors"], row["n"]),
        )
        for row in table.iter_rows(named=True)
    ]


def _by_code(calls: pl.DataFrame) -> list[r.CodeCount]:
    table = (
        calls.group_by("tool", "stage", "code")
        .agg(n=pl.len(), written=(pl.col("outcome") == "written").sum())
        .with_columns(of_tool=pl.col("n").sum().over("tool"))
    )
    counted = [
        r.CodeCount(
            tool=row["tool"],
            stage=row["stage"],
            code=row["code"],
            count=share(row["n"], row["of_tool"]),
            written=row["written"],
            quarantined=row["n"] - row["written"],
        )
        for row in table.iter_rows(named=True)
    ]
    unknown = len(_STAGE_ORDER)
    return sorted(counted, key=lambda c: (c.tool, _STAGE_ORDER.get(c.stage, unknown), c.code))


def _by_fault_owner(real: pl.DataFrame) -> list[r.OwnerCount]:
    errors = real.filter(pl.col("code") != "ok")
    table = (
        errors.group_by("fault_owner")
        .agg(n=pl.len(), retryable=pl.col("retryable").sum())
        .sort("n", "fault_owner", descending=[True, False])
    )
    return [
        r.OwnerCount(
            fault_owner=row["fault_owner"],
            count=share(row["n"], errors.height),
            retryable=row["retryable"],
        )
        for row in table.iter_rows(named=True)
    ]


def _durations(real: pl.DataFrame) -> list[r.Durations]:
    duration = pl.col("duration_ms")
    table = (
        real.filter(duration.is_not_null())
        .group_by("tool")
        .agg(
            timed=pl.len(),
            median_ms=duration.median(),
            p95_ms=duration.quantile(0.95, interpolation="higher"),
            max_ms=duration.max(),
            cache_hits=(pl.col("cache") == "hit").sum(),
            retried=(pl.col("attempts") > 1).sum(),
        )
        .sort("tool")
    )
    return [r.Durations(**row) for row in table.iter_rows(named=True)]


def _calls_per_trajectory(trajectories: pl.DataFrame) -> r.CallsPerTrajectory:
    counts = trajectories["calls"].value_counts().sort("calls")
    return r.CallsPerTrajectory(
        mean=int(trajectories["calls"].sum()) / trajectories.height
        if trajectories.height
        else None,
        histogram=[
            r.Bin(calls=row["calls"], trajectories=row["count"])
            for row in counts.iter_rows(named=True)
        ],
    )


def _quarantine(quarantined: Iterable[Quarantined]) -> list[r.QuarantineReason]:
    by_code: dict[str, list[Quarantined]] = defaultdict(list)
    for one in quarantined:
        by_code[one.reason.code].append(one)
    total = sum(map(len, by_code.values()))
    return [
        r.QuarantineReason(
            code=code,
            count=share(len(ones), total),
            example_key=ones[0].key,
            example=str(ones[0].reason).replace(f" [{code}]", ""),
        )
        for code, ones in sorted(by_code.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _named(values: pl.Series) -> list[r.Named]:
    counts = values.value_counts(name="n").sort(
        "n", values.name, descending=[True, False], nulls_last=True
    )
    return [
        r.Named(name=row[values.name], count=share(row["n"], len(values)))
        for row in counts.iter_rows(named=True)
    ]


def _answers(trajectories: pl.DataFrame) -> list[r.AnswerCount]:
    listed = []
    for family in sorted(trajectories["family"].unique()):
        answers = _named(trajectories.filter(pl.col("family") == family)["answer"])
        rest = sum(int(a.count.k) for a in answers[ANSWERS_SHOWN:])
        shown = [(a.name, a.count) for a in answers[:ANSWERS_SHOWN]]
        if rest:
            shown.append(("(other)", share(rest, answers[0].count.n)))
        listed += [r.AnswerCount(family=family, answer=a, count=c) for a, c in shown]
    return listed
