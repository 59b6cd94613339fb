"""Advice for an unfinished run: resume it, or start a new one if it would fail again.

A run that is resumed makes the same choices, so what they led to comes again. ``--resume`` takes no
others; a new run takes them from the file of the old one, with what is to be changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pearl_train.run.environment import Stop, last_stop
from pearl_train.run.names import folder_name

if TYPE_CHECKING:
    from pearl_train.run.folder import RunFolder
    from pearl_train.settings.config import Config


def going_on(stop: Stop | None, run: str, config: Config, data: str, *, quote: str = "") -> str:
    """What to do, as a sentence without its full stop.

    ``stop`` is how the last session ended, if that is known; ``run`` and ``data`` are how a command
    names the folder and the data set, ``quote`` stands around commands.
    """
    kind = stop.get("kind") if stop else None
    if stop and kind == "diverged":
        return diverged(stop["step"], run, config, data, quote=quote)
    resume = f"{quote}pearl-train run --resume {run}{quote}"
    if kind == "trained":
        return f"{resume} writes what is missing; no step is left to train"
    text = f"{resume} resumes it with the same choices, from the last checkpoint if there is one"
    if stop and config.log.on_collapse == "stop" and "collapsed" in stop["why"]:
        text += ". A collapse stops it there again: begin a new run with a remedy named above"
    return text


def diverged(done: int, run: str, config: Config, data: str, *, quote: str = "") -> str:
    """What to do after ``done`` updates, where the next one is no number."""
    same = "Resuming makes the same choices and comes to the same point"
    if not done:
        model = folder_name(config.model.id) if quote else config.model.id
        look = f"{quote}pearl-train doctor --data {data} --model {model}{quote}"
        return f"{same}, and no update came before it: look at model and data with {look}"
    optim = config.optim
    clip = "" if optim.clip is not None and optim.clip <= 1 else " --set optim.clip=1"
    command = (
        f"{quote}pearl-train run --data {data} --config {Path(run) / 'config.toml'} "
        f"--set optim.lr={optim.lr / 10:g}{clip} --out OTHER{quote}"
    )
    lower = "a lower optim.lr and gradients clipped" if clip else "a lower optim.lr or optim.clip"
    return f"{same}: train anew with {lower}: {command}"


def how_to_go_on(folder: RunFolder, config: Config) -> str:
    """The same for the run in ``folder``, as a message names it."""
    return going_on(last_stop(folder.environment), str(folder.path), config, _data(folder))


def after_divergence(folder: RunFolder, config: Config, done: int) -> str:
    """What to do with the run in ``folder`` whose update after ``done`` others is no number."""
    return diverged(done, str(folder.path), config, _data(folder))


def after_full_disk(folder: RunFolder, *, trained: bool = False) -> str:
    """Advice for the run in ``folder`` after a failed write; ``trained`` if no step remains."""
    if trained:
        return (
            "all steps are done and in a checkpoint: make room, then pearl-train run --resume "
            f"{folder.path} writes the missing files"
        )
    return (
        "earlier checkpoints are intact: make room, then pearl-train run --resume "
        f"{folder.path} continues from the last, or from the start, with the same result"
    )


def _data(folder: RunFolder) -> str:
    return folder.read_data().path if folder.data.is_file() else "DIR"
