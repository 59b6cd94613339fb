"""Whether one small batch can be learned by heart: the shortest proof that everything is joined up.

The updates are those of training (:func:`pearl_train.training.update.update`), at its own learning
rate. They change the doctor's weights, so this check comes last.
"""

from __future__ import annotations

import time

from pearl_train.doctor.findings import Finding
from pearl_train.doctor.patient import FEW, Patient
from pearl_train.errors import Diverged
from pearl_train.training.optim import make_optimizer, set_learning_rate
from pearl_train.training.update import Machine, update

#: Updates at most, and the share of the first loss that is low enough to stop early.
STEPS = 30
SHARE = 0.5
SECONDS = 60.0
#: A loss per token that leaves nothing to learn.
KNOWN = 0.02


def overfit(patient: Patient) -> Finding:
    """Whether the loss of next tokens falls when the same few samples come again and again."""
    config = patient.config
    batch, cached = patient.batch(patient.few(min(FEW, config.optim.batch)))
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
            if losses[-1]["vlm"] <= SHARE * losses[0]["vlm"] and len(losses) > 5:
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
    return _judged([values["vlm"] for values in losses], losses[-1], config.optim.lr, batch.keys)


def _judged(
    vlm: list[float], last: dict[str, float], rate: float, keys: tuple[str, ...]
) -> Finding:
    first, least, end = vlm[0], min(vlm), vlm[-1]
    hidden = {"vlm", "loss", "grad_norm"}
    others = [f"{name} {value:.3g}" for name, value in last.items() if name not in hidden]
    told = (
        f"next-token loss of {len(keys)} samples {first:.3g} -> {end:.3g} in {len(vlm)} updates at "
        f"lr {rate:g}" + (f" ({', '.join(others)})" if others else "")
    )
    figures = {"vlm": vlm, "last": last, "keys": list(keys)}
    if end <= max(SHARE * first, KNOWN):
        return Finding(check="overfit", status="pass", told=told, figures=figures)
    if end < 0.99 * first:
        return Finding(
            check="overfit",
            status="warn",
            told=f"{told}: it falls, but not below {SHARE:.0%} of the first",
            remedy="nothing need be wrong at a small learning rate; otherwise raise optim.lr",
            figures=figures,
        )
    rose = end > 1.5 * least
    return Finding(
        check="overfit",
        status="fail",
        told=f"{told}: expected it to fall below {SHARE:.0%} of the first",
        remedy="lower optim.lr: the loss rises"
        if rose
        else "raise optim.lr, or train more of the model: freeze_vision, lora.targets, lora.rank",
        figures=figures,
    )
