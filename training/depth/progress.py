"""One line of progress on stderr: what, how far, how fast, how long still."""

import sys
import time


class Progress:
    """Prints at most every few seconds.

    Args:
        name: what is going on.
        total: number of units in all.
        unit: what is counted.
        every_s: shortest time between two lines, seconds.

    """

    def __init__(self, name: str, total: int, unit: str, *, every_s: float = 10.0) -> None:
        self._name, self._total, self._unit, self._every_s = name, total, unit, every_s
        self._started = self._printed = time.monotonic()
        self._first: int | None = None

    def at(self, done: int, note: str = "") -> None:
        """Report that `done` units are done; units done before the first report do not count for
        the rate.
        """
        now = time.monotonic()
        if self._first is None:
            self._first, self._started = done, now
        if now - self._printed < self._every_s and done < self._total:
            return
        self._printed = now
        rate = (done - self._first) / max(now - self._started, 1e-9)
        left = (self._total - done) / rate if rate > 0 else float("inf")
        eta = f"{left / 60:.1f} min left" if left < float("inf") else "rate not known yet"
        line = f"{self._name}: {done}/{self._total} {self._unit}, {rate:.1f}/s, {eta} {note}"
        print(line.rstrip(), file=sys.stderr, flush=True)
