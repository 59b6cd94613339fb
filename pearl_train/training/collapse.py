"""The collapse panel: do targets still differ, and does the prediction tell them apart?

Neither a low L_JEPA nor a healthy L_VLM says so: when all targets are alike, predicting them is
easy and answers stay the same; effective rank alone misleads too. So five figures are read
together, from the first step, over the samples of the last few steps (a ring buffer, so that small
batches work; older samples than ``SPAN`` steps are dropped, since drift would look like spread):

    target_std, predicted_std   mean standard deviation per dimension of vectors scaled to length
                                sqrt(H): 1 if they point everywhere, 0 if all are the same
    effective_rank              exp of the entropy of the singular values, after centring
    cosine                      mean over pairs of different targets
    retrieval                   share of predictions nearest to their own target; chance is 1 / n
    gradient/<term>             norm of each weighted term's gradient
                                (:mod:`pearl_train.training.gradient_norms`)

Not here: whose samples these are (:mod:`pearl_train.training.watching`).
Dimensions: n samples in the buffer, H hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from pearl_train.objectives.base import Terms
from pearl_train.settings.config import ObjectiveConfig
from pearl_train.training.gradient_norms import term_gradient_norms

CAPACITY = 64
SPAN = 10
FEWEST = 4
"""Samples below which nothing is said."""
COLLAPSED_STD = 0.08
"""A cosine of about 0.994. With gradient through both views toy runs came to 0.007 to 0.03 and the
nano model to 0.05; without, to 0.23 and more, and the nano model, which drifts most at first, to
0.11 and more."""
NARROW_STD = 0.15
"""Below this, and below half of what it was before training, targets are growing alike. With the
nano model (lr 1e-3, batch 8): 0.45 before training, 0.16 to 0.30 with L_VLM alone."""


Level = Literal["healthy", "narrow", "collapsed"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From good to bad."""


class Reading(NamedTuple):
    """The panel's figures over ``samples`` samples."""

    samples: int
    target_std: float
    predicted_std: float
    effective_rank: float
    cosine: float
    retrieval: float

    @property
    def chance(self) -> float:
        """What ``retrieval`` would be without any prediction."""
        return 1 / self.samples


class Verdict(NamedTuple):
    """What a reading means, and what to do about it; empty text where all is well."""

    level: Level
    text: str


def measure(predicted: Tensor, target: Tensor) -> Reading:
    """The figures for ``predicted`` and ``target``, (n, H) each, n at least 2."""
    predicted, target = predicted.double(), target.double()
    p, t = functional.normalize(predicted, dim=-1), functional.normalize(target, dim=-1)
    number, width = t.shape
    similar = t @ t.T
    off_diagonal = (similar.sum() - similar.diagonal().sum()) / (number * (number - 1))
    values = torch.linalg.svdvals(t - t.mean(dim=0))
    share = values / values.sum().clamp_min(1e-12)
    rank = torch.special.entr(share).sum().exp()
    scores = p @ t.T
    # Equal targets (a sample met twice) share the point for being nearest.
    nearest = scores >= scores.max(dim=1, keepdim=True).values - 1e-9
    found = (nearest.diagonal() / nearest.sum(dim=1)).mean()
    return Reading(
        samples=number,
        target_std=float(t.std(dim=0).mean() * width**0.5),
        predicted_std=float(p.std(dim=0).mean() * width**0.5),
        effective_rank=float(rank),
        cosine=float(off_diagonal),
        retrieval=float(found),
    )


def judge(reading: Reading, options: ObjectiveConfig, first: Reading | None = None) -> Verdict:
    """What ``reading`` means in a run with ``options`` whose first reading was ``first``."""
    figures = (
        f"target std {reading.target_std:.3f}, cosine {reading.cosine:.3f}, retrieval "
        f"{reading.retrieval:.2f} (chance {reading.chance:.2f}) over {reading.samples} samples"
    )
    if reading.target_std < COLLAPSED_STD:
        return Verdict(
            "collapsed",
            f"the targets have collapsed: expected a target std above {COLLAPSED_STD}, got "
            f"{figures}; predicting them says nothing any more. {remedy(reading, options, first)}",
        )
    lost = first is not None and reading.target_std < 0.5 * first.target_std
    if reading.target_std < NARROW_STD and lost:
        return Verdict(
            "narrow",
            f"the targets are growing alike: {figures}. {remedy(reading, options, first)}",
        )
    return Verdict("healthy", "")


def remedy(reading: Reading, options: ObjectiveConfig, first: Reading | None = None) -> str:
    """What to change, in the order of trying it, of what is not yet in use."""
    began_alike = first is not None and first.target_std < COLLAPSED_STD
    if options.target.source == "frozen-base" or began_alike:
        others = [read for read in ("before-conclusion", "mean") if read != options.target.read]
        return (
            "They were alike before training: read them elsewhere, objective.target.read = "
            + " or ".join(f'"{read}"' for read in others)
        )
    if not options.stop_gradient:
        return "Remedy: objective.stop_gradient = true"
    ways = [
        'objective.target.source = "frozen-base"',
        *(['objective.target.source = "ema"'] if options.target.source != "ema" else []),
        *(["objective.variance_hinge = 1.0"] if not options.variance_hinge else []),
        *(["objective.sigreg = 1.0"] if not options.sigreg else []),
        "a smaller objective.weight",
    ]
    return "Remedies: " + ", ".join(ways)


class Panel:
    """Remembers the views of the last steps and says what they mean.

    ``see`` the views of every micro-batch; ``look`` at one whose gradient norms are wanted; then
    ``report``.
    """

    def __init__(self, options: ObjectiveConfig, capacity: int = CAPACITY) -> None:
        self.options = options
        self.capacity = capacity
        self.first: Reading | None = None
        self.gradients: dict[str, float] = {}
        self.level: Level = "healthy"
        self.worst: Level = "healthy"
        self._told_few = False
        self._keys: list[str] = []
        self._steps: list[int] = []
        self._views: Tensor | None = None  # (n, 2, H): predicted, target

    def see(self, terms: Terms) -> None:
        """Remember the views of one micro-batch; a sample's newer views replace its older."""
        if terms.views is None or not len(terms.views.target):
            return
        views = terms.views
        both = torch.stack([views.predicted, views.target], dim=1).detach().float().cpu()
        keys = list(views.keys) or [f"{views.step}:{n}" for n in range(len(both))]
        # a batch larger than the data set holds a sample more than once
        last = sorted({key: n for n, key in enumerate(keys)}.values())
        both, keys = both[last], [keys[n] for n in last]
        old = [
            n
            for n, (key, step) in enumerate(zip(self._keys, self._steps, strict=True))
            if key not in keys and views.step - SPAN < step <= views.step
        ]
        parts = [both] if self._views is None else [self._views[old], both]
        self._views = torch.cat(parts)[-self.capacity :]
        self._keys = ([self._keys[n] for n in old] + keys)[-self.capacity :]
        self._steps = ([self._steps[n] for n in old] + [views.step] * len(both))[-self.capacity :]

    def look(
        self, terms: Terms, counts: Mapping[str, float], trained: Sequence[nn.Parameter]
    ) -> None:
        """Measure each term's gradient in the ``trained`` weights, before ``terms`` are
        differentiated; where they are sharded all processes must do so.
        """
        self.gradients = term_gradient_norms(terms, counts, trained)

    def read(self) -> Reading | None:
        """The figures, or None while fewer than ``FEWEST`` samples were seen."""
        if self._views is None or len(self._views) < FEWEST:
            return None
        reading = measure(self._views[:, 0], self._views[:, 1])
        self.first = self.first or reading
        return reading

    def report(self) -> tuple[dict[str, float], str]:
        """The figures and gradient norms by name, and a warning with its remedy or an empty text.

        Each level is told once: that targets grow alike, then that they have collapsed; and once
        that samples are too few to tell. Nothing of the views for objectives that have none.
        """
        values = {f"gradient/{name}": norm for name, norm in self.gradients.items()}
        reading = self.read()
        if reading is None:
            return values, self._too_few()
        values |= {name: float(value) for name, value in reading._asdict().items()}
        verdict = judge(reading, self.options, self.first)
        self.level = verdict.level
        if LEVELS.index(verdict.level) <= LEVELS.index(self.worst):
            return values, ""
        self.worst = verdict.level
        return values, verdict.text

    def _too_few(self) -> str:
        """Why nothing is said of the views; empty where there are none, or it was told."""
        if self._views is None or self._told_few:
            return ""
        self._told_few = True
        dropping = " or lower objective.loss_dropout" if self.options.loss_dropout else ""
        return (
            f"the collapse panel says nothing of targets: expected at least {FEWEST} different "
            f"samples with a target in the last {SPAN} steps, got {len(self._views)}; raise "
            f"optim.batch{dropping}, or train on more samples"
        )

    @property
    def collapsed(self) -> bool:
        """Whether the targets had collapsed at the last report."""
        return self.level == "collapsed"

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What is remembered, as tensors and JSON."""
        tensors = {} if self._views is None else {"views": self._views}
        first = self.first._asdict() if self.first else None
        state = {"keys": self._keys, "steps": self._steps, "first": first}
        return tensors, state

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Remember what :meth:`state` gave; what was told before is told again, once, to whoever
        resumes, so that a run which a collapse has stopped stops again.
        """
        self._views = tensors.get("views")
        self._keys, self._steps = list(state["keys"]), list(state["steps"])
        self.first = Reading(**state["first"]) if state["first"] else None
