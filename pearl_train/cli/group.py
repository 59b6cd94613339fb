"""The group of the commands of ``pearl-train``."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import click

from pearl_data.command_line import Commands
from pearl_tools.errors import UsageError
from pearl_train.errors import RunInterrupted

#: What the extra ``train`` installs.
_EXTRA = ("accelerate", "peft", "tensorboard")


class _Together(Commands):
    """Destroys the process group after success or an interrupt, when all processes end alike."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
        except click.NoSuchOption as error:
            _hint_at_set(error)
            raise
        except RunInterrupted:
            _leave_others()
            raise
        _leave_others()
        return result


def _hint_at_set(error: click.NoSuchOption) -> None:
    """Raise a ``UsageError`` that suggests a choice for an unknown option, if the command has
    --set and no option of a similar name.
    """
    from pearl_train.settings.faults import nearest

    given, ctx = error.option_name, error.ctx
    options = {name for param in (ctx.command.params if ctx else ()) for name in param.opts}
    if "--set" not in options or any(name.startswith(given[:5]) for name in options):
        return
    hint = nearest(tuple(given.lstrip("-").replace("-", "_").split(".")))
    if hint.startswith("did you mean"):
        told = f"No such option {given!r}. Give choices as --set KEY=VALUE: {hint}"
        raise click.UsageError(told, ctx) from error


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
    _require_extra()


def _require_extra() -> None:
    """Raise ``UsageError`` unless the packages of the extra ``train`` are installed."""
    absent = [name for name in _EXTRA if find_spec(name) is None]
    if absent:
        raise UsageError(
            f"pearl-train: expected the packages of its extra, got no {', '.join(absent)}; "
            "install them with: pip install 'pearl-toolkit[train]'"
        )
