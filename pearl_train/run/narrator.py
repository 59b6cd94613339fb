"""What a run says on stderr while it trains: a live line, the collapse panel, and notes.

Calm: the line is rewritten in place, or printed every ten seconds where there is no terminal; the
panel is said at the first and the last step, and between them once a minute at most.
"""

from __future__ import annotations

import math
import sys
import textwrap
import time

from pearl_data.terminal import say
from pearl_train.run.training_line import USUAL, TrainingLine, Values, terminal_columns

PANEL_PAUSE_S = 60.0
_FIGURES = (
    ("target_std", "target std", ".3f"),
    ("predicted_std", "predicted std", ".3f"),
    ("effective_rank", "effective rank", ".1f"),
    ("cosine", "cosine", ".3f"),
    ("retrieval", "retrieval", ".2f"),
)


class Narrator:
    """Speaks for one process; only one that is not ``silent`` is heard.

    ``progress`` says whether there is a line and a panel, besides notes.
    """

    def __init__(self, *, silent: bool, progress: bool) -> None:
        self._silent = silent
        self._progress = progress and not silent
        self._line: TrainingLine | None = None
        self._panel_s = -math.inf

    def begin(self, total: int, done: int) -> None:
        """Start the line at ``done`` of ``total`` steps."""
        if self._progress:
            self._line = TrainingLine(total, done)

    def step(self, values: Values, rates: Values) -> None:
        """One more step was done: its losses and ``lr``, and how fast steps go."""
        if self._line:
            self._line.values, self._line.rates = values, rates
            self._line.advance()

    def panel(self, step: int, values: Values) -> None:
        """The collapse panel of ``step``, unless it was said less than a minute ago."""
        if not self._line or not values:
            return
        now, last = time.monotonic(), step + 1 == self._line.total
        if last or now - self._panel_s >= PANEL_PAUSE_S:
            self._panel_s = now
            self.note(panel_text(step, values))

    def note(self, text: str) -> None:
        """Lines of their own, above the live one."""
        if self._silent:
            return
        if self._line and sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
        say(text, err=True)

    def close(self) -> None:
        """Finish the line."""
        if self._line:
            self._line.__exit__(None, None, None)


def panel_text(step: int, values: Values) -> str:
    """The collapse panel's ``values`` as a few lines for people; empty if there are none.

    >>> print(panel_text(0, {"target_std": 0.5, "retrieval": 0.25, "samples": 16.0}))
    panel, step 0: target std 0.500, retrieval 0.25 (chance 0.06), over 16 samples
    """
    samples = values.get("samples")
    parts = [f"{words} {values[name]:{form}}" for name, words, form in _FIGURES if name in values]
    if samples and "retrieval" in values:
        parts[-1] += f" (chance {1 / samples:.2f})"
    if samples:
        parts.append(f"over {samples:.0f} samples")
    norms = [
        f"{name.removeprefix('gradient/')} {value:.3g}"
        for name, value in values.items()
        if name.startswith("gradient/")
    ]
    if norms:
        parts.append(f"gradient norms: {', '.join(norms)}")
    if not parts:
        return ""
    return textwrap.fill(
        f"panel, step {step}: {', '.join(parts)}",
        terminal_columns() if sys.stderr.isatty() else USUAL,
        subsequent_indent="  ",
    )
