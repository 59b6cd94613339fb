"""The group of the commands of ``pearl-train``."""

from __future__ import annotations

import os
from typing import Any

import click

from pearl_data.command_line import Commands
from pearl_train.errors import RunInterrupted


class _Together(Commands):
    """Of several processes each takes leave of the others if all end alike: when the command is
    done, or interrupted.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
        except RunInterrupted:
            _leave_others()
            raise
        _leave_others()
        return result


def _leave_others() -> None:
    if "RANK" in os.environ:
        from pearl_train.training.processes import leave

        leave()


@click.group(
    cls=_Together,
    package="pearl_train.cli",
    names=("doctor", "run", "predict", "eval", "compare", "export"),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="pearl-toolkit", prog_name="pearl-train")
def cli() -> None:
    """Train vision-language models to predict what tools would show.

    Results go to stdout, progress to stderr. Exit 0: done; 1: findings or failure, such as damaged
    data; 2: misuse, such as an argument that names no data set or no model; 130: interrupted by
    Ctrl-C or SIGTERM.

    Example: pearl-train run --data scenes --out run
    """
