"""AdamW over what is trained, and a learning rate that follows from the step number alone."""

from __future__ import annotations

import math

import torch
from torch import nn

from pearl_tools.errors import UsageError
from pearl_train.settings.config import OptimConfig


def make_optimizer(trainee: nn.Module, options: OptimConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters of ``trainee``.

    Matrices decay, vectors (biases, norms) do not. Raises ``UsageError`` if nothing is trainable.
    """
    trained = [p for p in trainee.parameters() if p.requires_grad]
    if not trained:
        raise UsageError("expected something to train, got a model whose weights are all frozen")
    matrices = [p for p in trained if p.ndim >= 2]
    vectors = [p for p in trained if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": options.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=options.lr,
        betas=options.betas,
    )


def learning_rate(options: OptimConfig, step: int) -> float:
    """The rate of update ``step`` (from 0): linear warm-up, then a half cosine to 0, or constant.

    >>> learning_rate(OptimConfig(steps=100, warmup=0.1, lr=1.0), 4)
    0.5
    """
    warmup = round(options.warmup * options.steps)
    if step < warmup:
        return options.lr * (step + 1) / warmup
    if options.schedule == "constant":
        return options.lr
    share = (step - warmup) / max(options.steps - warmup, 1)
    return options.lr * 0.5 * (1 + math.cos(math.pi * share))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use ``rate`` for the next update."""
    for group in optimizer.param_groups:
        group["lr"] = rate
