"""What keeps embeddings apart where stop-gradient does not: the variance hinge and SIGReg.

Both look at the (B, H) embeddings of one micro-batch that carry gradient, scaled to length sqrt(H),
so that an isotropic cloud has variance 1 in every direction. A statistic over samples is no sum
over samples: its value depends on how a step is cut into micro-batches, and it needs at least two
samples in each. Both are weighted inside lambda's bracket.

    variance hinge   VICReg, arXiv 2105.04906, eq. 1: mean over H of max(0, 1 - std)
    SIGReg           LeJEPA, arXiv 2511.08544: Epps-Pulley statistic against N(0, 1) along random
                     directions; without its factor B, so that the value does not grow with B
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pearl_data.randomness import derived_seed
from pearl_train.objectives.base import Term
from pearl_train.settings.config import ObjectiveConfig

DIRECTIONS = 64
_LAST_T = 5.0
_KNOTS = 17


def keep_apart(
    embeddings: Sequence[Tensor], options: ObjectiveConfig, weight: float, step: int
) -> dict[str, Term]:
    """Terms ``variance`` and ``sigreg``, as far as they have a weight; means over ``embeddings``.

    A total is the statistic times B, in the unit ``samples``.
    """
    spread = [on_sphere(e) for e in embeddings if e.requires_grad and len(e) > 1]
    terms = {}
    for name, own, statistic in (
        ("variance", options.variance_hinge, variance_hinge),
        ("sigreg", options.sigreg, lambda e: sigreg(e, step)),
    ):
        if own and spread:
            value = torch.stack([statistic(e) for e in spread]).mean()
            terms[name] = Term(value * len(spread[0]), "samples", weight * own)
    return terms


def on_sphere(embeddings: Tensor) -> Tensor:
    """(B, H) in float32, each of length sqrt(H)."""
    return functional.normalize(embeddings.float(), dim=-1) * math.sqrt(embeddings.shape[-1])


def variance_hinge(embeddings: Tensor) -> Tensor:
    """How much the standard deviation over samples falls short of 1, mean over H."""
    deviation = (embeddings.var(dim=0) + 1e-4).sqrt()
    return functional.relu(1 - deviation).mean()


def sigreg(embeddings: Tensor, step: int) -> Tensor:
    """Mean over directions of the weighted squared distance of characteristic functions.

    Directions are drawn from ``step`` alone: the same in all micro-batches and processes.
    """
    generator = torch.Generator().manual_seed(derived_seed(step, "sigreg") >> 1)
    width = embeddings.shape[1]
    directions = torch.randn(width, DIRECTIONS, generator=generator).to(embeddings)
    along = embeddings @ functional.normalize(directions, dim=0)
    t = torch.linspace(-_LAST_T, _LAST_T, _KNOTS).to(embeddings)
    angles = along[:, :, None] * t
    normal = (-(t**2) / 2).exp()
    real, imaginary = angles.cos().mean(dim=0), angles.sin().mean(dim=0)
    apart = ((real - normal) ** 2 + imaginary**2) * normal
    return torch.trapezoid(apart, t, dim=-1).mean()
