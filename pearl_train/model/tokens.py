"""Tokens of ours in anyone's vocabulary: [PRED], pause and latent tokens, initialised by id.

All are always added, as many as can be asked for, whatever the objective: every row counts in the
softmax of L_VLM, so that a run and its control must have the same ones. Each new row is the mean of
the rows that the tokenizer uses plus noise of its own, as wide as those rows spread: the mean alone
(the default of transformers) makes all new tokens the same token, and noise of a fixed width is
loud in a small tied vocabulary (N(0, 1/sqrt(H)) made a fresh nano model answer with our tokens).
Not here: which of them learn (:mod:`pearl_train.model.lora`, :mod:`pearl_train.model.frozen_rows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pearl_data.randomness import derived_seed
from pearl_train.settings.config import MOST_TOKENS

LVR_START, LVR, LVR_END = "<|lvr_start|>", "<|lvr|>", "<|lvr_end|>"


class SpecialTokens(NamedTuple):
    """Ids of the tokens that the trainer adds."""

    pred: tuple[int, ...]
    """``<|pred_1|>`` ...: the tokens that turn the network into its own predictor."""
    pause: tuple[int, ...]
    """``<|pause_1|>`` ...: tokens to think on (a control)."""
    lvr_start: int
    lvr: int
    lvr_end: int

    @property
    def all(self) -> tuple[int, ...]:
        """Every id, in the order of the fields."""
        return (*self.pred, *self.pause, self.lvr_start, self.lvr, self.lvr_end)


def token_names(pred: int, pause: int) -> tuple[str, ...]:
    """The words of the tokens, in the order of :attr:`SpecialTokens.all`."""
    return (
        *(f"<|pred_{number}|>" for number in range(1, pred + 1)),
        *(f"<|pause_{number}|>" for number in range(1, pause + 1)),
        LVR_START,
        LVR,
        LVR_END,
    )


def add_special_tokens(
    network: Any,
    processor: Any,
    *,
    pred: int = MOST_TOKENS,
    pause: int = MOST_TOKENS,
    seed: int = 0,
) -> SpecialTokens:
    """Adds what is missing to the processor's tokenizer and to the network's rows.

    Rows of tokens that the vocabulary already had (an exported model of ours) stay as they are. The
    embedding grows only when an id lies beyond it: many networks have spare rows. A row depends on
    ``seed``, the token's name and the network's rows, not on how many tokens are added beside it.
    """
    tokenizer = processor.tokenizer
    names = token_names(pred, pause)
    known = tokenizer.get_vocab()
    used = len(tokenizer)
    new = [name for name in names if name not in known]
    if new:
        # add_special_tokens({...}) would replace the list that holds the image tokens.
        tokenizer.add_tokens(new, special_tokens=True)
    ids = dict(zip(names, tokenizer.convert_tokens_to_ids(list(names)), strict=True))
    needed = max(len(tokenizer), max(ids.values()) + 1)
    if needed > network.get_input_embeddings().weight.shape[0]:
        network.resize_token_embeddings(needed, mean_resizing=False)
    inputs, outputs = network.get_input_embeddings(), network.get_output_embeddings()
    weights = [inputs.weight]
    if outputs.weight is not inputs.weight:
        weights.append(outputs.weight)
    for place, weight in enumerate(weights):
        _initialise(weight, {name: ids[name] for name in new}, used, seed, place)
    return _named(ids, pred, pause)


def find_special_tokens(
    processor: Any, *, pred: int = MOST_TOKENS, pause: int = MOST_TOKENS
) -> SpecialTokens:
    """The ids of tokens that are already there; raises ``KeyError`` naming one that is not."""
    known = processor.tokenizer.get_vocab()
    return _named({name: known[name] for name in token_names(pred, pause)}, pred, pause)


def _named(ids: dict[str, int], pred: int, pause: int) -> SpecialTokens:
    values: Sequence[int] = tuple(ids[name] for name in token_names(pred, pause))
    start, latent, end = values[pred + pause :]
    return SpecialTokens(
        tuple(values[:pred]), tuple(values[pred : pred + pause]), start, latent, end
    )


@torch.no_grad()
def _initialise(weight: Tensor, ids: dict[str, int], used: int, seed: int, place: int) -> None:
    """Mean of the first ``used`` rows plus normal noise as wide as they spread around it, drawn per
    token in float32.
    """
    if not ids:
        return
    rows = weight[:used].float()
    mean = rows.mean(dim=0)
    spread = (rows - mean).square().mean().sqrt()
    for name, row in ids.items():
        generator = torch.Generator().manual_seed(derived_seed(seed, "row", place, name) >> 1)
        noise = torch.randn(weight.shape[1], generator=generator).to(mean.device)
        weight[row] = (mean + spread * noise).to(weight.dtype)
