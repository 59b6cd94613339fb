"""What a run leaves behind for people, also where it stops early: curves, and a card that says why.

A collapse, a loss that is no number or Ctrl-C is when people look first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pearl_tools.errors import PearlError
from pearl_train.errors import RunInterrupted
from pearl_train.run.environment import Stop, note_session, note_stop
from pearl_train.run.folder import RunFolder
from pearl_train.run.metrics import read_metrics
from pearl_train.run.names import folder_name


@contextmanager
def told_if_stopped(folder: RunFolder, *, main: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Inside, a session runs; what is given to the function is its entry in ``environment.json``.

    If it then ends by an exception, the entry says so, curves and card are written, and the
    exception goes on. Only the ``main`` process writes.
    """
    begun = False

    def began(session: dict[str, Any]) -> None:
        nonlocal begun
        if main:
            note_session(folder.environment, session)
            begun = True

    try:
        yield began
    except Exception as error:  # whatever it was, of the run the same can be shown
        if begun:
            _tell(folder, error)
        raise


def show(folder: RunFolder) -> None:
    """Draw the curves and write the card from what the folder holds."""
    from pearl_train.report.card import write_card
    from pearl_train.report.curves import draw_curves

    draw_curves(folder.metrics, folder.curves, title=folder_name(folder.path))
    write_card(folder)


def _tell(folder: RunFolder, error: Exception) -> None:
    """Note how the last session ended and show the run, if a step of it was logged at all."""
    try:
        lines = read_metrics(folder.metrics)
        if lines:
            step = max(int(line["step"]) for line in lines)
            note_stop(folder.environment, Stop(step=step, why=why(error)))
            show(folder)
    except (OSError, PearlError) as failure:  # a full disk may be what stopped the run
        sys.stderr.write(f"curves and card cannot be written: {failure}\n")


def why(error: Exception) -> str:
    """The reason as a sentence for somebody who reads the card much later."""
    if isinstance(error, RunInterrupted):
        return "Somebody interrupted it (Ctrl-C or SIGTERM)."
    text = str(error) if isinstance(error, PearlError) else f"{type(error).__name__}: {error}"
    return f"The reason: {text.rstrip('.')}."
