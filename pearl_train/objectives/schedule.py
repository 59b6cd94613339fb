"""lambda at a step: warm-up and loss dropout, from (seed, step) alone, so resuming needs no state.

Loss dropout (arXiv 2509.14252) leaves L_JEPA, and the pass over R with it, out of a share alpha of
the steps. What remains is divided by 1 - alpha, so that lambda stays the same in expectation. The
first step is never left out: the collapse panel reads there what targets are before training.
"""

from __future__ import annotations

from pearl_data.randomness import rng_for
from pearl_train.objectives.base import Moment
from pearl_train.settings.config import Config


def moment(config: Config, step: int) -> Moment:
    """What the objective may know about update ``step``, from 0.

    >>> from pearl_train.settings.config import ObjectiveConfig
    >>> moment(Config(objective=ObjectiveConfig(weight=0.2, warmup=4)), 1).jepa_weight
    0.1
    """
    options = config.objective
    if options.name != "pearl":
        return Moment(step=step, jepa_weight=0.0)
    weight = options.weight
    if step < options.warmup:
        weight *= (step + 1) / options.warmup
    alpha = options.loss_dropout
    if not alpha or not step:
        jepa_weight = weight
    else:
        dropped = rng_for(config.seed, "loss-dropout", step).random() < alpha
        jepa_weight = 0.0 if dropped else weight / (1 - alpha)
    return Moment(step=step, jepa_weight=jepa_weight, nextlat_weight=weight)
