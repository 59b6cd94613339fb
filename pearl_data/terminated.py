"""Ctrl-C and SIGTERM end a command within two seconds, with a message, status 130, no traceback.

A signal raises ``KeyboardInterrupt``, so that a command can clean up. If this takes longer than
:data:`GRACE_S` (a long computation in C, a library that swallows the exception), a thread ends the
process like ``kill -9``: no written data depends on an orderly exit. During an import, which cannot
be unwound safely, the process ends at once. Processes that a command starts end with it. In the
first 30 ms, before ``main`` runs, Python itself handles Ctrl-C.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

from pearl_data.terminal import harmless

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
GRACE_S: Final = 1.75
"""Longest time from the first signal to the end of the process, unless an extension was asked."""
AGAIN_S: Final = 0.3
"""Longest time from the second signal to the end of the process, without exception."""
STATUS: Final = 130

_PR_SET_PDEATHSIG: Final = 1
_PARENT_WATCH_S: Final = 0.5


class _Leave:
    """The message of an interrupted command, and True if it may take longer to end."""

    words = "interrupted"
    takes_time = False


def on_interrupt(words: str) -> None:
    """Set the message for an interrupt to ``words``: the data kept, and how to resume."""
    _Leave.words = words


def words_on_interrupt() -> str:
    """The words of :func:`on_interrupt`."""
    return _Leave.words


def is_program(main: Callable[[], None]) -> bool:
    """True if this process runs the program ``main``, as a script or by ``python -m``."""
    return getattr(sys.modules["__main__"], "main", None) is main


@contextmanager
def taking_time() -> Iterator[None]:
    """Delay the end of the process after a first signal until an important write is complete. A
    second signal still ends it.
    """
    before, _Leave.takes_time = _Leave.takes_time, True
    try:
        yield
    finally:
        _Leave.takes_time = before


@contextmanager
def like_ctrl_c(*, program: bool = False) -> Iterator[None]:
    """Make SIGINT and SIGTERM raise ``KeyboardInterrupt`` in this process.

    With ``program`` the process runs only this command, and always ends in time.
    SIGTERM ends forked children at once. Outside the main thread, where Python forbids handlers,
    nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own, inside = os.getpid(), False

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != own:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if program and (not inside or _imports(frame)):
            leave()
        raise KeyboardInterrupt

    # a background job of a shell ignores Ctrl-C; keep that
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    if program:
        _Deadline().start()
    inside = True
    try:
        yield
    except KeyboardInterrupt:
        if program:
            leave()
        raise
    finally:
        inside = False
        # signals still arrive while Python shuts down
        for number, handler in before.items() if not program else ():
            signal.signal(number, handler)


def leave(words: str | None = None) -> NoReturn:
    """End this process with :data:`STATUS` after printing ``words`` or the message set before."""
    text = _Leave.words if words is None else words
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, RuntimeError):  # closed, or held by the thread that hangs
            continue
    if text:
        os.write(2, f"{harmless(text)}\n".encode())
    os._exit(STATUS)


class _Deadline:
    """End the process if it has not ended :data:`GRACE_S` after a signal."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def start(self) -> None:
        """Watch from now on, until the process ends."""
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()
        # Python's C handler writes to it, even while the main thread is inside a long call
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """Reset the signal state in a forked child."""
        try:
            signal.set_wakeup_fd(-1)
        except ValueError:  # forked outside the main thread
            return

    def _watch(self) -> None:
        signals, ends_s = 0, float("inf")
        while True:
            left = None if ends_s == float("inf") else max(0.0, ends_s - time.monotonic())
            if not select.select([self._read], [], [], left)[0]:
                if not _Leave.takes_time or signals > 1:
                    leave()
                ends_s = time.monotonic() + AGAIN_S
                continue
            for _ in range(sum(number in SIGNALS for number in os.read(self._read, 64))):
                signals += 1
                ends_s = min(ends_s, time.monotonic() + (GRACE_S if signals == 1 else AGAIN_S))


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def end_with_parent(parent: int | None = None) -> None:
    """End this process when its parent ends, for any reason.

    ``parent`` is its process id, in case it has already ended. On Linux the kernel does this,
    elsewhere a thread does within half a second.
    """
    parent = os.getppid() if parent is None else parent
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def leave_signals_to_parent() -> None:
    """Ignore SIGINT and SIGTERM in this process; the parent handles them and ends it.

    For a child that ends with its parent (:func:`end_with_parent`).
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
