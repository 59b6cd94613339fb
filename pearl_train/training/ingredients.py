"""What a run is made of, as the loop sees it: something to train, batches, targets, a panel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from pearl_train.objectives.base import Moment, Terms
from pearl_train.views.batch import Batch


class Watcher(Protocol):
    """The collapse panel, as the loop sees it: :class:`pearl_train.training.collapse.Panel`."""

    def see(self, terms: Terms) -> None:
        """Remember the views in ``terms``."""

    def look(
        self, terms: Terms, counts: Mapping[str, float], trained: Sequence[nn.Parameter]
    ) -> None:
        """Measure the gradients of a micro-batch's terms before they are differentiated."""

    def report(self) -> tuple[dict[str, float], str]:
        """The values by name, and a warning with its remedy or an empty text."""

    @property
    def collapsed(self) -> bool:
        """Whether the last report told of a collapse, and not only of a danger."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What it remembers, as tensors and JSON."""

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Remember what :meth:`state` gave."""


class Counted(Protocol):
    """What became of samples, as the loop sees it: :class:`pearl_train.views.tally.Account`."""

    def state(self) -> dict[str, Any]:
        """What this process has counted so far, as JSON."""

    def add(self, state: Mapping[str, Any]) -> None:
        """Count what :meth:`state` gave in another process or an earlier session."""

    @property
    def refused(self) -> Mapping[str, str]:
        """The training samples that the model refused, by key, with what it refused."""

    def too_many_refused(self) -> str:
        """The error if there are too many of these, else empty."""


def no_targets(batch: Batch) -> Tensor | None:
    """For objectives without cached targets."""
    return None


def nothing() -> None:
    """For trainees that need no word after an update."""


@dataclass(frozen=True, kw_only=True)
class Ingredients:
    """What a run is made of.

    Attributes:
        trainee: ``forward(batch, moment, targets) -> Terms``; trained in place.
        batches: from a step on, the micro-batches of each update, this process's share.
        moment: what the objective may know about a step.
        targets: cached targets (B, H) of a batch, if the objective has them.
        after_update: moves a teacher.
        panel: watches for collapse.
        validation: this process's share of the validation samples; empty if there are none.
        left_out: what was left out or changed so far; it goes into each checkpoint.
        beside_checkpoint: writes files into each checkpoint, such as the processor.

    """

    trainee: nn.Module
    batches: Callable[[int], Iterator[Sequence[Batch]]]
    moment: Callable[[int], Moment]
    targets: Callable[[Batch], Tensor | None] = no_targets
    after_update: Callable[[], None] = nothing
    panel: Watcher | None = None
    validation: Callable[[], Iterator[Sequence[Batch]]] | None = None
    left_out: Counted | None = None
    beside_checkpoint: Callable[[Path], None] | None = None
