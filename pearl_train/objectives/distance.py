"""D(h_hat_R, h_R): the distance of a predicted embedding from its target.

A function per name, from two (B, H) to (B,), in float32. Plain L2 is not among them: it trains
badly (LLM-JEPA: 2.2 % where cosine gives 71.5 %), as does InfoNCE at small batches (34 %).

Both sides are compared in one space: under an EMA teacher both are layer-normalised
(:func:`comparable`), under any other target neither is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor
from torch.nn import functional

from pearl_train.settings.config import TargetConfig


def comparable(predicted: Tensor, target: Tensor, options: TargetConfig) -> tuple[Tensor, Tensor]:
    """Both (B, H) in float32, in the space in which they are compared.

    With ``source = "ema"`` each is layer-normalised over H, without gain or bias: I-JEPA normalises
    the teacher's embedding, for a predictor that is free to learn that space. Here the network
    predicts with its own states, so the prediction takes the same step. A target that alone lost
    its mean over H could not be reached: cosine between the two stays below 1 at equal states.
    """
    predicted, target = predicted.float(), target.float()
    if options.source != "ema":
        return predicted, target
    shape = target.shape[-1:]
    return functional.layer_norm(predicted, shape), functional.layer_norm(target, shape)


def cosine(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - cosine similarity, 0 to 2: what the paper's release trained with."""
    return 1 - functional.cosine_similarity(predicted.float(), target.float(), dim=-1)


def smooth_l1(predicted: Tensor, target: Tensor) -> Tensor:
    """SmoothL1, mean over H: what the paper's text says."""
    each = functional.smooth_l1_loss(predicted.float(), target.float(), reduction="none")
    return each.mean(dim=-1)


DISTANCES: Mapping[Literal["cosine", "smooth-l1"], Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": cosine,
    "smooth-l1": smooth_l1,
}
