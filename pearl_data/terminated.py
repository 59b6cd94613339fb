"""SIGTERM ends a command as Ctrl-C does: with a word, status 130, and nothing half done unsaid.

It is what batch systems and supervisors send. While a run trains both ask it to stop after the
update at hand (:mod:`pearl_train.training.interrupt`); this is for all the time around it, such as
loading a model, and for all that ``pearl-data`` does.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def like_ctrl_c() -> Iterator[None]:
    """Inside, SIGTERM raises ``KeyboardInterrupt`` in this process.

    Its children, such as a data loader's workers, end at once as they do without us. Outside the
    main thread, where Python forbids handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() == own:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
