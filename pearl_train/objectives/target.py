"""h_R: the embedding of the trajectory view, by the network that computes it.

    online        the network itself, without gradient (the paper)
    ema           its moving average
    frozen-base   the network before training: adapters off, or computed before the first step

A target must be deterministic: dropout is off while it is computed, in every module
of the network (:func:`without_dropout`), in training mode too. The LM head
does not run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from pearl_train.model.backbone import Backbone
from pearl_train.objectives.pictures import NONE, Encoded, read_rows
from pearl_train.settings.config import ObjectiveConfig, TargetConfig
from pearl_train.views.batch import PADDING, Batch, Rows


def embed_target(
    model: Backbone,
    batch: Batch,
    options: ObjectiveConfig,
    parts: nn.ModuleDict,
    context_pictures: Encoded = NONE,
) -> Tensor:
    """h_R (B, H) in float32, from ``batch.target``.

    ``context_pictures`` are those that ``model`` has encoded for the context: the online target
    reuses them. Carries gradient only where ``options.stop_gradient`` is False.
    """
    source = options.target.source
    if source == "ema":
        teacher = cast("Backbone", parts["teacher"])
        with torch.no_grad():
            return embed_rows(teacher, batch, options.target)
    if source == "frozen-base":
        with torch.no_grad(), model.base_weights():
            return embed_rows(model, batch, options.target)
    if not options.stop_gradient:
        return embed_rows(model, batch, options.target, context_pictures)
    with torch.no_grad():
        return embed_rows(model, batch, options.target, context_pictures.detach())


def embed_rows(
    model: Backbone, batch: Batch, options: TargetConfig, known: Encoded = NONE
) -> Tensor:
    """h_R (B, H) in float32, by ``model`` without dropout."""
    rows = batch.target
    if rows is None:
        raise ValueError("expected a batch with the target view, as pearl.plan asks for; got none")
    with without_dropout(model):
        hidden, _ = read_rows(model, batch, rows, known)
    return read_target(hidden, rows, options)


def read_target(hidden: Tensor, rows: Rows, options: TargetConfig) -> Tensor:
    """(B, H) in float32 from the states (B, L, H) of the target rows."""
    if options.read == "mean":
        row = rows.reads["last"].row
        real = (rows.branch[row] != PADDING)[:, :, None]
        return (hidden[row].float() * real).sum(dim=1) / real.sum(dim=1)
    place = rows.reads[options.read]
    return hidden[place.row, place.column].float()


@contextmanager
def without_dropout(module: nn.Module) -> Iterator[None]:
    """Inside, all of ``module`` is in evaluation mode; after, each part is in the mode it was in.

    Every module is switched, not only ``nn.Dropout``: attention and adapters drop by themselves
    when they train. Activation checkpointing, which would do nothing here, is off with it.
    """
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
