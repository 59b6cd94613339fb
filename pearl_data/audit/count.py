"""The audit: reads trajectories, lays out their calls, counts.

Figures about calls cover written trajectories and quarantine entries alike, finished or not,
because a call of a quarantined record was still made; figures of trajectories, answers, shortcuts
cover the written ones, which are what a model will see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

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
from pearl_data.audit.quarantine import quarantined_caller, quarantined_calls
from pearl_data.audit.reading import open_collection
from pearl_data.audit.shortcuts import Questions, question_of, shortcut_table
from pearl_data.audit.spooled import Spooled
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
    """The report, the rows that it was counted from, and notes on files that were not read."""

    report: r.AuditReport
    calls: Spooled
    trajectories: Spooled
    notes: list[str]


def audit_paths(
    paths: Sequence[Path], *, allow_unfinished: bool = False, progress: Progress | None = None
) -> Audit:
    """The audit of everything at ``paths`` (see :func:`~pearl_data.audit.reading.open_collection`).

    Memory does not grow with the number of records. Raises ``UsageError`` for a path that holds no
    trajectories and ``BadInput`` for a broken or unfinished dataset; single broken records are
    counted and listed instead.
    """
    found = _Found()
    for path in paths:
        collection = open_collection(path, allow_unfinished=allow_unfinished)
        positions = count()
        for part in collection.parts(found.lost_timings):
            for entry, position in zip(part.entries, positions):  # noqa: B905 - one has no end
                if entry.fault is not None:
                    found.unreadable.append(entry.fault)
                elif entry.sample is not None:
                    found.add_written(str(path), position, entry.sample.trajectory, part.timings)
                if progress:
                    progress.advance()
            for item in part.quarantined:
                if isinstance(item, Finding):
                    found.unreadable.append(item)
                else:
                    found.add_quarantined(str(path), item, part.timings)
        found.notes += collection.notes
    report = _report([str(path) for path in paths], found)
    return Audit(report, found.calls, found.trajectories, found.notes)


class _Found:
    """What reading collects, in the least that the counts need."""

    def __init__(self) -> None:
        self.calls = Spooled(CALL_COLUMNS)
        self.trajectories = Spooled(TRAJECTORY_COLUMNS)
        self.questions = Questions()
        self.quarantined: dict[str, tuple[int, Quarantined]] = {}
        self.unreadable: list[Finding] = []
        self.lost_timings: list[Finding] = []
        self.notes: list[str] = []

    def add_written(
        self,
        path: str,
        position: int,
        trajectory: Trajectory,
        timings: dict[tuple[str, str], CallTiming],
    ) -> None:
        calls = [step.calls for step in trajectory.steps]
        self.calls.add(call_rows(written_caller(path, trajectory), calls, timings))
        self.trajectories.add([trajectory_row(path, position, trajectory)])
        self.questions.add(question_of(trajectory))

    def add_quarantined(
        self, path: str, entry: Quarantined, timings: dict[tuple[str, str], CallTiming]
    ) -> None:
        code = entry.reason.code
        count, first = self.quarantined.get(code, (0, entry))
        self.quarantined[code] = (count + 1, msgspec.structs.replace(first, record=None))
        self.calls.add(
            call_rows(quarantined_caller(path, entry), quarantined_calls(entry), timings)
        )


def _report(paths: list[str], found: _Found) -> r.AuditReport:
    calls, trajectories, read = found.calls.lazy(), found.trajectories.lazy(), found.trajectories
    real = calls.filter(pl.col("code") != NO_CALL)
    quarantined = sum(count for count, _ in found.quarantined.values())
    counts = r.RecordCounts(
        found=read.height + len(found.unreadable) + quarantined,
        read=read.height,
        unreadable=len(found.unreadable),
        quarantined=quarantined,
    )
    by_code = _by_code(calls)
    return r.AuditReport(
        schema_version=r.AUDIT_SCHEMA_VERSION,
        paths=paths,
        records=counts,
        unreadable=found.unreadable + found.lost_timings,
        trajectories=_trajectory_counts(trajectories, read.height),
        calls=_totals(by_code),
        by_tool=_by_tool(real),
        by_code=by_code,
        by_fault_owner=_by_fault_owner(real),
        durations=_durations(real),
        calls_per_trajectory=_calls_per_trajectory(trajectories),
        quarantine=_quarantine(found.quarantined),
        families=_named(trajectories, "family"),
        splits=_named(trajectories, "split"),
        sources=_named(trajectories, "dataset"),
        origins=_named(trajectories, "origin"),
        needs_tool=_named(trajectories, "needs_tool"),
        answer_sources=_named(trajectories, "answer_source"),
        verdicts=_named(trajectories, "verdict"),
        injected_faults=_named(trajectories.filter(pl.col("fault").is_not_null()), "fault"),
        answers=_answers(trajectories),
        shortcuts=shortcut_table(found.questions),
    )


def _collect(counted: pl.LazyFrame) -> pl.DataFrame:
    """A small table, aggregated from rows that may not fit in memory."""
    return counted.collect(engine="streaming")


def _trajectory_counts(trajectories: pl.LazyFrame, read: int) -> r.TrajectoryCounts:
    table = _collect(
        trajectories.select(
            without=(pl.col("calls") == 0).sum(),
            needless=((pl.col("calls") == 0) & (pl.col("needs_tool") == "no")).sum(),
            bad=(pl.col("errors") > 0).sum(),
        )
    )
    ((without, needless, bad),) = table.rows()
    return r.TrajectoryCounts(
        read=read,
        without_call=without,
        needing_no_call=needless,
        all_ok=read - without - bad,
        with_bad_call=bad,
    )


def _totals(by_code: Sequence[r.CodeCount]) -> r.CallTotals:
    calls = dict.fromkeys(("ok", NO_CALL), 0)
    for row in by_code:
        calls[row.code] = calls.get(row.code, 0) + int(row.count.k)
    no_call = calls.pop(NO_CALL)
    made = sum(calls.values())
    return r.CallTotals(
        calls=made,
        ok=calls["ok"],
        errors=made - calls["ok"],
        error_share=share(made - calls["ok"], made),
        no_call_entries=no_call,
    )


def _by_tool(real: pl.LazyFrame) -> list[r.ToolCalls]:
    table = _collect(
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


def _by_code(calls: pl.LazyFrame) -> list[r.CodeCount]:
    table = _collect(
        calls.group_by("tool", "stage", "code").agg(
            n=pl.len(), written=(pl.col("outcome") == "written").sum()
        )
    ).with_columns(of_tool=pl.col("n").sum().over("tool"))
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


def _by_fault_owner(real: pl.LazyFrame) -> list[r.OwnerCount]:
    table = _collect(
        real.filter(pl.col("code") != "ok")
        .group_by("fault_owner")
        .agg(n=pl.len(), retryable=pl.col("retryable").sum())
        .sort("n", "fault_owner", descending=[True, False])
    )
    errors = int(table["n"].sum())
    return [
        r.OwnerCount(
            fault_owner=row["fault_owner"],
            count=share(row["n"], errors),
            retryable=row["retryable"],
        )
        for row in table.iter_rows(named=True)
    ]


def _durations(real: pl.LazyFrame) -> list[r.Durations]:
    duration = pl.col("duration_ms")
    table = _collect(
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


def _calls_per_trajectory(trajectories: pl.LazyFrame) -> r.CallsPerTrajectory:
    counts = _collect(trajectories.group_by("calls").agg(n=pl.len()).sort("calls"))
    histogram = [r.Bin(calls=calls, trajectories=n) for calls, n in counts.rows()]
    read = sum(one.trajectories for one in histogram)
    calls = sum(one.calls * one.trajectories for one in histogram)
    return r.CallsPerTrajectory(mean=calls / read if read else None, histogram=histogram)


def _quarantine(by_code: Mapping[str, tuple[int, Quarantined]]) -> list[r.QuarantineReason]:
    total = sum(count for count, _ in by_code.values())
    return [
        r.QuarantineReason(
            code=code,
            count=share(count, total),
            example_key=first.key,
            example=str(first.reason).replace(f" [{code}]", ""),
        )
        for code, (count, first) in sorted(by_code.items(), key=lambda item: (-item[1][0], item[0]))
    ]


def _named(rows: pl.LazyFrame, column: str) -> list[r.Named]:
    counts = _collect(
        rows.group_by(column)
        .agg(n=pl.len())
        .sort("n", column, descending=[True, False], nulls_last=True)
    ).rows()
    total = sum(n for _, n in counts)
    return [r.Named(name=name, count=share(n, total)) for name, n in counts]


def _answers(trajectories: pl.LazyFrame) -> list[r.AnswerCount]:
    counts = _collect(
        trajectories.group_by("family", "answer")
        .agg(n=pl.len())
        .sort("family", "n", "answer", descending=[False, True, False])
    )
    listed = []
    for (family,), rows in counts.group_by("family", maintain_order=True):
        answers = rows.select("answer", "n").rows()
        total = sum(n for _, n in answers)
        rest = sum(n for _, n in answers[ANSWERS_SHOWN:])
        shown = [*answers[:ANSWERS_SHOWN], *([("(other)", rest)] if rest else [])]
        listed += [
            r.AnswerCount(family=family, answer=answer, count=share(n, total))
            for answer, n in shown
        ]
    return listed
