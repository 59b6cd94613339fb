"""The group of the commands of ``pearl-data``."""

from __future__ import annotations

import click

from pearl_data.command_line import Commands


@click.group(
    cls=Commands,
    package="pearl_data.cli",
    names=("synth", "validate", "audit", "show", "tools"),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="pearl-toolkit", prog_name="pearl-data")
def cli() -> None:
    """Synthesise, validate, replay, audit and show expert tool trajectories.

    Results go to stdout, progress to stderr. Exit 0: done; 1: findings or failure; 2: misuse; 130:
    interrupted by Ctrl-C or SIGTERM.

    Example: pearl-data synth --tools crop,depth --out scenes
    """
