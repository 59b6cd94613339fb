"""The audit as aligned tables for a terminal, at most 100 columns wide."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator

from pearl_data.audit.records import AuditReport
from pearl_data.audit.tables import Table, interval, percent, report_tables
from pearl_data.terminal import one_line

WIDTH = 100
#: Unreadable records listed one by one before the rest is only counted.
FAULTS_SHOWN = 10


def render_report(report: AuditReport) -> str:
    """All tables of ``report``; empty sections are skipped."""
    parts = ["\n".join(summary_lines(report)), *map(render_table, report_tables(report))]
    if report.unreadable:
        parts.append("\n".join(_unreadable(report)))
    return "\n\n".join(parts)


def render_table(table: Table) -> str:
    """An aligned table under its title; the cells of the widest left-aligned column are cut where
    lines would pass 100 columns.
    """
    title, heads, rows = table
    names = [head.lstrip(">") for head in heads]
    grid = [names, *([one_line(cell) for cell in row] for row in rows)]
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


def summary_lines(report: AuditReport) -> Iterator[str]:
    """What was found, in three or four lines."""
    records, trajectories, calls = report.records, report.trajectories, report.calls
    needless = ""
    if trajectories.needing_no_call:
        needless = f" ({trajectories.needing_no_call} of them need none)"
    yield (
        f"records       {records.found} found: {records.read} read, "
        f"{records.quarantined} quarantined, {records.unreadable} unreadable"
    )
    yield (
        f"trajectories  {trajectories.read} read: {trajectories.all_ok} with good calls only, "
        f"{trajectories.with_bad_call} with a bad call, "
        f"{trajectories.without_call} without any call" + needless
    )
    line = f"calls         {calls.calls} made: {calls.ok} ok, {calls.errors} with an error"
    if calls.calls:
        line += f" ({percent(calls.error_share.rate)} %, 95 %: {interval(calls.error_share)})"
    yield line
    if calls.no_call_entries:
        yield f"              {calls.no_call_entries} more entries in which no call could be found"


def _unreadable(report: AuditReport) -> Iterator[str]:
    yield "Unreadable records"
    for fault in report.unreadable[:FAULTS_SHOWN]:
        yield from textwrap.wrap(
            one_line(str(fault)), WIDTH, initial_indent="  ", subsequent_indent="      "
        )
    rest = len(report.unreadable) - FAULTS_SHOWN
    if rest > 0:
        yield f"  and {rest} more (all of them with --json)"
