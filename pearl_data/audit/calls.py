"""Calls and trajectories as polars frames; the columns of ``audit --out calls.parquet``.

``calls.parquet``, a row per call entry:

    path           str    the dataset, as it was named on the command line
    key            str    the trajectory, or the quarantine entry
    split          str    its split; this and the next three are null where a quarantine entry
                          does not say
    dataset        str    the source data set of its question
    family         str    its question family
    origin         str    expert | model | injected | imported
    outcome        str    written | quarantined
    step           u32    position of the step, from 0
    call_id        str    c1, c2, ...
    tool           str    name as it was called
    stage          str    ok, or the stage of the error: parse, schema, reference, ...
    code           str    ok, or ``stage.code``; ``parse.no_call`` is an entry without a call
    fault_owner    str    caller | tool | media | environment; null for ok
    retryable      bool   whether calling again can repair it; null for ok
    duration_ms    f64    from the dataset's timings; null where there are none
    cache          str    hit | miss; null where unknown
    attempts       u32    from the timings; null where unknown
    box_area_share f64    area of ``arguments.bbox`` (a fraction, clipped to the medium);
                          null without a proper box
    media_count    u32    media that came back

Not here: finding the calls of a quarantine entry (:mod:`pearl_data.audit.quarantine`) and any
counting (:mod:`pearl_data.audit.count`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import polars as pl

from pearl_data.shards.sample import CallTiming
from pearl_data.trajectory import Call, Trajectory

CALL_COLUMNS: dict[str, type[pl.DataType]] = {
    "path": pl.String,
    "key": pl.String,
    "split": pl.String,
    "dataset": pl.String,
    "family": pl.String,
    "origin": pl.String,
    "outcome": pl.String,
    "step": pl.UInt32,
    "call_id": pl.String,
    "tool": pl.String,
    "stage": pl.String,
    "code": pl.String,
    "fault_owner": pl.String,
    "retryable": pl.Boolean,
    "duration_ms": pl.Float64,
    "cache": pl.String,
    "attempts": pl.UInt32,
    "box_area_share": pl.Float64,
    "media_count": pl.UInt32,
}

TRAJECTORY_COLUMNS: dict[str, type[pl.DataType]] = {
    "path": pl.String,
    "position": pl.UInt32,
    "split": pl.String,
    "dataset": pl.String,
    "family": pl.String,
    "origin": pl.String,
    "answer": pl.String,
    "fault": pl.String,
    "calls": pl.UInt32,
    "errors": pl.UInt32,
    "needs_tool": pl.String,
    "answer_source": pl.String,
    "verdict": pl.String,
}

NO_CALL = "parse.no_call"


class Caller(NamedTuple):
    """Who made some calls: the columns that all of their rows share."""

    path: str
    key: str
    split: str | None
    dataset: str | None
    family: str | None
    origin: str | None
    outcome: Literal["written", "quarantined"]


def written_caller(path: str, trajectory: Trajectory) -> Caller:
    """A written trajectory as the one who made its calls."""
    return Caller(
        path=path,
        key=trajectory.id,
        split=trajectory.split,
        dataset=trajectory.source.dataset,
        family=trajectory.task.family,
        origin=trajectory.origin,
        outcome="written",
    )


def call_rows(
    caller: Caller,
    calls_of_steps: Iterable[Sequence[Call]],
    timings: Mapping[tuple[str, str], CallTiming],
) -> Iterator[tuple[Any, ...]]:
    """The rows of one caller, given its calls step by step, in the order of
    :data:`CALL_COLUMNS`.
    """
    for position, calls in enumerate(calls_of_steps):
        for call in calls:
            error = call.result.error
            timing = timings.get((caller.key, call.id))
            yield (
                *caller,
                position,
                call.id,
                call.tool,
                error.stage if error else "ok",
                error.code if error else "ok",
                error.fault_owner if error else None,
                error.retryable if error else None,
                timing.duration_ms if timing else None,
                timing.cache if timing else None,
                timing.attempts if timing else None,
                box_area_share(call.arguments),
                len(call.result.media),
            )


def trajectory_row(path: str, position: int, trajectory: Trajectory) -> tuple[Any, ...]:
    """The row of one written trajectory at ``position`` among the records of ``path``, in the
    order of :data:`TRAJECTORY_COLUMNS`.
    """
    errors = [call.result.error for step in trajectory.steps for call in step.calls]
    codes = ["ok" if error is None else error.code for error in errors]
    real = [code for code in codes if code != NO_CALL]
    return (
        path,
        position,
        trajectory.split,
        trajectory.source.dataset,
        family_of(trajectory),
        trajectory.origin,
        trajectory.task.answer,
        trajectory.fault.code if trajectory.fault else None,
        len(real),
        sum(code != "ok" for code in real),
        "yes" if trajectory.task.needs_tool else "no",
        trajectory.task.answer_source,
        trajectory.final.verdict,
    )


def family_of(trajectory: Trajectory) -> str:
    """The question family; unverified answers form their own: ``nearer (unverified)``."""
    family = trajectory.task.family
    return f"{family} (unverified)" if trajectory.final.verdict == "unverified" else family


def box_area_share(arguments: Mapping[str, Any] | None) -> float | None:
    """The share 0..1 of its medium that ``arguments["bbox"]`` covers, None without a proper box.

    >>> box_area_share({"bbox": [0.5, 0.5, 1, 2]})
    0.25
    """
    box = (arguments or {}).get("bbox")
    if not isinstance(box, list | tuple) or len(box) != 4:
        return None
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in box):
        return None
    x0, y0, x1, y1 = (float(min(max(v, 0), 1)) for v in box)
    area = (x1 - x0) * (y1 - y0)
    return area if x1 >= x0 and y1 >= y0 else None
