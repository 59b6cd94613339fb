"""The audit as aligned tables for a terminal, at most 100 columns wide."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

from pearl_data.audit.records import AuditReport, Share

WIDTH = 100
#: Unreadable records listed one by one before the rest is only counted.
FAULTS_SHOWN = 10

Cells = Sequence[str]


def render_report(report: AuditReport) -> str:
    """All tables of ``report``; sections about nothing are left out."""
    return "\n\n".join(["\n".join(_summary(report)), *_sections(report)])


def render_table(title: str, heads: Cells, rows: Sequence[Cells]) -> str:
    """A titled table. A head that starts with ``>`` marks a right-aligned column; the widest cell
    of a left-aligned column is cut where the line would pass 100 columns.
    """
    names = [head.lstrip(">") for head in heads]
    grid = [names, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(display_width, column)) for column in zip(*grid, strict=True)]
    excess = sum(widths) + 2 * len(widths) - WIDTH
    if excess > 0:
        left = [place for place, head in enumerate(heads) if not head.startswith(">")]
        widest = max(left, key=lambda place: widths[place])
        widths[widest] = max(widths[widest] - excess, len(names[widest]), 8)
    lines = [title]
    for row in grid:
        cells = [
            pad(cell, width, right=head.startswith(">"))
            for cell, width, head in zip(row, widths, heads, strict=True)
        ]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def percent(rate: float | None) -> str:
    """``12.3`` for 0.123; a dash where nothing was counted."""
    return "-" if rate is None else f"{100 * rate:.1f}"


def interval(share: Share) -> str:
    """The Wilson interval in percent: ``9.8 to 15.1``."""
    return "-" if share.low is None else f"{percent(share.low)} to {percent(share.high)}"


def count(value: float) -> str:
    """A count as people write it: ``1204``, or ``12.5`` where ties shared a credit."""
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def printable(text: str) -> str:
    r"""``text`` on one line with control characters shown as ``\x1b``: data may not steer a
    terminal.
    """
    return "".join(
        c if c.isprintable() else " " if c in "\n\t\r" else c.encode("unicode_escape").decode()
        for c in text
    )


def display_width(text: str) -> int:
    """Terminal columns of ``text``: wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def pad(text: str, width: int, *, right: bool = False) -> str:
    """``text`` in exactly ``width`` columns, cut with an ellipsis where it is longer."""
    if display_width(text) > width:
        while display_width(text) > width - 1:
            text = text[:-1]
        text += "…"
    space = " " * (width - display_width(text))
    return space + text if right else text + space


def _summary(report: AuditReport) -> Iterator[str]:
    records, trajectories, calls = report.records, report.trajectories, report.calls
    yield (
        f"records       {records.found} found: {records.read} read, "
        f"{records.quarantined} quarantined, {records.unreadable} unreadable"
    )
    yield (
        f"trajectories  {trajectories.read} read: {trajectories.all_ok} with good calls only, "
        f"{trajectories.with_bad_call} with a bad call, "
        f"{trajectories.without_call} without any call"
    )
    line = f"calls         {calls.calls} made: {calls.ok} ok, {calls.errors} with an error"
    if calls.calls:
        line += f" ({percent(calls.error_share.rate)} %, 95 %: {interval(calls.error_share)})"
    yield line
    if calls.no_call_entries:
        yield f"              {calls.no_call_entries} more entries in which no call could be found"


def _sections(report: AuditReport) -> Iterator[str]:
    if report.by_code:
        yield render_table(
            "Calls by tool and outcome (% of the tool's entries)",
            ["tool", "stage", "code", ">count", ">%", ">95 % interval", ">written", ">kept out"],
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
        yield render_table(
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
        yield render_table(
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
        yield render_table(
            f"Calls per trajectory (mean {per.mean:.2f})",
            [">calls", ">trajectories", ""],
            [
                [str(b.calls), str(b.trajectories), "#" * max(1, round(40 * b.trajectories / most))]
                for b in per.histogram
            ],
        )
    if report.quarantine:
        yield render_table(
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
            ("injected mistake", report.injected_faults),
        )
        for n in named
    ]
    if composition:
        yield render_table("What was read", ["", "", ">records", ">%"], composition)
    if report.answers:
        yield render_table(
            "Answers by family",
            ["family", "answer", ">records", ">%"],
            [[a.family, a.answer, count(a.count.k), percent(a.count.rate)] for a in report.answers],
        )
    if report.shortcuts:
        yield render_table(
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
    if report.unreadable:
        shown = report.unreadable[:FAULTS_SHOWN]
        rest = len(report.unreadable) - len(shown)
        lines = ["Unreadable records"]
        for fault in shown:
            lines += textwrap.wrap(
                printable(str(fault)), WIDTH, initial_indent="  ", subsequent_indent="      "
            )
        if rest:
            lines.append(f"  and {rest} more (all of them with --json)")
        yield "\n".join(lines)
