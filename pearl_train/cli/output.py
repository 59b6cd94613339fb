"""What every command shares: the ``--json`` flag, printing results, which process may print."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """Adds ``--json``: the result as one JSON document on stdout."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print the result as JSON on stdout."
    )(command)


def print_json(value: Any) -> None:
    """``value`` (records or JSON values) on stdout, indented, keys in their own order."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def first_process() -> bool:
    """Whether this process is the one to print, under torchrun."""
    return os.environ.get("RANK", "0") == "0"
