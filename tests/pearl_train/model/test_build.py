"""Building a backbone: what learns, in which type, and that checkpointing changes no gradient."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import FAMILIES
from tiny_rows import Row, packed
from torch import Tensor

from pearl_tools.errors import UsageError
from pearl_train.model.backbone import Backbone, Fills, language_model
from pearl_train.model.build import build_backbone
from pearl_train.settings.config import LoraConfig, ModelConfig

LORA = LoraConfig(rank=4, alpha=8, dropout=0.0)
ROWS = (
    Row("user {0}Which?\nassistant\n", ("Answer: red\n", "<|pred_1|><|pred_2|>")),
    Row("user {1:100x40}How many objects?\nassistant\n", ("two\n", "<|pred_1|><|pred_2|>")),
)

Build = Callable[..., Backbone]


@pytest.fixture
def build(tiny_folder: Callable[[str], Path]) -> Build:
    def build(family: str, **options: Any) -> Backbone:
        train_pred = options.pop("train_pred", True)
        config = ModelConfig(id=str(tiny_folder(family)), **options)
        return build_backbone(config, train_pred=train_pred)

    return build


def loss_of(backbone: Backbone, family: str) -> Tensor:
    """A scalar that every part of the network sways: features, states, logits."""
    pictured = packed(backbone.processor, family, ROWS)
    features = backbone.image_features(pictured.images, pictured.image_tokens)
    hidden = backbone.hidden(pictured.rows, features)
    real = hidden[pictured.rows.branch >= 0].float()
    return backbone.logits(real).float().square().mean() + real.abs().mean()


def move_adapters(backbone: Backbone) -> None:
    """Gives every trained weight a value of its own, as training would."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in backbone.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_learns_in_the_language_model_and_in_our_rows_only(family: str, build: Build) -> None:
    backbone = build(family, lora=LORA)
    prefix = language_model(build(family).plain)[0]
    loss_of(backbone, family).backward()
    learns = {name: w for name, w in backbone.network.named_parameters() if w.requires_grad}
    adapters = {name for name in learns if "lora_" in name}
    rows = set(learns) - adapters
    assert len(adapters) == 2 * 7 * 2  # A and B of seven linear layers in two blocks
    assert all(name.startswith(f"base_model.model.{prefix}.layers.") for name in adapters)
    assert all("trainable_tokens_delta" in name for name in rows)
    tied = backbone.plain.config.tie_word_embeddings
    assert len(rows) == (1 if tied else 2)
    embedding = next(learns[name] for name in rows if "embed_tokens" in name)
    used = [backbone.tokens.all.index(token) for token in backbone.tokens.pred[:2]]
    assert embedding.grad is not None
    assert bool(embedding.grad[used].any(dim=1).all())


@pytest.mark.parametrize("family", FAMILIES)
def test_base_weights_are_the_untouched_base(family: str, build: Build) -> None:
    plain, adapted = build(family), build(family, lora=LORA)
    with torch.no_grad():
        expected = loss_of(plain, family)
        assert torch.allclose(loss_of(adapted, family), expected, rtol=1e-6)  # B starts at zero
        with adapted.base_weights():
            before = loss_of(adapted, family)
        move_adapters(adapted)
        assert not torch.allclose(loss_of(adapted, family), expected, rtol=1e-4)
        with adapted.base_weights():
            assert torch.equal(loss_of(adapted, family), before)
        if adapted.plain.config.tie_word_embeddings:
            # another kernel may run under PEFT's head: its last bit differed with AVX-512
            assert torch.allclose(before, expected, rtol=1e-6)
        else:
            assert torch.equal(before, expected)
        assert not torch.allclose(loss_of(adapted, family), expected, rtol=1e-4)
    assert any(weight.requires_grad for weight in adapted.parameters())


def test_frozen_pred_rows_are_left_out_of_lora(build: Build) -> None:
    backbone = build("llava", lora=LORA, train_pred=False)
    layer: Any = backbone.plain.get_input_embeddings()
    trained = layer.token_adapter.token_indices["default"]
    assert trained == list(backbone.tokens.all[len(backbone.tokens.pred) :])
    assert not set(trained) & set(backbone.tokens.pred)


def test_frozen_logits_give_the_head_no_gradient_under_lora(build: Build) -> None:
    for family in ("llava", "fast_vlm"):  # untied and tied
        backbone = build(family, lora=LORA)
        states = torch.randn(2, backbone.hidden_size, requires_grad=True)
        logits = backbone.frozen_logits(states)
        assert torch.equal(logits, backbone.logits(states))
        logits.sum().backward()
        assert states.grad is not None
        assert all(weight.grad is None for weight in backbone.parameters())


def test_fills_work_through_trained_rows(build: Build) -> None:
    backbone = build("qwen3_vl", lora=LORA)
    pictured = packed(backbone.processor, "qwen3_vl", [Row("user Which?\n", ("A B",))])
    places = torch.tensor([0]), torch.tensor([2])
    values = torch.randn(1, backbone.hidden_size, requires_grad=True)
    hidden = backbone.hidden(pictured.rows, None, fills=Fills(*places, values))
    hidden[0, -1].sum().backward()
    assert values.grad is not None
    assert bool(values.grad.any())


def test_targets_that_match_nothing_are_refused(build: Build) -> None:
    with pytest.raises(UsageError, match=r"model\.lora\.targets: .*'q_proj' matches none"):
        build("llava", lora=LoraConfig(targets="q_proj"))
    with pytest.raises(UsageError, match=r"model\.lora\.targets: .*got '\('"):
        build("llava", lora=LoraConfig(targets="("))


def test_targets_can_be_chosen(build: Build) -> None:
    backbone = build("llava", lora=LoraConfig(targets=r"model\.language_model\..*\.[qv]_proj"))
    adapted = [name for name, _ in backbone.network.named_parameters() if "lora_A" in name]
    assert len(adapted) == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_vision_learns_nothing_and_the_rest_does(family: str, build: Build) -> None:
    backbone = build(family, freeze_vision=True)
    prefix = language_model(backbone.plain)[0]
    pictured = packed(backbone.processor, family, ROWS)
    features = backbone.image_features(pictured.images, pictured.image_tokens)
    assert not features.values.requires_grad
    learns = {name for name, w in backbone.network.named_parameters() if w.requires_grad}
    assert learns == {
        name
        for name, _ in backbone.network.named_parameters()
        if name.startswith((prefix, "lm_head"))
    }
    free = build(family)
    assert free.image_features(pictured.images, pictured.image_tokens).values.requires_grad


def test_frozen_vision_stays_in_evaluation_mode(build: Build) -> None:
    frozen, learning = (build("llava", freeze_vision=choice).train() for choice in (True, False))
    assert not frozen.plain.model.vision_tower.training
    assert frozen.plain.model.language_model.training
    assert learning.plain.model.vision_tower.training
    assert not build("llava", lora=LORA).train().plain.model.vision_tower.training


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_checkpointing_activations_changes_no_gradient(
    family: str, lora: LoraConfig | None, build: Build
) -> None:
    gradients = []
    for checkpointed in (False, True):
        backbone = build(family, lora=lora, checkpoint_activations=checkpointed).train()
        loss_of(backbone, family).backward()
        gradients.append([w.grad for w in backbone.parameters() if w.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 0
    assert all(map(torch.equal, *gradients))


def test_checkpointing_really_computes_layers_again(build: Build) -> None:
    calls = []
    backbone = build("qwen3_vl", checkpoint_activations=True).train()
    layer: Any = language_model(backbone.plain)[1]
    layer.layers[0].input_layernorm.register_forward_hook(lambda *_: calls.append(1))
    loss_of(backbone, "qwen3_vl").backward()
    assert len(calls) == 2


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_bfloat16_computes_in_half_and_keeps_what_learns_in_float32(
    family: str, lora: LoraConfig | None, build: Build
) -> None:
    backbone = build(family, lora=lora, dtype="bfloat16").train()
    seen: set[torch.dtype] = set()
    language: Any = language_model(backbone.plain)[1]
    for module in language.layers[1].mlp.modules():
        if type(module) is torch.nn.Linear:
            module.register_forward_hook(lambda *call: seen.add(call[2].dtype))
    loss = loss_of(backbone, family)
    loss.backward()
    assert seen == {torch.bfloat16}
    assert {w.dtype for w in backbone.parameters() if w.requires_grad} == {torch.float32}
    exact = loss_of(build(family, lora=lora), family)
    assert torch.allclose(loss, exact, rtol=0.05)


def test_a_target_without_gradient_costs_the_others_none_under_an_outer_autocast(
    build: Build,
) -> None:
    backbone = build("llava", dtype="bfloat16")
    gradients = []
    for target_first in (False, True):
        backbone.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            if target_first:
                with torch.no_grad():
                    loss_of(backbone, "llava")
            loss_of(backbone, "llava").backward()
        gradients.append([w.grad.clone() for w in backbone.parameters() if w.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 0
    assert all(map(torch.equal, *gradients))


def test_the_same_seed_builds_the_same_weights(build: Build) -> None:
    torch.manual_seed(1)
    first = build("qwen2_5_vl", lora=LORA)
    torch.manual_seed(2)
    second = build("qwen2_5_vl", lora=LORA)
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def test_a_copy_is_independent(build: Build) -> None:
    backbone = build("fast_vlm", lora=LORA)
    teacher = copy.deepcopy(backbone)
    move_adapters(backbone)
    with torch.no_grad():
        assert not torch.equal(loss_of(backbone, "fast_vlm"), loss_of(teacher, "fast_vlm"))
