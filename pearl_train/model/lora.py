"""Low-rank adapters on the language model, with rows for the tokens that are ours.

The vision part gets none, however its layers are called: names such as ``q_proj`` occur in both.
The added tokens learn as rows of their own (peft's ``trainable_token_indices``), in the embedding
and, where it is not the same matrix, in the LM head; everything else is frozen. peft writes these
rows into a copy of the matrix in each forward: about a gigabyte for a moment at 150,000 x 3,584.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pearl_tools.errors import UsageError
from pearl_train.model.backbone import language_model
from pearl_train.settings.config import LoraConfig


def add_lora(network: Any, config: LoraConfig, rows: Sequence[int], *, seed: int = 0) -> nn.Module:
    """The network with adapters inside (its layers are replaced in place), wrapped by peft.

    ``rows`` are the token ids whose embeddings learn. Adapters are float32, whatever the base is,
    and begin as no change. Raises ``UsageError`` where ``config.targets`` is no regular
    expression or matches no linear layer.
    """
    import peft

    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    targets = config.targets or language_targets(network)
    try:
        matched = [name for name in linear if re.fullmatch(targets, name)]
    except re.error as error:
        raise UsageError(
            f"model.lora.targets: expected a regular expression, got {targets!r}: {error}"
        ) from error
    if not matched:
        raise UsageError(
            f"model.lora.targets: expected a regular expression that matches whole names of linear "
            f"layers, such as {linear[-2]!r}; {targets!r} matches none of {len(linear)}"
        )
    options = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=targets,
        trainable_token_indices=_row_layers(network, rows) if rows else None,
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
        torch.manual_seed(seed)
        return peft.get_peft_model(network, options)


def language_targets(network: Any) -> str:
    """A regular expression for every linear layer of the language model, and nothing else."""
    prefix, module = language_model(network)
    leaves = {
        name.rpartition(".")[2]
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear)
    }
    return rf"{re.escape(prefix)}\..*\.({'|'.join(sorted(leaves))})"


def _row_layers(network: Any, rows: Sequence[int]) -> dict[str, list[int]]:
    names = {id(module): name for name, module in network.named_modules()}
    inputs, outputs = network.get_input_embeddings(), network.get_output_embeddings()
    layers = {names[id(inputs)]: list(rows)}
    if outputs.weight is not inputs.weight:
        layers[names[id(outputs)]] = list(rows)
    return layers
