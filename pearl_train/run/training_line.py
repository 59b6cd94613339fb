"""The calm line of a run on stderr: how far it is, its losses, rates and time left.

The line says it all where there is room, shorter where there is less, and leaves out the least
telling first; it is never longer than a terminal is wide, because only one line can be rewritten in
place. In a log nothing is left out.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import NamedTuple

from pearl_data.progress import Progress, duration

Values = Mapping[str, float]

#: Columns where a terminal does not say how many it has.
USUAL = 120
#: What a line can lack, the least telling first.
_LACKING = ("rate", "data", "tokens", "lr", "terms", "left")
_NOT_TERMS = frozenset({"loss", "lr", "grad_norm"})


class Part(NamedTuple):
    """A part of the line: what it is, in full and in short."""

    name: str
    full: str
    short: str


class TrainingLine(Progress):
    """``train 40/300 steps, 2.1/s, loss 1.932 (vlm 1.802, jepa 0.650), lr 0.001, ...``

    ``values`` are those of the last update, with ``lr``; ``rates`` those of
    :meth:`pearl_train.training.pace.Pace.rates`.
    """

    def __init__(self, total: int, done: int) -> None:
        super().__init__("train", total, "steps", done=done)
        self.values: Values = {}
        self.rates: Values = {}

    def line(self) -> str:
        """The line as shown."""
        parts = self._parts()
        if not self._terminal:
            return _joined([part.full for part in parts])
        return fitted(parts, terminal_columns() - 1)  # in the last column the cursor would wrap

    def _parts(self) -> list[Part]:
        steps, seconds = self.done - self._start_done, time.monotonic() - self._start_s
        total = self.total or 0
        parts = [Part("count", f"train {self.done}/{total} steps", f"train {self.done}/{total}")]
        if steps:
            slow = steps < seconds
            pace = f"{seconds / steps:.1f} s/step" if slow else f"{steps / seconds:.1f}/s"
            parts.append(Part("rate", pace, pace))
        parts += self._losses()
        if "lr" in self.values:
            lr = f"lr {self.values['lr']:.2g}"
            parts.append(Part("lr", lr, lr))
        if self.rates:
            tokens, waited = self.rates["tokens_per_s"], self.rates["waiting_for_data"]
            share = f"{100 * waited:.0f} %"
            parts.append(Part("tokens", f"{tokens:.0f} tokens/s", f"{thousands(tokens)} tok/s"))
            parts.append(Part("data", f"{share} waiting for data", f"data {share}"))
        if steps and self.done < total:
            left = duration((total - self.done) * seconds / steps)
            short = " ".join(left.split()[:2])  # 2 h 4 min: 2 h
            parts.append(Part("left", f"{left} left", f"{short} left"))
        return parts

    def _losses(self) -> list[Part]:
        """The loss, and the same with its terms."""
        if "loss" not in self.values:
            return []
        loss = self.values["loss"]
        terms = {name: value for name, value in self.values.items() if name not in _NOT_TERMS}
        plain = Part("loss", f"loss {shown(loss)}", f"loss {briefly(loss)}")
        if not terms:
            return [plain]
        full = ", ".join(f"{name} {shown(value)}" for name, value in terms.items())
        brief = ", ".join(f"{name} {briefly(value)}" for name, value in terms.items())
        return [plain, Part("terms", f"({full})", f"({brief})")]


def fitted(parts: list[Part], columns: int) -> str:
    """As much of ``parts`` as ``columns`` hold: in full, in short, then fewer and fewer."""
    line = _joined([part.full for part in parts])
    for lacking in range(len(_LACKING) + 1):
        if len(line) <= columns:
            return line
        kept = [part.short for part in parts if part.name not in _LACKING[:lacking]]
        line = _joined(kept)
    return line[: max(columns, 0)]


def _joined(parts: list[str]) -> str:
    """Parts with commas between them, but not before a bracket."""
    return ", ".join(parts).replace(", (", " (")


def terminal_columns() -> int:
    """How wide the terminal behind stderr is."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or USUAL
    except (OSError, ValueError):  # no terminal, or a stream without a file
        return USUAL


def thousands(value: float) -> str:
    """A rate in few characters: ``870``, ``4.9k``, ``49k``.

    >>> [thousands(value) for value in (870, 4870, 48700)]
    ['870', '4.9k', '49k']
    """
    if value < 1000:
        return f"{value:.0f}"
    return f"{value / 1000:.1f}k" if value < 9950 else f"{value / 1000:.0f}k"


def shown(value: float) -> str:
    """A value in few characters: ``1.932``, ``0.00012``."""
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def briefly(value: float) -> str:
    """A value in even fewer: ``1.93``, ``0.45``, ``0.0012``."""
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"
