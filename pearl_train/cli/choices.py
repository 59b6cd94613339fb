"""The options by which commands choose a configuration, defined once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pearl_data.terminal import say
from pearl_tools.errors import UsageError
from pearl_train.settings.config import OBJECTIVES, Config

F = TypeVar("F", bound=Callable[..., Any])


def data_option(words: str, *, name: str = "--data", required: bool = True) -> Callable[[F], F]:
    """Adds ``--data``, or another option that names a data set, with ``words`` for its help.

    What is there is looked at by :mod:`pearl_train.run.data`, so that every command says the same
    of a place that holds no data set: click would only know whether it exists.
    """
    return click.option(name, type=click.Path(path_type=Path), required=required, help=words)


def model_option(command: F) -> F:
    """Adds ``--model``."""
    return click.option(
        "--model", metavar="nano|ID|FOLDER", help="nano (embedded), a hub id or a folder."
    )(command)


def objective_option(command: F) -> F:
    """Adds ``--objective``."""
    return click.option(
        "--objective", type=click.Choice(OBJECTIVES), help="The training objective."
    )(command)


def sets_option(example: str) -> Callable[[F], F]:
    """Adds ``--set``, explained by ``example``."""
    return click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="KEY=VALUE",
        help=f"Change one choice, such as {example}. Repeatable.",
    )


def checkpoint_option(command: F) -> F:
    """Adds ``--checkpoint``."""
    return click.option(
        "--checkpoint",
        default="last",
        show_default=True,
        metavar="last|best|STEP",
        help="Weights of a run: those of its end, of the checkpoint with the lowest "
        "validation loss, or after STEP steps. A checkpoint is converted to a model on each use: "
        "export it if you use it often.",
    )(command)


#: How a model is asked is all that can be chosen of a finished one.
asking_sets_option = sets_option("evaluate.max_new_tokens=32")


def config_options(command: F) -> F:
    """Adds ``--config`` and ``--set``."""
    command = sets_option("optim.lr=1e-4")(command)
    return click.option(
        "--config",
        "configs",
        multiple=True,
        metavar="FILE",
        help="A TOML file or a preset; later ones override. [default: nano with --model nano]",
    )(command)


def chosen_config(configs: tuple[str, ...], sets: tuple[str, ...], flags: dict[str, Any]) -> Config:
    """The configuration of a command line; notes on stderr name defaults that matter.

    Raises ``UsageError`` with all faults.
    """
    from pearl_train.settings.load import judge, presets, told

    config, faults, _, rate = judge(configs, sets, flags)
    if faults:
        raise UsageError(told(faults))
    if rate and config.model.id != "nano":
        say(f"note: optim.lr {config.optim.lr:g}, the default for {rate}", err=True)
    if not configs and config.model.id != "nano":
        say(
            "note: no --config, so all that no option gives is a default of the trainer; presets: "
            f"{', '.join(presets())}",
            err=True,
        )
    return config
