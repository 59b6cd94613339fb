"""The result of an audit as typed records: the JSON of ``pearl-data audit --json``.

Three groups never mix. *No call*: a trajectory that called nothing, or a call entry in which no
call could be found (``parse.no_call``). *Bad call*: a call that returned an error. *Unreadable*: a
record that could not be read at all. Not here: how the figures are counted
(:mod:`pearl_data.audit.count`) and how they are printed (:mod:`pearl_data.audit.text`).
"""

from __future__ import annotations

from typing import Literal

from pearl_data.findings import Finding
from pearl_data.wilson import Count, Rate, Share
from pearl_tools.types import Record

AUDIT_SCHEMA_VERSION: Literal["1.0"] = "1.0"


class RecordCounts(Record, frozen=True, kw_only=True):
    """What became of every record found: ``found = read + unreadable + quarantined``."""

    found: Count
    read: Count
    unreadable: Count
    quarantined: Count


class TrajectoryCounts(Record, frozen=True, kw_only=True):
    """Trajectories that were read (written ones only), by what they called.

    ``read = without_call + all_ok + with_bad_call``; an entry in which no call could be found
    (``parse.no_call``) is no call. ``needing_no_call`` are those of ``without_call`` whose question
    needs no tool.
    """

    read: Count
    without_call: Count
    needing_no_call: Count
    all_ok: Count
    with_bad_call: Count


class CallTotals(Record, frozen=True, kw_only=True):
    """All calls of written and quarantined trajectories: ``calls = ok + errors``.

    ``no_call_entries`` (code ``parse.no_call``) are not calls and stand apart.
    """

    calls: Count
    ok: Count
    errors: Count
    error_share: Share
    no_call_entries: Count


class ToolCalls(Record, frozen=True, kw_only=True):
    """Calls of one tool: ``error_share.n`` calls, ``error_share.k`` of them with an error."""

    tool: str
    ok: Count
    errors: Count
    error_share: Share


class CodeCount(Record, frozen=True, kw_only=True):
    """How often one tool ended with one code (``ok`` or ``stage.code``), of that tool's entries."""

    tool: str
    stage: str
    code: str
    count: Share
    written: Count
    quarantined: Count


class OwnerCount(Record, frozen=True, kw_only=True):
    """Errors by whose fault they are, of all errors; ``retryable`` ones could be repaired."""

    fault_owner: str
    count: Share
    retryable: Count


class Durations(Record, frozen=True, kw_only=True):
    """How long the calls of one tool took, in ms, where the dataset kept its timings."""

    tool: str
    timed: Count
    median_ms: float
    p95_ms: float
    max_ms: float
    cache_hits: Count
    retried: Count


class Bin(Record, frozen=True, kw_only=True):
    """``trajectories`` of them have exactly ``calls`` calls."""

    calls: Count
    trajectories: Count


class CallsPerTrajectory(Record, frozen=True, kw_only=True):
    """Calls in each written trajectory; ``mean`` is null where there is none."""

    mean: float | None
    histogram: list[Bin]


class Named(Record, frozen=True, kw_only=True):
    """How often one value occurs, of all values."""

    name: str
    count: Share


class AnswerCount(Record, frozen=True, kw_only=True):
    """The count of one answer in one question family; ``(other)`` sums the rare ones.

    Unverified answers form a family of their own: ``nearer (unverified)``.
    """

    family: str
    answer: str
    count: Share


class QuarantineReason(Record, frozen=True, kw_only=True):
    """Records kept out under one code, with one of them as example."""

    code: str
    count: Share
    example_key: str
    example: str


class ShortcutScore(Record, frozen=True, kw_only=True):
    """How often a rule that looks at no pixels finds the answer.

    ``chance`` is the score of guessing, ``difference_points`` = 100 (rate - chance), ``flagged``
    where it exceeds 5 points either way and the interval excludes chance.
    """

    family: str
    rule: str
    score: Share
    chance: Rate
    difference_points: float
    flagged: bool


class AuditReport(Record, frozen=True, kw_only=True):
    """Everything that an audit found. Lists are sorted, so equal data gives equal reports."""

    schema_version: Literal["1.0"]
    paths: list[str]
    records: RecordCounts
    unreadable: list[Finding]
    trajectories: TrajectoryCounts
    calls: CallTotals
    by_tool: list[ToolCalls]
    by_code: list[CodeCount]
    by_fault_owner: list[OwnerCount]
    durations: list[Durations]
    calls_per_trajectory: CallsPerTrajectory
    quarantine: list[QuarantineReason]
    families: list[Named]
    splits: list[Named]
    sources: list[Named]
    origins: list[Named]
    needs_tool: list[Named]
    answer_sources: list[Named]
    verdicts: list[Named]
    injected_faults: list[Named]
    answers: list[AnswerCount]
    shortcuts: list[ShortcutScore]
