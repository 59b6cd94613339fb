"""Pearl's promises: its control, its gradients, and what it does not compute."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_objectives import (
    HIDDEN,
    TOKENS,
    ToyBackbone,
    loss_of,
    toy_batch,
    toy_sample,
    toy_train,
    toy_trainee,
)

from pearl_train.objectives import plan_views
from pearl_train.objectives.base import Moment
from pearl_train.objectives.schedule import moment
from pearl_train.objectives.target import embed_target
from pearl_train.settings.config import Config, NextLatConfig, ObjectiveConfig, TargetConfig
from pearl_train.views.batch import Batch


def configured(**fields: Any) -> Config:
    return Config(objective=ObjectiveConfig(**fields))


def batch_for(config: Config, samples: int = 4, **changes: Any) -> Batch:
    made = [replace(toy_sample(number), **changes) for number in range(samples)]
    return toy_batch(made, plan_views(config.objective))


def backward(trainee: Any, batch: Batch, config: Config) -> dict[str, Tensor]:
    loss_of(trainee(batch, moment(config, 0)), batch.counts).backward()
    return {n: p.grad for n, p in trainee.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"view": "trajectory"},
        {"view": "chat"},
        {"target": TargetConfig(source="ema"), "nextlat": NextLatConfig(), "pred": "frozen"},
    ],
)
def test_with_lambda_0_pearl_is_its_control_bit_for_bit(given: dict[str, Any]) -> None:
    pearl = configured(name="pearl", weight=0.0, **given)
    sft = configured(name="sft", weight=0.0, **given)
    first, second = toy_trainee(pearl), toy_trainee(sft)
    assert toy_train(first, pearl, 8) == toy_train(second, sft, 8)
    states = first.state_dict(), second.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_pred_tokens_are_invisible_to_the_answer() -> None:
    """At the same weights L_VLM is the same with [PRED] tokens in the row as without."""
    pearl, sft = configured(name="pearl"), configured(name="sft")
    backbone = toy_trainee(pearl).eval()
    seen = backbone(batch_for(pearl), moment(pearl, 0)).losses["vlm"].total
    alone = toy_trainee(sft).eval()(batch_for(sft), moment(sft, 0)).losses["vlm"].total
    torch.testing.assert_close(seen, alone)


def test_trained_pred_rows_get_a_gradient() -> None:
    config = configured()
    gradients = backward(toy_trainee(config), batch_for(config), config)
    rows = gradients["backbone.embedding.weight"][list(TOKENS.pred)]
    assert (rows.norm(dim=1) > 0).all()


def test_frozen_pred_rows_get_none_and_stay() -> None:
    config = configured(pred="frozen")
    trainee = toy_trainee(config)
    gradients = backward(trainee, batch_for(config), config)
    embedding = gradients["backbone.embedding.weight"]
    assert not embedding[list(TOKENS.pred)].any()
    assert embedding.any()
    before = trainee.backbone.embedding.weight[list(TOKENS.pred)].clone()
    trainee.zero_grad()
    toy_train(trainee, config, 3)  # its AdamW decays weights
    assert torch.equal(trainee.backbone.embedding.weight[list(TOKENS.pred)], before)


def test_with_k_0_the_prediction_is_read_where_the_context_ends() -> None:
    config = configured(pred_tokens=0)
    batch = batch_for(config)
    terms = toy_trainee(config)(batch, moment(config, 0))
    assert "jepa" in terms.losses
    ends = (batch.context.branch == 0).sum(dim=1) - 1
    assert torch.equal(batch.context.reads["last-pred"].column, ends)


def test_the_release_s_reading_place_sees_no_more_than_the_question() -> None:
    config = configured(pred_position="end-of-question")
    trainee = toy_trainee(config).eval()
    batch = batch_for(config)
    views = trainee(batch, moment(config, 0)).views
    hidden = trainee.backbone.hidden(
        batch.context, trainee.backbone.image_features(batch.images, batch.image_tokens)
    )
    place = batch.context.reads["end-of-question"]
    torch.testing.assert_close(views.predicted, hidden[place.row, place.column])


def test_the_target_carries_no_gradient() -> None:
    """What only R shows (its words and its picture) moves nothing."""
    config = configured(weight=5.0)
    trainee = toy_trainee(config)
    word = 47  # in R only
    target = (*toy_sample(0).target[:-1], word)
    batch = batch_for(config, question=(1, 12, 13), answer=(14, 15), target=target)
    gradients = backward(trainee, batch, config)
    assert not gradients["backbone.embedding.weight"][word].any()
    trainee.zero_grad()
    both = configured(weight=5.0, stop_gradient=False)
    gradients = backward(toy_trainee(both), batch, both)
    assert gradients["backbone.embedding.weight"][word].any()


def test_the_target_is_made_without_dropout_and_leaves_modes_as_they_were() -> None:
    config = configured()
    trainee = toy_trainee(config)
    trainee.backbone.layers[1].dropout.eval()
    modes = [module.training for module in trainee.modules()]
    batch = batch_for(config)
    torch.manual_seed(0)
    first = trainee(batch, moment(config, 0)).views
    torch.manual_seed(1)
    second = trainee(batch, moment(config, 0)).views
    assert torch.equal(first.target, second.target)
    assert not torch.equal(first.predicted, second.predicted)
    assert modes == [module.training for module in trainee.modules()]


def test_the_target_draws_no_random_numbers() -> None:
    """So the context's dropout is the same with an online target as with a cached one."""
    config = configured()
    trainee = toy_trainee(config)
    batch = batch_for(config)
    before = torch.get_rng_state()
    embed_target(trainee.backbone, batch, config.objective, trainee.parts)
    assert torch.equal(before, torch.get_rng_state())


def test_the_frozen_base_is_the_network_without_adapters() -> None:
    config = configured(target=TargetConfig(source="frozen-base"))
    online = configured()
    backbone = ToyBackbone()
    batch = batch_for(online)
    base = embed_target(backbone, batch, online.objective, torch.nn.ModuleDict())
    torch.nn.init.normal_(backbone.adapter.weight)
    frozen = embed_target(backbone, batch, config.objective, torch.nn.ModuleDict())
    moved = embed_target(backbone, batch, online.objective, torch.nn.ModuleDict())
    assert torch.equal(frozen, base)
    assert not torch.allclose(moved, base)


def test_reading_places_differ_and_the_mean_ignores_padding() -> None:
    batch = batch_for(configured())
    backbone = ToyBackbone().eval()
    found = {}
    for read in ("last", "before-conclusion", "mean"):
        options = configured(target=TargetConfig(read=read)).objective
        found[read] = embed_target(backbone, batch, options, torch.nn.ModuleDict())
    assert not torch.allclose(found["last"], found["before-conclusion"])
    alone = toy_batch([toy_sample(0)], plan_views(configured().objective))
    mean = embed_target(
        backbone,
        alone,
        configured(target=TargetConfig(read="mean")).objective,
        torch.nn.ModuleDict(),
    )
    torch.testing.assert_close(mean[0], found["mean"][0])
    assert mean.shape == (1, HIDDEN)


def test_wrong_steps_are_read_and_not_learned() -> None:
    """Their tokens are no labels: changing how they are labelled changes no term."""
    config = configured(name="tools")
    wrong = batch_for(config, wrong=(0, 1))
    clean = batch_for(config)
    terms = [toy_trainee(config).eval()(b, moment(config, 0)) for b in (wrong, clean)]
    assert wrong.counts["trajectory"] == clean.counts["trajectory"] - 8
    assert terms[0].losses["vlm"].total < terms[1].losses["vlm"].total


class TestCost:
    """What is not computed."""

    def test_the_target_runs_without_gradient_and_without_the_lm_head(self) -> None:
        config = configured()
        trainee = toy_trainee(config)
        batch = batch_for(config)
        trainee(batch, moment(config, 0))
        assert trainee.backbone.rows_read == [
            (tuple(batch.context.ids.shape), True),
            (tuple(batch.target.ids.shape), False),
        ]
        assert trainee.backbone.logits_made == batch.counts["answer"]

    def test_pictures_of_the_trajectory_are_encoded_without_gradient(self) -> None:
        config = configured()
        trainee = toy_trainee(config)
        trainee(batch_for(config, samples=4), moment(config, 0))
        assert trainee.backbone.pictures_encoded == [(4, True), (4, False)]

    def test_pictures_that_both_views_show_are_encoded_once(self) -> None:
        config = configured(view="trajectory")
        trainee = toy_trainee(config)
        trainee(batch_for(config, samples=4), moment(config, 0))
        assert trainee.backbone.pictures_encoded == [(8, True)]

    def test_a_dropped_step_runs_no_extra_view(self) -> None:
        config = configured(nextlat=NextLatConfig())
        trainee = toy_trainee(config)
        dropped = Moment(step=0, jepa_weight=0.0, nextlat_weight=0.2)
        terms = trainee(batch_for(config), dropped)
        control = batch_for(configured(name="sft"))
        assert set(terms.losses) == {"vlm", "nextlat"}
        assert terms.views is None
        assert trainee.backbone.rows_read == [(tuple(control.context.ids.shape), True)]
        assert trainee.backbone.pictures_encoded == [(4, True)]

    def test_a_cached_target_runs_no_extra_view(self) -> None:
        cached = configured(target=TargetConfig(source="frozen-base"))
        trainee = toy_trainee(cached)
        batch = batch_for(cached)
        assert batch.target is None
        terms = trainee(batch, moment(cached, 0), torch.randn(4, HIDDEN))
        assert len(trainee.backbone.rows_read) == 1
        assert trainee.backbone.pictures_encoded == [(4, True)]
        assert float(terms.losses["jepa"].total.detach()) > 0

    def test_a_dropped_step_computes_what_its_control_does(self) -> None:
        """Rows freed of [PRED] tokens are the control's rows, so even dropout falls alike."""
        config, control = configured(), configured(name="sft")
        dropped = Moment(step=0, jepa_weight=0.0)
        torch.manual_seed(5)
        freed = toy_trainee(config)(batch_for(config), dropped).losses["vlm"].total
        torch.manual_seed(5)
        plain = toy_trainee(control)(batch_for(control), dropped).losses["vlm"].total
        assert torch.equal(freed, plain)


@pytest.mark.parametrize("distance", ["cosine", "smooth-l1"])
@pytest.mark.parametrize("source", ["online", "ema"])
@pytest.mark.parametrize("read", ["last", "mean"])
def test_a_prediction_that_equals_its_target_is_at_no_distance(
    monkeypatch: pytest.MonkeyPatch, source: Any, distance: Any, read: Any
) -> None:
    """A target layer-normalised by itself would be out of reach: states have a mean over H."""
    config = configured(distance=distance, target=TargetConfig(source=source, read=read))
    trainee = toy_trainee(config).eval()
    batch = batch_for(config)
    states = torch.randn(4, HIDDEN) * 3 + 2

    monkeypatch.setattr("pearl_train.objectives.pearl.predict", lambda *_: states)
    monkeypatch.setattr("pearl_train.objectives.target.embed_rows", lambda *_: states.clone())
    terms = trainee(batch, moment(config, 0))
    assert float(terms.losses["jepa"].total) == pytest.approx(0, abs=1e-5)
    normal = torch.nn.functional.layer_norm(states, (HIDDEN,)) if source == "ema" else states
    torch.testing.assert_close(terms.views.predicted, normal)
    torch.testing.assert_close(terms.views.target, normal)
