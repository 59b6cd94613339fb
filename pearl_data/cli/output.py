"""What commands of ``pearl-data`` share: ``--depth-model``, leaving with findings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


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


def leave(code: int) -> NoReturn:
    """End the command with an exit status (0 done, 1 findings or failure, 2 misuse)."""
    raise click.exceptions.Exit(code)
