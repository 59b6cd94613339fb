"""Ctrl-C and SIGTERM ask a run to stop after the update at hand; a second one stops at once.

While targets are made, after the batch at hand.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pearl_train.run.undisturbed import SIGNALS


class Wish:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self.stop = False


@contextmanager
def wish_to_stop() -> Iterator[Wish]:
    """A :class:`Wish` that the signals set while the block runs.

    Outside the main thread, where Python forbids handlers, it stays unset.
    """
    wish = Wish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if wish.stop:
            raise KeyboardInterrupt
        wish.stop = True

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
