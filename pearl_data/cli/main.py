"""``pearl-data``: the group of its commands."""

from __future__ import annotations

import click

from pearl_data.cli.audit import audit
from pearl_data.cli.show import show
from pearl_data.cli.synth import synth
from pearl_data.cli.tools import tools
from pearl_data.cli.validate import validate
from pearl_data.command_line import run_program


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pearl-toolkit", prog_name="pearl-data")
def cli() -> None:
    """Expert tool trajectories: synthesise, validate, replay, audit, look at them.

    Results go to stdout, progress to stderr. Exit 0: done; 1: findings or failure; 2: misuse.

    Example: pearl-data synth --tools crop,depth --out scenes
    """


for command in (synth, validate, audit, show, tools):
    cli.add_command(command)


def main() -> None:
    """Run the command line."""
    run_program(cli, interrupted="interrupted")


if __name__ == "__main__":
    main()
