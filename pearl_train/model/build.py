"""From ``[model]`` of a configuration to a :class:`Backbone` ready to train.

load -> our tokens -> freeze vision -> LoRA -> activation checkpointing. Same seed, same weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pearl_train.model.backbone import Backbone, language_model
from pearl_train.model.load import load_model
from pearl_train.model.lora import add_lora
from pearl_train.model.tokens import add_special_tokens
from pearl_train.settings.config import ModelConfig
from pearl_train.views.pictures import limit_pixels


def build_backbone(
    config: ModelConfig,
    *,
    train_pred: bool = True,
    by_length: bool = True,
    seed: int = 0,
) -> Backbone:
    """The network of ``config`` with our tokens added, on the CPU, in evaluation mode.

    ``dtype`` bfloat16 means: computed under autocast. With full fine-tuning the weights stay
    float32; with LoRA the frozen base is bfloat16 and the adapters float32. The backbone enters
    autocast itself, so the loop need not.

    ``train_pred`` False leaves the [PRED] rows out of what LoRA trains; with full fine-tuning the
    loop holds them with :func:`pearl_train.model.frozen_rows.freeze_rows`. ``by_length`` as in
    :class:`pearl_train.model.backbone.Backbone`.
    """
    network, processor = load_model(config)
    return made_ready(
        network, processor, config, train_pred=train_pred, by_length=by_length, seed=seed
    )


def made_ready(
    network: nn.Module,
    processor: Any,
    config: ModelConfig,
    *,
    train_pred: bool = True,
    by_length: bool = True,
    seed: int = 0,
) -> Backbone:
    """What :func:`build_backbone` makes of a network and a processor that are there already; both
    are changed in place.
    """
    plain: Any = network
    tokens = add_special_tokens(plain, processor, seed=seed)
    if config.max_pixels is not None:
        limit_pixels(processor, config.max_pixels)
    if config.freeze_vision:
        freeze_vision(plain)
    if config.lora is not None:
        rows = tokens.all if train_pred else tokens.all[len(tokens.pred) :]
        network = add_lora(plain, config.lora, rows, seed=seed)
    if config.checkpoint_activations:
        checkpoint_activations(plain)
    autocast = torch.bfloat16 if config.dtype == "bfloat16" else None
    return Backbone(network.eval(), processor, tokens, autocast=autocast, by_length=by_length)


def freeze_vision(plain: Any) -> None:
    """Freezes everything that only pictures pass: the encoder and the projector behind it."""
    language = {id(parameter) for parameter in language_model(plain)[1].parameters()}
    for parameter in plain.model.parameters():
        if id(parameter) not in language:
            parameter.requires_grad_(False)


def checkpoint_activations(plain: nn.Module) -> None:
    """Keeps only each layer's input while training and computes the rest again in backward."""
    network: Any = plain
    enable = getattr(network, "activation_checkpointing_enable", None)
    (enable or network.gradient_checkpointing_enable)({"use_reentrant": False})
