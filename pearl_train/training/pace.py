"""How fast updates go, as ``timings.jsonl`` has it: never the same twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pearl_train.training.update import Update


class Pace:
    """How fast updates go, without validation and checkpoints."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._waited = self._outside = 0.0
        self.steps = self.samples = self.tokens = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, the loop waits for data."""
        began = time.monotonic()
        yield
        self._waited += time.monotonic() - began

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Inside is time that does not count."""
        began = time.monotonic()
        yield
        self._outside += time.monotonic() - began

    def add(self, done: Update) -> None:
        """Count one update."""
        self.steps += 1
        self.samples += done.samples
        self.tokens += done.tokens

    def rates(self) -> dict[str, float]:
        """Per second, and the share of the time spent waiting for data."""
        seconds = max(time.monotonic() - self._began - self._outside, 1e-9)
        return {
            "steps_per_s": self.steps / seconds,
            "samples_per_s": self.samples / seconds,
            "tokens_per_s": self.tokens / seconds,
            "waiting_for_data": self._waited / seconds,
        }
