"""``pearl-data audit``: what a set of trajectories contains, and whether it can be gamed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pearl_data.cli.output import leave
from pearl_data.command_line import FiniteRange, allow_unfinished_option, json_option
from pearl_data.progress import Progress, stage
from pearl_data.terminal import print_json, say
from pearl_data.terminated import on_interrupt
from pearl_tools.errors import UsageError, listed

if TYPE_CHECKING:
    from pearl_data.audit import AuditReport


@click.command()
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH...",
)
@allow_unfinished_option
@json_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write one row per call to this .parquet file.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page with pictures and all tables to this .html file.",
)
@click.option(
    "--fail-over",
    type=FiniteRange(0, 1),
    metavar="RATE",
    help="Exit 1 if more than this share (0..1) of the calls failed.",
)
def audit(
    paths: tuple[Path, ...],
    *,
    allow_unfinished: bool,
    as_json: bool,
    out: Path | None,
    html: Path | None,
    fail_over: float | None,
) -> None:
    """Count calls, errors, durations, answers and shortcuts in dataset folders, tars, .json and
    .jsonl files.

    Trajectories without a call are counted separately from failed calls. Exit 1 if a record cannot
    be read, or if there is none.

    Example: pearl-data audit scenes --out calls.parquet --fail-over 0.02
    """
    if out is not None and out.suffix != ".parquet":
        raise UsageError(f"--out: expected a name that ends in .parquet, got {str(out)!r}")
    if html is not None and html.suffix not in {".html", ".htm"}:
        raise UsageError(f"--html: expected a name that ends in .html, got {str(html)!r}")
    for option, file in (("--out", out), ("--html", html)):
        if file is not None:
            _check_parent(option, file)
    on_interrupt("interrupted; nothing was kept: the same command starts over")
    stage("audit", f"loading libraries to audit {listed([str(path) for path in paths])}")
    from pearl_data.audit import audit_paths, render_report

    with Progress("audit", None, "records") as progress:
        result = audit_paths(paths, allow_unfinished=allow_unfinished, progress=progress)
    for note in result.notes:
        say(f"note: {note}", err=True)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        result.calls.write(out)
    if html is not None:
        from pearl_data.report import write_index

        title = "Audit of " + ", ".join(path.name for path in paths)
        write_index(paths, html, title=title, audit=result, allow_unfinished=allow_unfinished)
    if as_json:
        print_json(result.report)
    else:
        say(render_report(result.report))
    failures = list(_failures(result.report, fail_over))
    for failure in failures:
        say(f"failed: {failure}", err=True)
    if failures:
        leave(1)


def _check_parent(option: str, file: Path) -> None:
    """Raises ``UsageError`` where ``file`` cannot lie: better now than after a long reading."""
    nearest = next(folder for folder in file.absolute().parents if folder.exists())
    if not nearest.is_dir():
        raise UsageError(f"{option} {file}: expected a folder at {nearest}, got a file")


def _failures(report: AuditReport, fail_over: float | None) -> Iterator[str]:
    """Why this audit ends with exit status 1."""
    records, rate = report.records, report.calls.error_share.rate
    if records.unreadable:
        yield (
            f"expected records that can all be read, got {records.unreadable} of {records.found} "
            "unreadable; the report says which and why"
        )
    lost = len(report.unreadable) - records.unreadable
    if lost:
        yield f"expected timings that can all be read, got {lost} unreadable"
    if not records.read:
        yield (
            "expected at least one trajectory, read none "
            f"({records.unreadable} unreadable, {records.quarantined} quarantined)"
        )
    if fail_over is not None and rate is not None and rate > fail_over:
        over = [
            f"{tool.tool} {tool.errors} of {tool.error_share.n}"
            for tool in report.by_tool
            if (tool.error_share.rate or 0) > fail_over
        ]
        yield (
            f"expected at most {100 * fail_over:g} % of calls with an error, "
            f"got {100 * rate:.1f} %; tools over it: {', '.join(over)}"
        )
