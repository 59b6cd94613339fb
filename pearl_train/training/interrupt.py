"""Ctrl-C and SIGTERM ask a run to stop; a second one stops it at once.

The update at hand is given up, if nothing has changed yet, since all of it is done again in a
moment: so a run stops within a second or two, with a checkpoint of its last update. While targets
are made, it stops after the batch at hand.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pearl_train.run.undisturbed import SIGNALS


class GivenUp(KeyboardInterrupt):
    """The work at hand is given up, since somebody asked to stop; what was done before is whole."""


class Wish:
    """``stop``: if somebody asked to stop."""

    def __init__(self) -> None:
        self.stop = False
        self._gives_up = False

    @contextmanager
    def giving_up(self, *, allowed: bool = True) -> Iterator[None]:
        """Inside, a wish to stop raises :class:`GivenUp`, until :meth:`keep` is called. Not if it
        is not ``allowed``: of several processes none can leave the others in an exchange.
        """
        self._gives_up = allowed
        try:
            if allowed and self.stop:
                raise GivenUp
            yield
        finally:
            self._gives_up = False

    def keep(self) -> None:
        """What follows changes things, so it is finished; raises :class:`GivenUp` if somebody asked
        to stop just before.
        """
        if self._gives_up and self.stop:
            raise GivenUp
        self._gives_up = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        """The handler of a signal."""
        if self.stop:
            raise KeyboardInterrupt
        self.stop = True
        if self._gives_up:
            raise GivenUp


@contextmanager
def wish_to_stop() -> Iterator[Wish]:
    """A :class:`Wish` that the signals set while the block runs; one that came too late for the
    block to obey raises ``KeyboardInterrupt`` at its end.

    Outside the main thread, where Python forbids handlers, it stays unset.
    """
    wish = Wish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before = {number: signal.signal(number, wish.ask) for number in SIGNALS}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if wish.stop:
        raise KeyboardInterrupt
