"""Whether one small batch can be learned by heart, pictures and all: the shortest proof that
everything is joined up.

All samples are asked in the same words (:mod:`pearl_train.doctor.one_question`), so that a model
which does not see them can only come down to a loss that is known beforehand. The updates are those
of training (:func:`pearl_train.training.update.update`), at its own learning rate. They change the
doctor's weights, so this check comes last.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from pearl_train.doctor.findings import Finding
from pearl_train.doctor.one_question import asked_alike, blind_loss
from pearl_train.doctor.patient import FEW, Patient
from pearl_train.errors import Diverged
from pearl_train.training.optim import make_optimizer, set_learning_rate
from pearl_train.training.update import Machine, update

#: Updates at most, and seconds, of which a slow machine needs more.
STEPS, SECONDS = 200, 60.0
#: Learned by heart: below this share of the first loss, and of what is possible without pictures.
SHARE, OF_BLIND = 0.15, 0.5
#: As good as blind: not below this share of it.
NO_BETTER = 0.9
#: A loss per token that leaves nothing to learn.
KNOWN = 0.02


class Goal(NamedTuple):
    """What the loss of next tokens has to come to. ``blind`` is the least without pictures."""

    first: float
    blind: float

    @property
    def by_heart(self) -> float:
        """The loss at which the batch is known."""
        low = SHARE * self.first
        return max(min(low, OF_BLIND * self.blind) if self.blind else low, KNOWN)


def overfit(patient: Patient) -> Finding:
    """Whether the loss of next tokens falls when the same few samples come again and again."""
    config = patient.config
    samples = asked_alike(patient, min(FEW, config.optim.batch))
    blind = blind_loss(samples)
    batch, cached = patient.batch(samples)
    optimizer = make_optimizer(patient.trainee, config.optim)
    model, prepared = patient.accelerator.prepare(patient.trainee.train(), optimizer)
    machine = Machine(
        accelerator=patient.accelerator,
        model=model,
        optimizer=prepared,
        seed=config.seed,
        clip=config.optim.clip,
        targets=lambda _: cached,
    )
    moment, began = patient.moment(), time.monotonic()
    losses: list[dict[str, float]] = []
    clip = config.optim.clip
    try:
        while len(losses) < STEPS and time.monotonic() - began < SECONDS:
            set_learning_rate(optimizer, config.optim.lr * min(1.0, (len(losses) + 1) / 5))
            losses.append(update(machine, [batch], moment).values)
            patient.trainee.after_update()
            if losses[-1]["vlm"] <= Goal(losses[0]["vlm"], blind).by_heart:
                break
    except Diverged as error:
        return Finding(
            check="overfit",
            status="fail",
            told=f"after {len(losses)} updates of one batch: {error}",
            remedy=f"lower optim.lr ({config.optim.lr:g}), or "
            + ("set optim.clip" if clip is None else f"lower optim.clip ({clip:g})"),
            figures={"vlm": [values["vlm"] for values in losses]},
        )
    return _judged(losses, blind, config.optim.lr, batch.keys)


def _judged(
    losses: list[dict[str, float]], blind: float, rate: float, keys: tuple[str, ...]
) -> Finding:
    vlm, last = [values["vlm"] for values in losses], losses[-1]
    first, least, end = vlm[0], min(vlm), vlm[-1]
    goal = Goal(first, blind).by_heart
    hidden = {"vlm", "loss", "grad_norm"}
    others = [f"{name} {value:.3g}" for name, value in last.items() if name not in hidden]
    told = (
        f"next-token loss of {len(keys)} samples asked in the same words {first:.3g} -> {end:.3g} "
        f"in {len(vlm)} updates at lr {rate:g}" + (f" ({', '.join(others)})" if others else "")
    )
    told += (
        f"; without pictures {blind:.3g} at best"
        if blind
        else "; their words tell them apart: nothing is said of pictures"
    )
    figures = {"vlm": vlm, "blind": blind, "last": last, "keys": list(keys)}
    if end <= goal:
        return Finding(check="overfit", status="pass", told=told, figures=figures)
    wanted = f"{goal:.3g} ({SHARE:.0%} of the first"
    wanted += f", {OF_BLIND:.0%} of what words alone reach)" if blind else ")"
    worded = end <= max(SHARE * first, 1.5 * blind)
    if blind and worded and len(vlm) == STEPS and least >= NO_BETTER * blind:
        return Finding(
            check="overfit",
            status="fail",
            told=f"{told}: words were learned and pictures were not, expected it to fall to "
            f"{wanted}",
            remedy="pictures do not reach the answer: look at the checks pictures and views, and "
            "at the vision part of the model; if those are sound, raise optim.lr",
            figures=figures,
        )
    if end < 0.99 * first:
        return Finding(
            check="overfit",
            status="warn",
            told=f"{told}: it falls, but not to {wanted}",
            remedy="nothing need be wrong at a small learning rate; otherwise raise optim.lr",
            figures=figures,
        )
    rose = end > 1.5 * least
    return Finding(
        check="overfit",
        status="fail",
        told=f"{told}: expected it to fall to {wanted}",
        remedy="lower optim.lr: the loss rises"
        if rose
        else "raise optim.lr, or train more of the model: freeze_vision, lora.targets, lora.rank",
        figures=figures,
    )
