"""Ctrl-C and SIGTERM end a command within two seconds: with a word, status 130, no traceback.

A signal raises ``KeyboardInterrupt``, so that a command can put its work in order. A command that
takes longer than :data:`GRACE_S` to do so (a long computation in C, a library that swallows the
exception) is ended by a thread, as ``kill -9`` would end it: nothing that is written depends on an
orderly end. An import cannot be unwound safely and ends at once. Processes that a command starts
end with it. Before ``main`` runs, for some 30 ms, Python itself starts and answers Ctrl-C as ever.
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
"""From the first signal to the end of the process at the latest, unless it takes its time."""
AGAIN_S: Final = 0.3
"""The same from the second signal, whatever the process does."""
STATUS: Final = 130

_PR_SET_PDEATHSIG: Final = 1
_PARENT_WATCH_S: Final = 0.5


class _Leave:
    """What an interrupted command says, and if it may take its time to end."""

    words = "interrupted"
    takes_time = False


def on_interrupt(words: str) -> None:
    """From now on an interrupted command says ``words``: what is kept, and how to resume."""
    _Leave.words = words


def words_on_interrupt() -> str:
    """The words of :func:`on_interrupt`."""
    return _Leave.words


def is_program(main: Callable[[], None]) -> bool:
    """If this process runs the program ``main``: as its script, or by ``python -m``."""
    return getattr(sys.modules["__main__"], "main", None) is main


@contextmanager
def taking_time() -> Iterator[None]:
    """Inside, one signal does not end the process: a write that is dear to lose ends first. A
    second signal does.
    """
    before, _Leave.takes_time = _Leave.takes_time, True
    try:
        yield
    finally:
        _Leave.takes_time = before


@contextmanager
def like_ctrl_c(*, program: bool = False) -> Iterator[None]:
    """Inside, SIGINT and SIGTERM raise ``KeyboardInterrupt`` in this process.

    With ``program`` this process is a command and nothing else: it ends in time, whatever it does.
    Children by fork end at once by SIGTERM. Outside the main thread, where Python forbids handlers,
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

    # a background job of a shell ignores Ctrl-C, and so do we
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
        # a program still hears signals while Python comes to its end
        for number, handler in before.items() if not program else ():
            signal.signal(number, handler)


def leave(words: str | None = None) -> NoReturn:
    """Ends this process with :data:`STATUS`, after ``words`` or those of :func:`on_interrupt`."""
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
    """Ends the process when it has not ended :data:`GRACE_S` after a signal."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def start(self) -> None:
        """Watch from now on, until the process ends."""
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()
        # written by the handler in C, so also while the main thread is inside a long call
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """A forked child's signals are not its parent's."""
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
    """From now on this process ends when its parent does, however that ends.

    ``parent`` is its process id, if it may have ended already. On Linux the kernel sees to it,
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
    """From now on SIGINT and SIGTERM do nothing here: the parent hears them and ends this process.

    For a child that ends with its parent (:func:`end_with_parent`).
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
