"""What the collapse panel is shown: the views of all processes' samples, in the order of one.

So the panel says the same at one process and at many, and remembers the same in each. Views are few
numbers (two vectors per sample), and are exchanged only in the steps before a panel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch

from pearl_train.objectives.base import Moment, Terms, Views
from pearl_train.training.collapse import FEWEST
from pearl_train.training.ingredients import Watcher
from pearl_train.training.processes import from_all
from pearl_train.training.update import Machine, seed_micro_batch
from pearl_train.views.batch import Batch

#: Steps whose samples may be read before training, so that the first panel has enough.
AHEAD = 4 * FEWEST


class Watching:
    """Collects the views of one update in every process, then shows them to the panel.

    Is the ``look`` of :func:`pearl_train.training.update.update`. With ``gradients`` the panel
    looks at the first micro-batch as well.
    """

    def __init__(self, machine: Machine, panel: Watcher, *, gradients: bool) -> None:
        self._machine, self._panel, self._gradients = machine, panel, gradients
        self._seen: list[tuple[int, Views]] = []

    def __call__(self, number: int, terms: Terms, batch: Batch) -> None:
        """Take the views of micro-batch ``number``; before its terms are differentiated."""
        if self._gradients and number == 0:
            self._panel.look(terms, batch.counts, self._machine.trained)
        if terms.views is not None and batch.keys:
            self._seen.append((number, _kept(terms.views)))

    def share(self) -> None:
        """Show the panel what all processes have seen; all must call it."""
        for views in in_order(self._machine.accelerator, self._seen):
            self._panel.see(Terms({}, views))


def in_order(accelerator: Any, seen: Sequence[tuple[int, Views]]) -> list[Views]:
    """The views of all processes by micro-batch, then by process: the order of one process."""
    shares = from_all(accelerator, list(seen))
    numbered = [
        (number, rank, views) for rank, share in enumerate(shares) for number, views in share
    ]
    return [views for _, _, views in sorted(numbered, key=lambda found: found[:2])]


def see_before_training(
    machine: Machine,
    panel: Watcher,
    first: Sequence[Batch],
    later: Callable[[], Iterator[Sequence[Batch]]],
    moment: Moment,
) -> None:
    """Show the panel some samples of the steps to come where those of the ``first`` are too few
    to say what targets are before training; ``later`` begins those of the steps after it.

    Changes nothing of the training: no gradient, no dropout, and every micro-batch is seeded anew.
    All processes must take part.
    """
    known = _keys(machine, first)
    if len(known) >= FEWEST or not moment.jepa_weight:
        return
    machine.model.eval()
    with torch.no_grad():
        for micro_batches in islice(later(), AHEAD):
            seen = []
            for number, batch in enumerate(micro_batches):
                if not batch.keys and machine.world == 1:
                    continue
                seed_micro_batch(machine, moment.step, number)
                here = batch.to(machine.accelerator.device)
                terms: Terms = machine.model(here, moment, machine.targets(here))
                if terms.views is not None and batch.keys:
                    seen.append((number, _kept(terms.views)))
            for views in in_order(machine.accelerator, seen):
                panel.see(Terms({}, views))
            known |= _keys(machine, micro_batches)
            if len(known) >= FEWEST:
                break
    machine.model.train()


def _keys(machine: Machine, batches: Sequence[Batch]) -> set[str]:
    """The samples in ``batches``, of all processes."""
    mine = {key for batch in batches for key in batch.keys}
    return {key for keys in from_all(machine.accelerator, mine) for key in keys}


def _kept(views: Views) -> Views:
    """Off the device, and apart from the graph."""
    predicted, target = (one.detach().float().cpu() for one in (views.predicted, views.target))
    return views._replace(predicted=predicted, target=target)
