"""What a run writes while it trains: JSON Lines, TensorBoard, W&B if asked.

``metrics.jsonl`` holds only what follows from the seed: two runs can be compared byte by byte, and
a resumed run cuts it back to where its checkpoint was written. Rates and waits go to
``timings.jsonl``. Names: ``loss``, the terms by name, ``grad_norm``, ``lr``; ``panel/*`` and
``validation/*``. ``step`` counts the updates done when a value was taken.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from pearl_tools.errors import BadInput
from pearl_tools.strict_json import DuplicateKey, each_key_once
from pearl_train.errors import writing
from pearl_train.run.folder import RunFolder
from pearl_train.run.weights_and_biases import WeightsAndBiases
from pearl_train.settings.config import Config

Values = Mapping[str, float]
#: What the names of the collapse panel's figures begin with.
PANEL = "panel/"


class Sink(Protocol):
    """Where values go besides the JSON Lines."""

    def write(self, step: int, values: Values) -> None:
        """Record ``values`` of ``step``."""

    def close(self) -> None:
        """Write what is still held back."""


class Window:
    """Means over the updates since the last line; a term left out of some updates is averaged over
    the others.
    """

    def __init__(self, sums: Mapping[str, tuple[float, int]] | None = None) -> None:
        self.sums = {name: (float(total), int(n)) for name, (total, n) in (sums or {}).items()}

    def add(self, values: Values) -> None:
        """Count the values of one update."""
        for name, value in values.items():
            total, n = self.sums.get(name, (0.0, 0))
            self.sums[name] = (total + value, n + 1)

    def means(self) -> dict[str, float]:
        """The mean of each value so far."""
        return {name: total / n for name, (total, n) in self.sums.items()}

    def state(self) -> dict[str, list[float]]:
        """What :class:`Window` can be made from again."""
        return {name: [total, n] for name, (total, n) in self.sums.items()}


class Metrics:
    """The files and sinks of one run. Only the first process may make one.

    ``start`` is the step resumed from and ``kept_bytes`` the length of ``metrics.jsonl`` then.
    """

    def __init__(
        self, folder: RunFolder, config: Config, *, start: int = 0, kept_bytes: int = 0
    ) -> None:
        self._folder = folder
        self._sinks: list[Sink] = []
        if config.log.tensorboard:
            self._sinks.append(_TensorBoard(folder.tensorboard, start))
        if config.log.wandb:
            self._sinks.append(WeightsAndBiases(folder, config))
        _cut(folder.metrics, kept_bytes)
        self._lines = folder.metrics.open("ab")
        self._timings = folder.timings.open("ab")

    def log(self, step: int, values: Values) -> None:
        """One line of what follows from the seed."""
        with writing(self._folder.metrics):
            self._lines.write(_line(step, values))
            self._lines.flush()
        self._sink(step, values)

    def timing(self, step: int, values: Values) -> None:
        """One line of what does not."""
        with writing(self._folder.timings):
            self._timings.write(_line(step, values))
            self._timings.flush()
        self._sink(step, {f"timing/{name}": value for name, value in values.items()})

    def durable_bytes(self) -> int:
        """The length of ``metrics.jsonl``, all of it safely on disk."""
        with writing(self._folder.metrics):
            self._lines.flush()
            os.fsync(self._lines.fileno())
        return self._lines.tell()

    def close(self) -> None:
        """Finish all files."""
        with suppress(OSError):  # a full disk, which is reported already
            self._lines.close()
        with suppress(OSError):
            self._timings.close()
        for sink in self._sinks:
            with writing(self._folder.path):
                sink.close()

    def _sink(self, step: int, values: Values) -> None:
        for sink in self._sinks:
            with writing(self._folder.path):
                sink.write(step, values)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The lines of a JSON Lines file of metrics; an incomplete last line is skipped.

    Raises ``BadInput`` for a line that is not one.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    found = []
    for number, text in enumerate(lines, 1):
        try:
            found.append(json.loads(text, object_pairs_hook=each_key_once))
        except (ValueError, DuplicateKey) as error:
            raise BadInput(f"{path}, line {number}: expected JSON, got {error}") from error
    return found


def last_values(lines: list[dict[str, float]]) -> dict[str, float]:
    """The latest value of every name."""
    return {name: value for line in lines for name, value in line.items()}


def _line(step: int, values: Values) -> bytes:
    finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return json.dumps({"step": step, **finite}).encode() + b"\n"


def _cut(path: Path, length: int) -> None:
    """Cut ``path`` back to its first ``length`` bytes."""
    size = path.stat().st_size if path.is_file() else 0
    if size < length:
        raise BadInput(
            f"{path}: expected at least the {length} bytes that were there when the checkpoint was "
            f"written, got {size}; put the file back"
        )
    if size > length:
        os.truncate(path, length)


class _TensorBoard:
    """The same values for TensorBoard; steps after ``start`` of an earlier session are hidden."""

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=start + 1 if start else None)

    def write(self, step: int, values: Values) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()
