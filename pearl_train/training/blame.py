"""A loss or a gradient that is no number: the message that names step, terms and samples.

A sample is blamed where it is broken without the others too; that is tried where one process has
the whole network, by computing one sample at a time, dropout off. Otherwise the first few of its
micro-batch are named.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from pearl_tools.errors import listed
from pearl_train.objectives.base import Moment, Terms
from pearl_train.views.batch import Batch
from pearl_train.views.single import single

if TYPE_CHECKING:
    from pearl_train.training.update import Machine

_OF_WEIGHTS = "the weights rather than a sample"


def blame(
    machine: Machine,
    moment: Moment,
    values: Mapping[str, float],
    local: Sequence[Mapping[str, float]],
    batches: Sequence[Batch],
) -> str:
    """What is wrong with an update, for whoever has to mend it.

    ``values`` are those of the update, ``local`` the sums of each of this process's ``batches``.
    """
    what = {name: value for name, value in values.items() if not math.isfinite(value)}
    broken = [
        batch
        for terms, batch in zip(local, batches, strict=True)
        if not all(math.isfinite(value) for value in terms.values())
    ]
    names = _names(broken)
    if machine.world > 1:
        from accelerate.utils import gather_object

        names = list(gather_object(names))
    who = f"a micro-batch of samples {listed(names)}" if names else _gradient_only(batches)
    suspects = broken if names else batches
    alone = "" if machine.world > 1 else _alone(machine, moment, suspects, gradient=not names)
    got = ", ".join(f"{name} {value}" for name, value in what.items())
    look = ". If it is always the same sample, see it by pearl-data show"
    return (
        f"step {moment.step + 1}: expected finite losses and gradients, got {got}; {who}{alone}. "
        f"This update changed no weight{'' if _OF_WEIGHTS in alone else look}"
    )


def _gradient_only(batches: Sequence[Batch]) -> str:
    return f"every loss is finite, the gradient is not; samples {listed(_names(batches))}"


def _alone(machine: Machine, moment: Moment, batches: Sequence[Batch], *, gradient: bool) -> str:
    """Which samples of ``batches`` are broken without the others, in words."""
    names = _names(batches)
    if len(names) < 2:
        return ""
    machine.model.eval()
    try:
        guilty = [
            name
            for name, sample in zip(names, _one_by_one(machine, batches), strict=True)
            if not _is_finite(machine, moment, sample, gradient=gradient)
        ]
    finally:
        machine.model.train()
    if not guilty:
        return "; each of them by itself, dropout off, is finite"
    if len(guilty) == len(names):
        return (
            f"; each of them by itself is broken too, so it is {_OF_WEIGHTS}{_since_when(moment)}"
        )
    return f"; broken by itself: {listed(guilty)}"


def _since_when(moment: Moment) -> str:
    """Of broken weights: what made them so, and what else holds them."""
    if not moment.step:
        return ", as they were before training"
    return ": an update before this one ruined them, and a checkpoint since then holds them so"


def _one_by_one(machine: Machine, batches: Sequence[Batch]) -> Iterator[Batch]:
    for batch in batches:
        here = batch.to(machine.accelerator.device)
        yield from (single(here, number) for number in range(len(batch.keys)))


def _is_finite(machine: Machine, moment: Moment, sample: Batch, *, gradient: bool) -> bool:
    """Whether every term of ``sample``, or its ``gradient``, is a number; no gradient is kept."""
    with torch.set_grad_enabled(gradient):
        terms: Terms = machine.model(sample, moment, machine.targets(sample))
        totals = torch.stack([term.weight * term.total.float() for term in terms.losses.values()])
        if not gradient:
            return bool(totals.isfinite().all())
        machine.optimizer.zero_grad(set_to_none=True)
        totals.sum().backward()  # type: ignore[no-untyped-call]  # theirs
    finite = all(bool(p.grad.isfinite().all()) for p in machine.trained if p.grad is not None)
    machine.optimizer.zero_grad(set_to_none=True)
    return finite


def _names(batches: Sequence[Batch]) -> list[str]:
    """Every sample with its shard."""
    return [
        f"{key} in {shard}" for b in batches for key, shard in zip(b.keys, b.shards, strict=True)
    ]
