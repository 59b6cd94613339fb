"""One optimizer step whose gradient is exact for the global batch.

The objective gives sums; here they are divided by the number of units (learned tokens, samples,
latents) in the *whole* step: all micro-batches of all processes, counted before the first backward.
So neither accumulation nor the number of processes changes the gradient, however unevenly the
tokens fall. Randomness (dropout) of a micro-batch follows from (seed, step, micro-batch, rank).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pearl_data.randomness import derived_seed
from pearl_train.errors import Diverged
from pearl_train.objectives.base import Moment, Terms
from pearl_train.training.blame import blame
from pearl_train.views.batch import PADDING, Batch

Targets = Callable[[Batch], Tensor | None]


@dataclass(kw_only=True)
class Machine:
    """What makes an update: the processes, the (wrapped) model, its optimizer."""

    accelerator: Any
    model: nn.Module
    optimizer: Any
    seed: int
    clip: float | None
    targets: Targets
    trained: list[nn.Parameter] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.trained = [p for p in self.model.parameters() if p.requires_grad]

    @property
    def world(self) -> int:
        """Number of processes."""
        return int(self.accelerator.num_processes)


class Update(NamedTuple):
    """What one update was: the loss and its terms per unit, the gradient's norm before clipping,
    samples and tokens (of all processes), and whether any process wants to stop.
    """

    values: dict[str, float]
    samples: int
    tokens: int
    stop: bool
    refused: bool


Look = Callable[[int, Terms, Batch], None]


def update(
    machine: Machine,
    micro_batches: Sequence[Batch],
    moment: Moment,
    *,
    stop: bool = False,
    refused: bool = False,
    look: Look | None = None,
    before_change: Callable[[], None] | None = None,
) -> Update:
    """Change the weights once. ``look`` gets the number of each micro-batch, its terms and the
    micro-batch before the backward pass, in all processes. ``before_change`` is called just before
    the weights change; an update that ends earlier has changed nothing.

    Raises ``Diverged`` before any weight is changed if a loss or the gradient is not finite.
    """
    counts = global_counts(machine, micro_batches, stop=stop, refused=refused)
    wants, met = bool(counts["stop"]), bool(counts["refused"])
    if not counts["samples"]:  # all were dropped: nothing to learn, nothing to change
        return Update({}, 0, 0, wants, met)
    totals: list[dict[str, Tensor]] = []
    weights: dict[str, tuple[float, str]] = {}
    # all processes must take part in every exchange, even with a share of nobody
    ready = [
        (number, batch)
        for number, batch in enumerate(micro_batches)
        if batch.keys or machine.world > 1
    ]
    for place, (number, batch) in enumerate(ready):
        seed_micro_batch(machine, moment.step, number)
        last = place == len(ready) - 1
        here = batch.to(machine.accelerator.device)
        with _held_back(machine, last=last):
            terms: Terms = machine.model(here, moment, machine.targets(here))
        if look:  # not held back: gradients of sharded weights exist only once exchanged
            look(place, terms, here)
        with _held_back(machine, last=last):
            machine.accelerator.backward(machine.world * weighted(terms, counts))
        totals.append({name: term.total.detach() for name, term in terms.losses.items()})
        weights |= {name: (term.weight, term.unit) for name, term in terms.losses.items()}
    local = [_floats(total) for total in totals]
    values = _means(_summed(machine, _add(local)), weights, counts)
    norm = machine.accelerator.clip_grad_norm_(machine.trained, machine.clip or math.inf)
    values["grad_norm"] = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
    if not all(math.isfinite(value) for value in values.values()):
        batches = [batch for _, batch in ready]
        raise Diverged(blame(machine, moment, values, local, batches))
    if before_change:
        before_change()
    machine.optimizer.step()
    machine.optimizer.zero_grad(set_to_none=True)
    return Update(values, int(counts["samples"]), int(counts["tokens"]), wants, met)


def weighted(terms: Terms, counts: Mapping[str, float]) -> Tensor:
    """This micro-batch's part of the loss L: each term's sum over the step's number of units."""
    parts = [
        term.weight * term.total / max(counts.get(term.unit, 0), 1)
        for term in terms.losses.values()
    ]
    return torch.stack([part.float() for part in parts]).sum()


def global_counts(
    machine: Machine, batches: Sequence[Batch], *, stop: bool = False, refused: bool = False
) -> dict[str, float]:
    """The units of the whole step over all processes, with ``samples`` and ``tokens``, and the
    number of processes with a request to ``stop``, or with newly ``refused`` samples.
    """
    counts = _add([dict(batch.counts) for batch in batches])
    tokens = sum(
        int((rows.branch != PADDING).sum())
        for batch in batches
        for rows in (batch.context, batch.target)
        if rows is not None and batch.keys
    )
    keys = sum(len(batch.keys) for batch in batches)
    flags = {"stop": int(stop), "refused": int(refused)}
    return _summed(machine, {**counts, "samples": keys, "tokens": tokens, **flags})


def evaluate_loss(
    machine: Machine, batches: Iterable[Sequence[Batch]], step: int
) -> dict[str, float]:
    """Loss and terms over ``batches`` without the JEPA terms (their target moves), dropout off.

    Empty if there is no sample.
    """
    machine.model.eval()
    moment = Moment(step=step, jepa_weight=0.0)
    total: dict[str, float] = {}
    units: dict[str, float] = {}
    weights: dict[str, tuple[float, str]] = {}
    with torch.no_grad():
        for batch in (batch for some in batches for batch in some):
            if not batch.keys and machine.world == 1:
                continue
            terms: Terms = machine.model(batch.to(machine.accelerator.device), moment, None)
            weights |= {name: (term.weight, term.unit) for name, term in terms.losses.items()}
            total = _add([total, _floats({name: t.total for name, t in terms.losses.items()})])
            units = _add([units, dict(batch.counts)])
    machine.model.train()
    counts = _summed(machine, units)
    return _means(_summed(machine, total), weights, counts) if counts else {}


def seed_micro_batch(machine: Machine, step: int, number: int) -> None:
    """Seed what dropout draws from."""
    rank = machine.accelerator.process_index
    torch.manual_seed(derived_seed(machine.seed, "micro-batch", step, number, rank))


def _held_back(machine: Machine, *, last: bool) -> AbstractContextManager[Any]:
    """Gradients are exchanged once per update, with the last micro-batch."""
    if last or machine.world == 1:
        return nullcontext()
    return machine.accelerator.no_sync(machine.model)  # type: ignore[no-any-return]


def _summed(machine: Machine, values: Mapping[str, float]) -> dict[str, float]:
    """``values`` summed over the processes, in their order."""
    if machine.world == 1:
        return dict(values)
    from accelerate.utils import gather_object

    return _add(gather_object([dict(values)]))


def _add(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0) + value
    return total


def _floats(values: Mapping[str, Tensor]) -> dict[str, float]:
    """All values in one transfer from the device."""
    if not values:
        return {}
    stacked = torch.stack([value.detach().double() for value in values.values()])
    return dict(zip(values, stacked.tolist(), strict=True))


def _means(
    totals: Mapping[str, float],
    weights: Mapping[str, tuple[float, str]],
    counts: Mapping[str, float],
) -> dict[str, float]:
    """Each term per unit, and the loss as their weighted sum."""
    means = {
        name: total / max(counts.get(weights[name][1], 0), 1) for name, total in totals.items()
    }
    return {"loss": sum(weights[name][0] * mean for name, mean in means.items()), **means}
