"""``pearl-train``: the group of its commands."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import click

from pearl_data.command_line import run_program
from pearl_train.errors import RunInterrupted

#: Commands in the order in which people need them; each is a module of this package.
COMMANDS = ("doctor", "run", "predict", "eval", "compare", "export")


class _Commands(click.Group):
    """Loads a command's module when it is asked for: help stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if find_spec(_module(name))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        members = vars(import_module(_module(cmd_name))).values()
        return next(m for m in members if isinstance(m, click.Command) and m.name == cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Of several processes each takes leave of the others where all end alike: when the command
        is done, or interrupted.
        """
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


def _module(command: str) -> str:
    return f"pearl_train.cli.{command}"


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pearl-toolkit", prog_name="pearl-train")
def cli() -> None:
    """Train vision-language models to predict what tools would show.

    Results go to stdout, progress to stderr. Exit 0: done; 1: findings or failure, such as damaged
    data; 2: misuse, such as an argument that names no data set or no model; 130: interrupted by
    Ctrl-C or SIGTERM.

    Example: pearl-train run --data scenes --out run
    """


def main() -> None:
    """Run the command line."""
    # read before tokenizers is imported: it warns about every fork of a data loader otherwise
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    run_program(cli, interrupted="interrupted")


if __name__ == "__main__":
    main()
