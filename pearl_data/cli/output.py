"""What commands of ``pearl-data`` share: ``--depth-model``, ``--device``, what a wrong or idle one
is, leaving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import click
from click.core import ParameterSource

from pearl_tools.devices import require_device
from pearl_tools.errors import UnknownModel, UsageError

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


def device_option(command: F) -> F:
    """Adds ``--device``: where the depth model runs; one that is not here is misuse (exit 2)."""
    return click.option(
        "--device",
        default="cpu",
        show_default=True,
        callback=_device,
        help="Where the depth model runs: cpu, cuda, cuda:1, mps, xpu; a .tflite file on the CPU.",
    )(command)


def _device(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        return require_device(value)
    except UsageError as error:
        raise UsageError(f"--device: {error}") from error


def refuse_idle_model(context: click.Context, why: str) -> None:
    """Raises ``UsageError`` where an option chose a depth model, or its device, that nothing asks;
    ``why`` says so.
    """
    for name in ("depth_model", "device"):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            option = f"--{name.replace('_', '-')}"
            got = f"{option} {context.params[name]}"
            raise UsageError(f"{option}: {why}; leave out {got}")


@contextmanager
def naming_a_model() -> Iterator[None]:
    """Inside, a name that no depth model has is misuse (exit 2), since an option gave it."""
    try:
        yield
    except UnknownModel as error:
        raise UsageError(f"--depth-model: {error}") from error


def leave(code: int) -> NoReturn:
    """End the command with an exit status (0 done, 1 findings or failure, 2 misuse)."""
    raise click.exceptions.Exit(code)
