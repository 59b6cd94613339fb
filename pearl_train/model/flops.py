"""Floating-point operations of a step, counted from shapes: what MFU and the cost tables divide by.

The language model is counted from its layers: two per weight and token, plus attention, in which
every token of a row meets every other, as the dense kernels compute it whatever the mask. Vision
parts are too different for one formula: theirs is measured once on real pictures, per image token.
Norms, activations and embeddings are left out, as is usual, and so is the recomputation of
checkpointed activations, as MFU leaves it out.

    cost = model_cost(backbone, batch.images, batch.image_tokens)
    forward = forward_flops(cost, rows=8, columns=900, logits=40, image_tokens=3000)
    mfu = training_flops(forward, weights_learn=True, vision_learns=False) / seconds / peak

Dimensions: B rows, L columns (tokens), M tokens whose logits are asked for, N image tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pearl_train.model.backbone import Backbone, language_model


class ModelCost(NamedTuple):
    """Forward FLOPs of a network's parts per unit."""

    token: int
    """Linear layers of the language model, adapters included, per token."""
    pair: int
    """Attention, over all layers and heads, per pair of tokens of a row."""
    logit: int
    """LM head, per token whose logits are asked for."""
    image_token: float
    """Vision encoder and projector, per image token."""


class Flops(NamedTuple):
    """FLOPs of one forward by part."""

    language: float
    vision: float

    @property
    def total(self) -> float:
        """Of the whole forward."""
        return self.language + self.vision


def model_cost(
    backbone: Backbone, images: Mapping[str, Tensor], image_tokens: Sequence[int]
) -> ModelCost:
    """What a network costs; runs its vision part once on ``images``, as in a batch."""
    plain = backbone.plain
    config = plain.config.get_text_config()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rows, hidden = plain.get_output_embeddings().weight.shape
    return ModelCost(
        token=2 * _linear_weights(language_model(plain)[1]),
        pair=4 * config.num_hidden_layers * config.num_attention_heads * width,
        logit=2 * rows * hidden,
        image_token=_vision_flops(backbone, images, image_tokens),
    )


def forward_flops(
    cost: ModelCost, *, rows: int, columns: int, logits: int = 0, image_tokens: int = 0
) -> Flops:
    """FLOPs of a forward over (B, L) tokens, M logits and N image tokens of distinct pictures."""
    language = rows * columns * (cost.token + columns * cost.pair) + logits * cost.logit
    return Flops(float(language), image_tokens * cost.image_token)


def training_flops(forward: Flops, *, weights_learn: bool, vision_learns: bool) -> float:
    """FLOPs of forward and backward: the backward costs as much once for what flows through and
    once for the weights. With LoRA (``weights_learn`` False) the second is left out.
    """
    return forward.language * (3 if weights_learn else 2) + forward.vision * (
        3 if vision_learns else 1
    )


def _linear_weights(module: nn.Module) -> int:
    return sum(part.weight.numel() for part in module.modules() if isinstance(part, nn.Linear))


@torch.no_grad()
def _vision_flops(
    backbone: Backbone, images: Mapping[str, Tensor], image_tokens: Sequence[int]
) -> float:
    if not image_tokens:
        return 0.0
    counter: Any = FlopCounterMode(display=False)
    with counter:
        backbone.image_features(images, image_tokens)
    return float(counter.get_total_flops()) / sum(image_tokens)
