"""What commands share: ``--json``, ``--depth-model``, printing results, leaving with findings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click
import msgspec

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """Adds ``--json``: the result as one JSON document on stdout."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print the result as JSON on stdout."
    )(command)


def depth_model_option(command: F) -> F:
    """Adds ``--depth-model``: which network the depth tool uses."""
    return click.option(
        "--depth-model",
        default="embedded",
        show_default=True,
        metavar="MODEL",
        help="`embedded`, the id or folder of a transformers depth model, or a .tflite file; "
        "MODEL#metric and the like overrule what its output is declared to be.",
    )(command)


def print_json(value: Any) -> None:
    """``value`` (records or JSON values) on stdout, indented, keys in their own order."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def leave(code: int) -> NoReturn:
    """End the command with an exit status (0 done, 1 findings or failure, 2 misuse)."""
    raise click.exceptions.Exit(code)
