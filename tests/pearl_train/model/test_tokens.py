"""Tokens of ours: distinct rows by explicit id, nothing else changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from tiny_models import FAMILIES
from transformers import AutoModelForImageTextToText, AutoProcessor

from pearl_train.model.tokens import add_special_tokens, find_special_tokens, token_names
from pearl_train.settings.config import MOST_TOKENS, Config
from pearl_train.training.assemble import build_trained


def loaded(folder: Path) -> tuple[Any, Any]:
    return (
        AutoModelForImageTextToText.from_pretrained(folder),
        AutoProcessor.from_pretrained(folder),
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_new_rows_are_distinct_near_the_mean_and_the_old_ones_untouched(
    family: str, tiny_folder: Callable[[str], Path]
) -> None:
    network, processor = loaded(tiny_folder(family))
    used = len(processor.tokenizer)
    before = network.get_input_embeddings().weight.detach().clone()
    image_token = processor.image_token_id
    tokens = add_special_tokens(network, processor, pred=4, pause=2)
    assert len(set(tokens.all)) == 9
    assert [processor.tokenizer.decode([i]) for i in tokens.all] == list(token_names(4, 2))
    for name, token_id in zip(token_names(4, 2), tokens.all, strict=True):
        assert processor.tokenizer(f"a{name}b")["input_ids"].count(token_id) == 1
    after = network.get_input_embeddings().weight.detach()
    assert torch.equal(after[:used], before[:used])
    rows = after[list(tokens.all)]
    mean = before[:used].mean(0)
    usual = float((before[:used] - mean).norm(dim=1).square().mean().sqrt())
    assert float(torch.pdist(rows).min()) > 0.7 * usual  # two independent draws: sqrt(2) times it
    assert float((rows - mean).norm(dim=1).max()) < 1.7 * usual
    assert processor.tokenizer.convert_tokens_to_ids(processor.image_token) == image_token


@pytest.mark.parametrize(("family", "grows"), [("qwen2_5_vl", False), ("llava", True)])
def test_the_embedding_grows_only_when_an_id_lies_beyond_it(
    family: str, grows: bool, tiny_folder: Callable[[str], Path]
) -> None:
    network, processor = loaded(tiny_folder(family))
    rows = network.get_input_embeddings().weight.shape[0]
    tokens = add_special_tokens(network, processor)
    now = network.get_input_embeddings().weight.shape[0]
    assert now == (max(tokens.all) + 1 if grows else rows)
    assert network.get_output_embeddings().weight.shape[0] == now
    assert network.config.get_text_config().vocab_size == now


def test_a_tied_head_stays_tied_and_an_untied_one_gets_rows_of_its_own(
    tiny_folder: Callable[[str], Path],
) -> None:
    for family, tied in (("fast_vlm", True), ("llava", False)):
        network, processor = loaded(tiny_folder(family))
        ids = list(add_special_tokens(network, processor).all)
        inputs, outputs = network.get_input_embeddings(), network.get_output_embeddings()
        assert (inputs.weight is outputs.weight) is tied
        assert torch.equal(inputs.weight[ids], outputs.weight[ids]) is tied
        assert float(torch.pdist(outputs.weight[ids].detach()).min()) > 0.5


def test_a_token_starts_the_same_however_many_stand_beside_it(
    tiny_folder: Callable[[str], Path],
) -> None:
    rows = []
    for pred in (4, 8):
        network, processor = loaded(tiny_folder("llava"))
        tokens = add_special_tokens(network, processor, pred=pred, seed=3)
        rows.append(network.get_input_embeddings().weight[[tokens.pred[0], tokens.lvr]])
    assert torch.equal(*rows)


def test_known_tokens_keep_their_rows(tiny_folder: Callable[[str], Path]) -> None:
    network, processor = loaded(tiny_folder("llava"))
    first = add_special_tokens(network, processor)
    with torch.no_grad():
        network.get_input_embeddings().weight[first.pred[0]] = 7
    assert add_special_tokens(network, processor) == first == find_special_tokens(processor)
    assert bool((network.get_input_embeddings().weight[first.pred[0]] == 7).all())


def test_a_run_and_its_control_have_the_same_rows_whatever_they_ask_for() -> None:
    """Every row counts in the softmax of L_VLM."""
    asked = [{"pred_tokens": 16}, {"pred_tokens": 1}, {"name": "sft", "pause_tokens": 9}]
    built = [build_trained(msgspec.convert({"objective": one}, Config)) for one in asked]
    first = built[0]
    assert len(first.tokens.pred) == len(first.tokens.pause) == MOST_TOKENS
    for other in built[1:]:
        assert other.tokens == first.tokens
        rows = [one.network.get_input_embeddings().weight for one in (other, first)]
        assert torch.equal(*rows)
