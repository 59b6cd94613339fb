"""Ctrl-C and SIGTERM ask a run to stop; a second one stops it at once.

The current update is aborted if no weight has changed yet; a resumed run repeats it. So a run stops
within a second or two, with a checkpoint of its last update. While targets are computed, it stops
after the current batch.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pearl_train.run.undisturbed import SIGNALS


class UpdateAborted(KeyboardInterrupt):
    """The current update was aborted by a stop request; earlier results are complete."""


class StopRequest:
    """``stop`` is True after a request to stop."""

    def __init__(self) -> None:
        self.stop = False
        self._aborts = False

    @contextmanager
    def abortable(self, *, allowed: bool = True) -> Iterator[None]:
        """Let a request to stop raise :class:`UpdateAborted` until :meth:`keep` is called.

        ``allowed`` must be False with several processes: none may leave a collective operation.
        """
        self._aborts = allowed
        try:
            if allowed and self.stop:
                raise UpdateAborted
            yield
        finally:
            self._aborts = False

    def keep(self) -> None:
        """End the abortable part: weights change now. Raises :class:`UpdateAborted` if a request
        came just before.
        """
        if self._aborts and self.stop:
            raise UpdateAborted
        self._aborts = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.stop:
            raise KeyboardInterrupt
        self.stop = True
        if self._aborts:
            raise UpdateAborted


@contextmanager
def catch_stop_request() -> Iterator[StopRequest]:
    """A :class:`StopRequest` that signals set while the block runs. If the block has not handled
    it, ``KeyboardInterrupt`` is raised at the end.

    Outside the main thread, where Python forbids handlers, it stays unset.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.ask) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if request.stop:
        raise KeyboardInterrupt
