"""A progress line on stderr: count, rate and time left, at most twice a second.

On a terminal the line is rewritten in place; in a log one line is printed every ten seconds. Before
there is anything to count, :func:`stage` names the current stage.
"""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Self

from pearl_data.terminal import one_line


def stage(label: str, text: str) -> None:
    """Print the line ``label: text`` on stderr; of several processes only the first prints."""
    if os.environ.get("RANK", "0") == "0":
        sys.stderr.write(one_line(f"{label}: {text}") + "\n")
        sys.stderr.flush()


class Progress:
    """Counts ``unit`` towards ``total`` (None where unknown) and says so on stderr."""

    def __init__(self, label: str, total: int | None, unit: str, *, done: int = 0) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = done
        self._start_done = done
        self._start_s = time.monotonic()
        self._shown_s = 0.0
        self._under_way = 0
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._show(final=True)

    def advance(self, count: int = 1) -> None:
        """Count ``count`` more units as done."""
        self.done += count
        pause_s = 0.5 if self._terminal else 10.0
        if time.monotonic() - self._shown_s >= pause_s:
            self._show()

    def under_way(self, count: int) -> None:
        """Show that ``count`` more units are in progress."""
        self._under_way = count
        self.advance(0)

    def line(self) -> str:
        """The line as shown: ``synth 120/400 samples, 35.1/s, 8 s left``."""
        spent_s = max(time.monotonic() - self._start_s, 1e-9)
        rate = (self.done - self._start_done) / spent_s
        total = "" if self.total is None else f"/{self.total}"
        if self.total is not None and self._start_done >= self.total:
            return f"{self.label} {self.done}{total} {self.unit}, done before"
        text = f"{self.label} {self.done}{total} {self.unit}, {rate:.1f}/s"
        if self._under_way:
            text += f", {self._under_way} more in progress"
        if self.total is not None and rate > 0 and self.done < self.total:
            text += f", {duration((self.total - self.done) / rate)} left"
        return text

    def _show(self, *, final: bool = False) -> None:
        self._shown_s = time.monotonic()
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{one_line(self.line())}" + ("\n" if final else ""))
        else:
            sys.stderr.write(one_line(self.line()) + "\n")
        sys.stderr.flush()


def duration(seconds: float) -> str:
    """``seconds`` as people say it: ``8 s``, ``3 min 5 s``, ``2 h 4 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
