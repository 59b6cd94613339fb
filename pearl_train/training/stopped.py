"""What a run leaves behind for people, also where it stops early: curves, and a card that says why.

A collapse, a loss that is no number or Ctrl-C is when people look first. A second Ctrl-C, which
waits for no checkpoint, leaves the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pearl_tools.errors import PearlError
from pearl_train.errors import RunInterrupted
from pearl_train.report.card import write_card
from pearl_train.run.environment import Stop, note_session, note_stop
from pearl_train.run.folder import RunFolder
from pearl_train.run.metrics import read_metrics
from pearl_train.run.names import folder_name
from pearl_train.run.undisturbed import undisturbed


@contextmanager
def told_if_stopped(folder: RunFolder, *, main: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Inside, a session runs; what is given to the function is its entry in ``environment.json``.

    If it then ends by an exception, the entry says so, curves and card are written, and the
    exception goes on; ``KeyboardInterrupt`` as ``RunInterrupted``, which says how to resume. Only
    the ``main`` process writes.
    """
    begun = False

    def began(session: dict[str, Any]) -> None:
        nonlocal begun
        if main:
            note_session(folder.environment, session)
            begun = True

    try:
        yield began
    except KeyboardInterrupt as error:
        if not folder.config.is_file():
            raise
        stop = _at_once(folder)
        if begun:
            _tell(folder, stop)
        raise stop from error
    except Exception as error:  # whatever it was, of the run the same can be shown
        if begun:
            _tell(folder, error)
        raise


def _at_once(folder: RunFolder) -> RunInterrupted:
    return RunInterrupted(
        "interrupted at once: what was done since the last checkpoint is to be done again. Go on "
        f"with: pearl-train run --resume {folder.path}",
        during="at once, without a checkpoint of its last steps",
    )


def show(folder: RunFolder) -> None:
    """Draw the curves and write the card from what the folder holds."""
    draw(folder)
    write_card(folder)


def draw(folder: RunFolder) -> None:
    """Draw the curves of what was logged, if anything was."""
    from pearl_train.report.curves import draw_curves  # takes as long as drawing

    draw_curves(folder.metrics, folder.curves, title=folder_name(folder.path))


def _tell(folder: RunFolder, error: Exception) -> None:
    """Note how the last session ended and show the run; of one that failed, if it has a step."""
    try:
        lines = read_metrics(folder.metrics)
        if lines or isinstance(error, RunInterrupted):
            step = max((int(line["step"]) for line in lines), default=0)
            note_stop(folder.environment, Stop(step=step, why=why(error)))
            try:
                draw(folder)
            except KeyboardInterrupt:
                sys.stderr.write("interrupted again: the curves are not drawn\n")
            with undisturbed():
                write_card(folder)
    except (OSError, PearlError) as failure:  # a full disk may be what stopped the run
        sys.stderr.write(f"curves and card cannot be written: {failure}\n")


def why(error: Exception) -> str:
    """The reason as a sentence for somebody who reads the card much later."""
    if isinstance(error, RunInterrupted):
        during = f", {error.during}" if error.during else ""
        return f"Somebody interrupted it (Ctrl-C or SIGTERM){during}."
    text = str(error) if isinstance(error, PearlError) else f"{type(error).__name__}: {error}"
    return f"The reason: {text.rstrip('.')}."
