"""The same values for W&B, for those who ask for it: one run there for one run here.

``RUN/wandb.json`` keeps the run's id there, so that a session which resumes goes on with it, and
the last step that each value was given for. What such a session repeats is not given again: on CPU
it is the same, bit for bit.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from pearl_tools.errors import UsageError
from pearl_tools.types import Record
from pearl_train.run.folder import RunFolder, read_json, write_json
from pearl_train.settings.config import Config


class Given(Record, frozen=True, kw_only=True):
    """What W&B was given: the run's ``id``, and the ``last`` step of every value by name."""

    id: str
    last: dict[str, int] = {}


def wandb_package() -> Any:
    """The package ``wandb``; raises ``UsageError`` where it is not installed."""
    from importlib import import_module

    try:
        return import_module("wandb")
    except ImportError as error:
        raise UsageError(
            "log.wandb: expected the package wandb, got none; pip install wandb, or leave it off: "
            "RUN/tensorboard and RUN/metrics.jsonl hold the same values"
        ) from error


class WeightsAndBiases:
    """A sink of :class:`pearl_train.run.metrics.Metrics`; raises as :func:`wandb_package` does,
    ``UsageError`` for what W&B itself refuses, and ``BadInput`` where ``RUN/wandb.json`` is not to
    be understood.
    """

    def __init__(self, folder: RunFolder, config: Config) -> None:
        wandb = wandb_package()
        self._path = folder.wandb
        known = self._path.is_file()
        given = read_json(self._path, Given) if known else Given(id=uuid.uuid4().hex[:8])
        self._id, self._last = given.id, dict(given.last)
        if not known:
            self._remember()
        try:
            self._run: Any = wandb.init(
                project="pearl",
                name=folder.path.name,
                dir=str(folder.path),
                config=msgspec.to_builtins(config),
                id=self._id,
                resume="allow",
            )
        except Exception as error:  # errors of W&B: no key, no network, no such entity
            reason = " ".join(str(error).split())[:300]
            raise UsageError(
                f"log.wandb: W&B cannot start a run: {type(error).__name__}: {reason}; run wandb "
                "login, set WANDB_MODE=offline, or start a new run without log.wandb"
            ) from error

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Give what was not given yet. Steps of one name never fall within a session."""
        new = {name: value for name, value in values.items() if step > self._last.get(name, -1)}
        if not new:
            return
        self._run.log({**new, "step": step})
        self._last |= dict.fromkeys(new, step)
        self._remember()

    def close(self) -> None:
        """Send what is still held back."""
        self._run.finish()

    def _remember(self) -> None:
        write_json(self._path, Given(id=self._id, last=self._last))
