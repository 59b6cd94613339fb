"""What a run leaves behind for people, also where it stops early: curves, and a card that says why.

A collapse, a loss that is no number or Ctrl-C is when people look first. A second Ctrl-C, which
waits for no checkpoint, leaves the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from pearl_data.terminal import say
from pearl_data.terminated import on_interrupt, taking_time
from pearl_tools.errors import PearlError
from pearl_train.errors import Diverged, RunInterrupted
from pearl_train.model.whole import is_whole
from pearl_train.report.card import write_card
from pearl_train.report.curves import draw_curves, import_matplotlib
from pearl_train.run.environment import Stop, last_stop, note_session, note_stop
from pearl_train.run.folder import RunFolder
from pearl_train.run.metrics import read_metrics
from pearl_train.run.names import folder_name
from pearl_train.run.undisturbed import undisturbed


class Session:
    """How far a session of the run in ``folder`` has come."""

    def __init__(self, folder: RunFolder, *, main: bool) -> None:
        self._folder, self._main = folder, main
        self.begun = self.trained = False
        self._counts: Callable[[], Mapping[str, int]] = dict

    def counts_with(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """``counts`` are the numbers of samples dropped or changed until then."""
        self._counts = counts

    def note_left_out(self) -> None:
        """Write that down."""
        self._folder.note_left_out(self._counts())

    def began(self, entry: dict[str, Any]) -> None:
        """It has a step to go on from; ``entry`` is added to ``environment.json``."""
        if self._main:
            note_session(self._folder.environment, entry)
            import_matplotlib()
        self.begun = True
        on_interrupt(str(_at_once(self._folder, self)))

    def has_trained(self) -> None:
        """Its last step is done and in a checkpoint."""
        self.trained = True
        on_interrupt(str(_at_once(self._folder, self)))


@contextmanager
def told_if_stopped(folder: RunFolder, *, main: bool) -> Iterator[Session]:
    """Inside, a session runs, which says how far it has come.

    If it then ends by an exception, its entry in ``environment.json`` says so, curves and card are
    written, and the exception goes on; ``KeyboardInterrupt`` as ``RunInterrupted``, which says what
    is done and how to go on. Only the ``main`` process writes.
    """
    session = Session(folder, main=main)
    try:
        yield session
    except KeyboardInterrupt as error:
        if not folder.config.is_file():
            raise
        stop = _at_once(folder, session)
        if session.begun and main and not _finished(folder):
            _tell(folder, stop, session)
        raise stop from error
    except Exception as error:  # whatever it was, of the run the same can be shown
        if session.begun and main:
            _tell(folder, error, session)
        raise


def _finished(folder: RunFolder) -> bool:
    """Whether nothing is missing: the card is written last, and of a run that stopped it says so
    in ``environment.json``.
    """
    there = all(path.is_file() for path in (folder.curves, folder.card))
    return is_whole(folder.model) and there and last_stop(folder.environment) is None


def _at_once(folder: RunFolder, session: Session) -> RunInterrupted:
    resume = f"pearl-train run --resume {folder.path}"
    if session.trained and _finished(folder):
        return RunInterrupted(
            f"interrupted when all was done: {folder.path} holds the trained model, curves and card"
        )
    if session.trained:
        return RunInterrupted(
            "interrupted after the last step: everything is trained and in a checkpoint. Write "
            f"what is missing of model, curves and card with: {resume}",
            during="after the last step, while the model was written",
        )
    if not session.begun:
        return RunInterrupted(
            f"interrupted before a step was done: nothing is lost. Resume with: {resume}"
        )
    return RunInterrupted(
        "interrupted at once: the steps since the last checkpoint must be repeated. Resume "
        f"with: {resume}",
        during="at once, without a checkpoint of its last steps",
    )


def show(folder: RunFolder) -> None:
    """Draw the curves and write the card from what the folder holds."""
    draw(folder)
    write_card(folder)


def draw(folder: RunFolder) -> None:
    """Draw the curves of what was logged, if anything was."""
    draw_curves(folder.metrics, folder.curves, title=folder_name(folder.path))


def _tell(folder: RunFolder, error: Exception, session: Session) -> None:
    """Note how the last session ended and show the run; of one that failed, if it has a step."""
    try:
        lines = read_metrics(folder.metrics)
        if lines or isinstance(error, RunInterrupted | Diverged):
            step = max((int(line["step"]) for line in lines), default=0)
            kind = _kind(error, trained=session.trained)
            with undisturbed(), taking_time():
                note_stop(folder.environment, Stop(step=step, why=why(error), kind=kind))
                session.note_left_out()
                write_card(folder)
            try:
                draw(folder)
                with undisturbed():
                    write_card(folder)  # with the curves
            except KeyboardInterrupt:
                say("interrupted again: the curves were not drawn", err=True)
    except (OSError, PearlError) as failure:  # a full disk may be what stopped the run
        say(f"curves and card cannot be written: {failure}", err=True)


def _kind(error: Exception, *, trained: bool) -> Literal["diverged", "trained", "other"]:
    if isinstance(error, Diverged):
        return "diverged"
    return "trained" if trained and isinstance(error, RunInterrupted) else "other"


def why(error: Exception) -> str:
    """The reason as a sentence for somebody who reads the card much later."""
    if isinstance(error, RunInterrupted):
        during = f", {error.during}" if error.during else ""
        return f"Somebody interrupted it (Ctrl-C or SIGTERM){during}."
    text = str(error) if isinstance(error, PearlError) else f"{type(error).__name__}: {error}"
    text = error.what if isinstance(error, Diverged) else text
    return f"The reason: {text.rstrip('.')}."
