"""What both programs share: ``--json``, printing results, exceptions as messages and statuses."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import click
import msgspec

from pearl_data.terminated import like_ctrl_c
from pearl_tools.errors import Interrupted, PearlError, UsageError

F = TypeVar("F", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A range of numbers without nan and infinity, which click lets through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; a message of click's where it is none."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"expected a finite number, got {value}", param, ctx)
        return number


def json_option(command: F) -> F:
    """Adds ``--json``: the result as one JSON document on stdout."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print the result as JSON on stdout."
    )(command)


def print_json(value: Any) -> None:
    """``value`` (records or JSON values) on stdout, indented, keys in their own order."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def run_program(cli: click.Command, *, interrupted: str) -> NoReturn:
    """Run the command line and leave with its status; a :class:`PearlError` is one clear line,
    never a traceback. ``interrupted`` is said where somebody stops it, by Ctrl-C or SIGTERM, and it
    has no better words.
    """
    try:
        _require_utf8(sys.argv[1:])
        # without standalone mode click returns the status of ctx.exit(), else None
        with like_ctrl_c():
            status = cli(standalone_mode=False)
        sys.exit(status)
    except click.Abort:
        click.echo(interrupted, err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OSError as error:
        # reading and writing where people point us; anything else that is broken keeps its trace
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {where}{error.strerror or error}", err=True)
        sys.exit(1)
    except Interrupted as error:
        click.echo(str(error), err=True)
        sys.exit(130)
    except PearlError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)


def _require_utf8(arguments: Sequence[str]) -> None:
    """Refuse a name whose bytes are no UTF-8: records, JSON and pages could not say it."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            told = os.fsencode(argument).decode("utf-8", "backslashreplace")
            msg = f"{told}: expected a name in UTF-8, got other bytes; rename the file or folder"
            raise UsageError(msg) from None
