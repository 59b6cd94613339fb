"""``pearl-data audit``: what a set of trajectories contains, and whether it can be gamed."""

from __future__ import annotations

from pathlib import Path

import click

from pearl_data.audit import audit_paths, render_report
from pearl_data.cli.output import json_option, leave, print_json
from pearl_data.progress import Progress
from pearl_tools.errors import UsageError


@click.command()
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH...",
)
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
    type=click.FloatRange(0, 1),
    metavar="RATE",
    help="Exit 1 if more than this share (0..1) of the calls returned an error.",
)
def audit(
    paths: tuple[Path, ...],
    as_json: bool,
    out: Path | None,
    html: Path | None,
    fail_over: float | None,
) -> None:
    """Count calls, errors, durations, answers and shortcuts in dataset folders, tars, .json and
    .jsonl files.

    Trajectories without any call are counted apart from calls with errors.

    Example: pearl-data audit scenes --out calls.parquet --fail-over 0.02
    """
    if out is not None and out.suffix != ".parquet":
        raise UsageError(f"--out: expected a name that ends in .parquet, got {str(out)!r}")
    if html is not None and html.suffix not in {".html", ".htm"}:
        raise UsageError(f"--html: expected a name that ends in .html, got {str(html)!r}")
    with Progress("audit", None, "records") as progress:
        result = audit_paths(paths, progress=progress)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        result.calls.write_parquet(out)
    if html is not None:
        from pearl_data.report import write_index

        title = "Audit of " + ", ".join(path.name for path in paths)
        write_index(paths, html, title=title, audit=result)
    if as_json:
        print_json(result.report)
    else:
        click.echo(render_report(result.report))
    rate = result.report.calls.error_share.rate
    if fail_over is not None and rate is not None and rate > fail_over:
        over = [
            f"{tool.tool} {tool.errors} of {tool.error_share.n}"
            for tool in result.report.by_tool
            if (tool.error_share.rate or 0) > fail_over
        ]
        click.echo(
            f"failed: expected at most {100 * fail_over:g} % of calls with an error, "
            f"got {100 * rate:.1f} %; tools over it: {', '.join(over)}",
            err=True,
        )
        leave(1)
