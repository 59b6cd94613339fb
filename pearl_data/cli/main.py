"""``pearl-data``: the group, and the one place where exceptions become messages and exit codes."""

from __future__ import annotations

import sys

import click

from pearl_data.cli.audit import audit
from pearl_data.cli.show import show
from pearl_data.cli.synth import synth
from pearl_data.cli.tools import tools
from pearl_data.cli.validate import validate
from pearl_tools.errors import PearlError, UsageError


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
    """Run the command line; a :class:`PearlError` is one clear line, never a traceback."""
    try:
        # without standalone mode click returns the status of ctx.exit(), else None
        sys.exit(cli(standalone_mode=False))
    except click.Abort:
        click.echo("interrupted; run the same command again to go on", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OSError as error:
        # reading and writing where people point us; anything else that is broken keeps its trace
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {where}{error.strerror or error}", err=True)
        sys.exit(1)
    except PearlError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)


if __name__ == "__main__":
    main()
