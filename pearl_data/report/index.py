"""``index.html``: what a set contains, as one file that opens anywhere without a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pearl_data.audit import Audit, audit_paths
from pearl_data.audit.reading import Collection, open_collection
from pearl_data.audit.records import AuditReport
from pearl_data.audit.tables import Table, interval, percent, report_tables
from pearl_data.html import Markup, page, tag
from pearl_data.report.gallery import card, choose
from pearl_data.report.style import STYLE
from pearl_data.shards.files import write_whole
from pearl_data.shards.sums import note_page

FAULTS_SHOWN = 50


def write_index(
    paths: Sequence[Path],
    out: Path,
    *,
    title: str,
    gallery: int = 24,
    audit: Audit | None = None,
    allow_unfinished: bool = False,
) -> None:
    """Write the page about everything at ``paths`` to ``out``.

    ``gallery`` is the number of trajectories shown with their pictures; ``audit`` saves a second
    reading where it was made already. Raises what :func:`~pearl_data.audit.audit_paths` raises.
    """
    audit = audit or audit_paths(paths, allow_unfinished=allow_unfinished)
    report = audit.report
    chosen = choose(audit.trajectories.frames, gallery)
    parts = [
        tag("h1", title),
        tag("p", _subtitle(report), class_="soft"),
        tag("div", *_figures(report), class_="figures"),
    ]
    if chosen:
        parts += [
            tag("h2", "Trajectories"),
            tag("p", f"{len(chosen)} of {report.records.read}, families in turn.", class_="soft"),
            tag("div", *_cards(chosen, allow_unfinished=allow_unfinished), class_="gallery"),
        ]
    tables = list(report_tables(report))
    if report.unreadable:
        tables.append(_unreadable(report))
    parts += [tag("h2", "Audit"), tag("div", *map(_table, tables), class_="tables")]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, page(title, *parts, style=STYLE).encode("utf-8", "replace"))
    note_page(out)


def _subtitle(report: AuditReport) -> str:
    names = ", ".join(named.name for named in report.sources) or "nothing"
    return f"Questions from {names}. Made by pearl-data audit."


def _figures(report: AuditReport) -> Iterator[Markup]:
    calls, trajectories = report.calls, report.trajectories
    mean = report.calls_per_trajectory.mean
    flagged = sum(score.flagged for score in report.shortcuts)
    yield _figure(str(trajectories.read), "trajectories")
    yield _figure(str(calls.calls), "calls" + (f", {mean:.2f} a trajectory" if mean else ""))
    if calls.calls:
        yield _figure(
            f"{percent(calls.error_share.rate)} %",
            f"bad calls (95 %: {interval(calls.error_share)})",
        )
    yield _figure(str(trajectories.without_call), "without any call")
    yield _figure(str(report.records.quarantined), "quarantined, with reasons")
    if report.records.unreadable:
        yield _figure(str(report.records.unreadable), "unreadable", "bad")
    if report.shortcuts:
        told = f"of {len(report.shortcuts)} shortcut rules off chance"
        yield _figure(str(flagged), told, "bad" if flagged else "good")


def _figure(value: str, name: str, class_: str = "") -> Markup:
    number, words = tag("b", value, class_=class_), tag("span", name, class_="soft small")
    return tag("div", number, words, class_="figure")


def _cards(chosen: Sequence[tuple[str, int]], *, allow_unfinished: bool) -> Iterator[Markup]:
    collections: dict[str, Collection] = {}
    for path, position in chosen:
        if path not in collections:
            collections[path] = open_collection(Path(path), allow_unfinished=allow_unfinished)
        entry = collections[path].entry(position)
        if entry.sample is not None:
            yield card(entry.sample)
        else:
            yield tag("p", f"#{position}: {entry.fault}", class_="bad")


def _table(table: Table) -> Markup:
    right = [head.startswith(">") for head in table.heads]
    heads = tag("tr", *_cells("th", [head.lstrip(">") for head in table.heads], right))
    rows = []
    for row in table.rows:
        flagged = {"class_": "flagged"} if row[-1] == "flagged" else {}
        rows.append(tag("tr", *_cells("td", row, right), **flagged))
    grid = tag("table", tag("thead", heads), tag("tbody", *rows))
    return tag("section", tag("h3", table.title), tag("div", grid, class_="scroll"))


def _cells(name: str, cells: Sequence[str], right: Sequence[bool]) -> Iterator[Markup]:
    for cell, aligned in zip(cells, right, strict=True):
        if cell and not cell.strip("#"):  # the bar of a histogram
            yield tag(name, tag("i", class_="histogram", style=f"width:{6 * len(cell)}px"))
        else:
            yield tag(name, cell, class_="right-aligned") if aligned else tag(name, cell)


def _unreadable(report: AuditReport) -> Table:
    rows = [[str(fault), fault.code] for fault in report.unreadable[:FAULTS_SHOWN]]
    rest = len(report.unreadable) - FAULTS_SHOWN
    return Table(
        "Unreadable records" + (f" (and {rest} more)" if rest > 0 else ""), ["what", "code"], rows
    )
