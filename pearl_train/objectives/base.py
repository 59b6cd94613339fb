"""What every objective is: a function from a model and a batch to named terms.

A term is a *sum* over units (learned tokens, samples, latents); the loop divides it by the number
of those units in the whole optimizer step, over all micro-batches and processes, so that gradient
accumulation and data parallelism change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from torch import Tensor, nn

from pearl_train.settings.config import ObjectiveConfig
from pearl_train.views.batch import Batch, ViewPlan

if TYPE_CHECKING:
    from pearl_train.model.backbone import Backbone


class Term(NamedTuple):
    """One part of the loss: ``total`` (scalar, a sum), the key of ``Batch.counts`` that divides it,
    and its weight in L.
    """

    total: Tensor
    unit: str
    weight: float = 1.0


class Views(NamedTuple):
    """Embeddings for the collapse panel, (B, H) each, detached: predicted and target; of which
    samples, and at which step.
    """

    predicted: Tensor
    target: Tensor
    keys: tuple[str, ...] = ()
    step: int = 0


class Terms(NamedTuple):
    """The terms by name (``vlm``, ``jepa``, ...) and, where there are two views, both."""

    losses: Mapping[str, Term]
    views: Views | None = None


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What an objective may know about the step: everything follows from seed and step number.

    ``jepa_weight`` is lambda after warm-up and loss dropout; 0 where the term is dropped.
    ``nextlat_weight`` is lambda after warm-up alone: L_NextLat needs no view of its own, so there
    is nothing to save by dropping it.
    """

    step: int
    jepa_weight: float
    nextlat_weight: float = 0.0


class Objective(Protocol):
    """A row of the table in :mod:`pearl_train.objectives`."""

    def __call__(
        self,
        model: Backbone,
        batch: Batch,
        options: ObjectiveConfig,
        moment: Moment,
        parts: nn.ModuleDict,
        targets: Tensor | None,
    ) -> Terms:
        """The terms of one micro-batch.

        ``parts`` holds what is trained or kept besides the network: ``nextlat`` (the dynamics
        head), ``teacher`` (the moving average, a :class:`Backbone`). ``targets`` (B, H) are h_R
        read from the cache, where the target is ``frozen-base``.
        """
        ...


class Plan(Protocol):
    """Which views a configured objective needs."""

    def __call__(self, options: ObjectiveConfig) -> ViewPlan:
        """The plan."""
        ...
