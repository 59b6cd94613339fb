"""``pearl-data validate``: every fault of datasets, shards and records, with file, key and path."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from pearl_data.cli.output import leave, naming_a_model
from pearl_data.command_line import allow_unfinished_option, json_option
from pearl_data.progress import stage
from pearl_data.terminal import print_json, say
from pearl_data.terminated import on_interrupt
from pearl_tools.errors import listed


@click.command(epilog="Example: pearl-data validate scenes --replay")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--replay", is_flag=True, help="Run every call again and compare the pixels.")
@click.option(
    "--depth-model",
    metavar="MODEL",
    help="Present place of the depth model that made the records, if it has moved; its weights"
    " must be the same. With --replay.",
)
@allow_unfinished_option
@json_option
def validate(
    paths: tuple[Path, ...],
    *,
    replay: bool,
    depth_model: str | None,
    allow_unfinished: bool,
    as_json: bool,
) -> None:
    """Report every fault of PATHS: dataset folders, tar shards, .json or .jsonl records.

    Always checks hashes, boxes, references and the pixels of stored views. Exit 0: no findings;
    1: findings; 2: misuse.
    """
    on_interrupt("interrupted; nothing was kept: the same command starts over")
    stage("validate", f"loading libraries to check {listed([str(path) for path in paths])}")
    from pearl_data.validate import validate_paths
    from pearl_data.validate.report import report_lines
    from pearl_tools.errors import UsageError
    from pearl_tools.threads import one_thread

    if replay:
        one_thread(depth=True)
    elif depth_model:
        raise UsageError("--depth-model: expected --replay beside it; nothing else runs depth")
    with naming_a_model() if depth_model else nullcontext():
        report = validate_paths(
            paths,
            replay=replay,
            depth_model=depth_model,
            allow_unfinished=allow_unfinished,
            progress=True,
        )
    if as_json:
        print_json(report)
    else:
        for line in report_lines(report):
            say(line)
    leave(0 if report.clean else 1)
