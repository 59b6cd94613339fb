"""The audit as tables of words and figures, for both the terminal and HTML pages.

Not here: the look of tables (:mod:`pearl_data.audit.text`, :mod:`pearl_data.html`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pearl_data.audit.records import AuditReport
from pearl_data.wilson import Share


class Table(NamedTuple):
    """A title, column heads and rows of cells. A head that starts with ``>`` marks a right-aligned
    column.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def report_tables(report: AuditReport) -> Iterator[Table]:
    """The tables of ``report`` in reading order; empty ones are skipped."""
    if report.by_code:
        yield Table(
            "Calls by tool and outcome (% of the tool's entries)",
            ["tool", "stage", "code", ">count", ">%", ">95 % interval", ">written", ">quarantined"],
            [
                [
                    c.tool,
                    "" if c.code == "ok" else c.stage,
                    c.code.partition(".")[2] or c.code,
                    count(c.count.k),
                    percent(c.count.rate),
                    interval(c.count),
                    str(c.written),
                    str(c.quarantined),
                ]
                for c in report.by_code
            ],
        )
    if report.by_fault_owner:
        yield Table(
            "Errors by whose fault they are",
            ["fault owner", ">errors", ">%", ">95 % interval", ">retryable"],
            [
                [
                    o.fault_owner,
                    count(o.count.k),
                    percent(o.count.rate),
                    interval(o.count),
                    str(o.retryable),
                ]
                for o in report.by_fault_owner
            ],
        )
    if report.durations:
        yield Table(
            "Durations (ms)",
            ["tool", ">timed", ">median", ">p95", ">max", ">cache hits", ">retried"],
            [
                [
                    d.tool,
                    str(d.timed),
                    *(f"{ms:.2f}" for ms in (d.median_ms, d.p95_ms, d.max_ms)),
                    str(d.cache_hits),
                    str(d.retried),
                ]
                for d in report.durations
            ],
        )
    per = report.calls_per_trajectory
    if per.mean is not None:
        most = max(bin_.trajectories for bin_ in per.histogram)
        yield Table(
            f"Calls per trajectory (mean {per.mean:.2f})",
            [">calls", ">trajectories", ""],
            [
                [str(b.calls), str(b.trajectories), "#" * max(1, round(40 * b.trajectories / most))]
                for b in per.histogram
            ],
        )
    if report.quarantine:
        yield Table(
            "Kept out (quarantine)",
            ["code", ">records", ">%", "example"],
            [
                [q.code, count(q.count.k), percent(q.count.rate), f"{q.example_key}: {q.example}"]
                for q in report.quarantine
            ],
        )
    composition = [
        [what, n.name, count(n.count.k), percent(n.count.rate)]
        for what, named in (
            ("family", report.families),
            ("split", report.splits),
            ("source", report.sources),
            ("origin", report.origins),
            ("needs a tool", report.needs_tool),
            ("answer from", report.answer_sources),
            ("verdict", report.verdicts),
            ("injected mistake", report.injected_faults),
        )
        for n in named
    ]
    if composition:
        yield Table("What was read", ["", "", ">records", ">%"], composition)
    if report.answers:
        yield Table(
            "Answers by family",
            ["family", "answer", ">records", ">%"],
            [[a.family, a.answer, count(a.count.k), percent(a.count.rate)] for a in report.answers],
        )
    if report.shortcuts:
        yield Table(
            "Shortcuts: rules that look at no pixels (flagged: over 5 points off, "
            "interval excludes chance)",
            ["family", "rule", ">n", ">right", ">%", ">95 % interval", ">chance %", ">points", ""],
            [
                [
                    s.family,
                    s.rule,
                    str(s.score.n),
                    count(s.score.k),
                    percent(s.score.rate),
                    interval(s.score),
                    percent(s.chance),
                    f"{s.difference_points:+.1f}",
                    "flagged" if s.flagged else "",
                ]
                for s in report.shortcuts
            ],
        )


def percent(rate: float | None) -> str:
    """``12.3`` for 0.123; a dash where nothing was counted."""
    return "-" if rate is None else f"{100 * rate:.1f}"


def interval(share: Share) -> str:
    """The Wilson interval in percent: ``9.8 to 15.1``."""
    return "-" if share.low is None else f"{percent(share.low)} to {percent(share.high)}"


def count(value: float) -> str:
    """A count as people write it: ``1204``, or ``12.5`` where ties shared a credit."""
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"
