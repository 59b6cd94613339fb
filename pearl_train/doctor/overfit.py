"""Overfitting check: the model must memorise one small batch, pictures included. This is the
shortest proof that data, model and loss work together.

All samples have the same question (:mod:`pearl_train.doctor.one_question`), so the lowest loss of a
text-only model is known. The check compares the loss at the tokens that the text leaves ambiguous:
a long trajectory has few of them, and they hardly affect the mean over all tokens. The updates are
those of training (:func:`pearl_train.training.update.update`), at its own learning rate. They
change the doctor's weights, so this check comes last.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import torch
from torch.nn import functional

from pearl_train.doctor.findings import Finding
from pearl_train.doctor.one_question import Blind, asked_alike, blind, written
from pearl_train.doctor.patient import FEW, Patient
from pearl_train.errors import Diverged
from pearl_train.objectives.pictures import read_rows
from pearl_train.training.optim import make_optimizer, set_learning_rate
from pearl_train.training.update import Machine, update
from pearl_train.views.batch import Batch, BranchName

#: Updates at most, and seconds, of which a slow machine needs more.
STEPS, SECONDS = 200, 60.0
#: Memorised: the loss is below this share of the first loss, and at ambiguous tokens below this
#: share of the best text-only loss.
SHARE, OF_BLIND = 0.15, 0.5
#: As good as text-only: between these shares of the best text-only loss.
NO_BETTER, NO_WORSE = 0.9, 1.5
#: A loss per token that leaves nothing to learn.
KNOWN = 0.02
#: With a smaller text-only loss per learned token, the loss cannot show that pictures are unused.
TINY = 0.1
#: Updates between measurements at the ambiguous tokens.
LOOK_EVERY = 5
#: Outputs for different pictures that differ by less, relative to their size, count as equal.
SAME = 1e-3


class Look(NamedTuple):
    """The network at the ambiguous tokens: the mean ``loss``, and ``apart``: True if its outputs
    differ when only the picture differs.
    """

    loss: float
    apart: bool


def by_heart(first: float) -> float:
    """The loss per token that counts as memorised, given the loss of the first update."""
    return max(SHARE * first, KNOWN)


def overfit(patient: Patient) -> Finding:
    """Whether the loss of next tokens falls when the same few samples come again and again."""
    config = patient.config
    samples = asked_alike(patient, min(FEW, config.optim.batch))
    floor, branch = blind(samples), written(samples[0])
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
            if losses[-1]["vlm"] > by_heart(losses[0]["vlm"]) or len(losses) % LOOK_EVERY:
                continue
            if not floor.loss or _look(patient, batch, branch, floor).loss <= _goal(floor):
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
    look = _look(patient, batch, branch, floor) if floor.loss else None
    return _judged(losses, floor, look, config.optim.lr, batch.keys)


def _goal(floor: Blind) -> float:
    return OF_BLIND * floor.floor


@torch.no_grad()
def _look(patient: Patient, batch: Batch, branch: BranchName, floor: Blind) -> Look:
    """Measure the network at the ambiguous tokens of ``branch``."""
    backbone = patient.backbone.eval()
    try:
        hidden, _ = read_rows(backbone, batch, batch.context)
        learned = batch.context.learned[branch]
        places = torch.tensor(floor.places, device=learned.id.device)
        chosen = places >= 0
        row, ids, places = learned.row[chosen], learned.id[chosen], places[chosen]
        logits = backbone.logits(hidden[row, learned.source[chosen]]).float()
    finally:
        patient.trainee.train()
    loss = float(functional.cross_entropy(logits, ids))
    of_place = [logits[places == place] for place in set(places.tolist())]
    apart = any(float((same - same[0]).abs().max()) > SAME * float(same.std()) for same in of_place)
    return Look(loss, apart)


def _judged(
    losses: list[dict[str, float]],
    floor: Blind,
    look: Look | None,
    rate: float,
    keys: tuple[str, ...],
) -> Finding:
    """The finding; ``look`` is the last measurement, None without ambiguous tokens."""
    vlm, last = [values["vlm"] for values in losses], losses[-1]
    first, least, end = vlm[0], min(vlm), vlm[-1]
    hidden = {"vlm", "loss", "grad_norm"}
    others = [f"{name} {value:.3g}" for name, value in last.items() if name not in hidden]
    told = (
        f"next-token loss of {len(keys)} samples asked in the same words {first:.3g} -> {end:.3g} "
        f"in {len(vlm)} updates at lr {rate:g}" + (f" ({', '.join(others)})" if others else "")
    )
    told += (
        f"; at the {floor.open} tokens that words leave open {look.loss:.3g}, without pictures "
        f"{floor.floor:.3g} at best"
        if look
        else "; their words tell them apart: nothing is said of pictures"
    )
    figures = {"vlm": vlm, "blind": floor.loss, "last": last, "keys": list(keys)}
    if look:
        figures |= {"open": look.loss, "open_blind": floor.floor, "apart": look.apart}
    known = end <= by_heart(first)
    if known and (look is None or look.loss <= _goal(floor)):
        return Finding(check="overfit", status="pass", told=told, figures=figures)
    wanted = f"{by_heart(first):.3g} ({SHARE:.0%} of the first)"
    wanted += f", and to {_goal(floor):.3g} at those tokens" if look else ""
    as_blind = look and NO_BETTER <= look.loss / floor.floor <= NO_WORSE
    unseen = look and look.loss >= NO_BETTER * floor.floor and not look.apart
    if known and (unseen or (as_blind and floor.loss >= TINY)) and len(vlm) == STEPS:
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
            remedy="nothing need be wrong: pictures reach the answer, and so few updates of so few "
            "open tokens may not show more; otherwise raise optim.lr"
            if known and look and look.apart
            else "nothing need be wrong at a small learning rate; otherwise raise optim.lr",
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
