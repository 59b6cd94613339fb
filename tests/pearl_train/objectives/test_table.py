"""The table: which views each objective asks for, and that each of them trains."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toy_objectives import loss_of, toy_batch, toy_sample, toy_train, toy_trainee

from pearl_tools.errors import UsageError
from pearl_train.objectives import OBJECTIVE_TABLE, needs, plan_views
from pearl_train.objectives.schedule import moment
from pearl_train.settings.config import (
    OBJECTIVES,
    Config,
    NextLatConfig,
    ObjectiveConfig,
    TargetConfig,
)
from pearl_train.settings.reads import READS
from pearl_train.training.gradient_norms import term_gradient_norms
from pearl_train.views.batch import ViewPlan
from pearl_train.views.collate import muted


def options(**fields: Any) -> ObjectiveConfig:
    return ObjectiveConfig(**fields)


def test_every_objective_of_the_configuration_has_a_row() -> None:
    assert set(OBJECTIVE_TABLE) == set(OBJECTIVES)


@pytest.mark.parametrize(
    ("given", "plan"),
    [
        ({"name": "sft"}, ViewPlan(("answer",))),
        ({"name": "sft", "pause_tokens": 4}, ViewPlan(("answer",), pause_tokens=4)),
        ({"name": "sft", "view": "trajectory"}, ViewPlan(("answer", "trajectory"))),
        ({"name": "sft", "view": "chat"}, ViewPlan(("trajectory",))),
        ({"name": "tools"}, ViewPlan(("trajectory",))),
        ({"name": "lvr"}, ViewPlan(("lvr",))),
        ({"name": "pearl"}, ViewPlan(("answer", "pred"), pred_tokens=4, target=True)),
        (
            {"name": "pearl", "view": "trajectory", "pred_tokens": 2},
            ViewPlan(("answer", "trajectory", "pred"), pred_tokens=2, target=True),
        ),
        ({"name": "pearl", "pred_tokens": 0}, ViewPlan(("answer",), target=True)),
        (
            {"name": "pearl", "pred_position": "end-of-question"},
            ViewPlan(("answer", "pred"), pred_tokens=4, target=True, pred_in_question=True),
        ),
        (
            {"name": "pearl", "pred_position": "end-of-question", "pred_tokens": 0},
            ViewPlan(("answer",), target=True),
        ),
        (
            {"name": "pearl", "target": TargetConfig(source="frozen-base")},
            ViewPlan(("answer", "pred"), pred_tokens=4),
        ),
        ({"name": "pearl", "weight": 0.0}, ViewPlan(("answer",))),
        (
            {"name": "pearl", "weight": 0.0, "target": TargetConfig(source="ema")},
            ViewPlan(("answer",)),
        ),
    ],
)
def test_only_views_that_are_needed_are_asked_for(given: dict[str, Any], plan: ViewPlan) -> None:
    assert plan_views(options(**given)) == plan


def test_options_of_other_objectives_are_not_read() -> None:
    """One configuration can be compared under every name."""
    other = {"pause_tokens": 4, "nextlat": NextLatConfig(), "target": TargetConfig(source="ema")}
    assert plan_views(options(name="lvr", **other)) == plan_views(options(name="lvr"))
    assert not needs(options(name="sft", **other))
    assert needs(options(name="pearl", **other)) == {"nextlat", "teacher"}


def test_nothing_is_kept_beside_the_network_with_lambda_0() -> None:
    given = options(weight=0.0, nextlat=NextLatConfig(), target=TargetConfig(source="ema"))
    assert not needs(given)


@pytest.mark.parametrize("source", ["ema", "frozen-base"])
def test_a_target_that_cannot_carry_gradient_is_not_asked_to(source: Any) -> None:
    given = options(stop_gradient=False, target=TargetConfig(source=source))
    with pytest.raises(
        UsageError, match=rf"objective.stop_gradient: .* got false.*{source}|{source}"
    ):
        toy_trainee(Config(objective=given))


class Noted:
    """Options that note which of them are read."""

    def __init__(self, options: ObjectiveConfig) -> None:
        self.options = options
        self.read: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self.options, name)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_table_of_options_says_what_each_objective_reads(name: Any) -> None:
    config = Config(objective=options(name=name, warmup=2, loss_dropout=0.5))
    noted: Any = Noted(config.objective)
    trainee = toy_trainee(config)
    trainee.options = noted
    OBJECTIVE_TABLE[name].needs(noted)
    plan = OBJECTIVE_TABLE[name].plan(noted)
    scheduled: Any = SimpleNamespace(objective=noted, seed=0) if name == "pearl" else config
    for step in range(8):
        trainee(toy_batch([toy_sample(0), toy_sample(1)], plan), moment(scheduled, step))
    while_built = {"pred"} if name == "pearl" else set()
    assert noted.read - {"name"} | while_built == READS[name]


@pytest.mark.parametrize(
    "given",
    [
        {"name": "sft"},
        {"name": "sft", "view": "trajectory", "pause_tokens": 2},
        {"name": "sft", "view": "chat"},
        {"name": "tools"},
        {"name": "lvr"},
        {"name": "pearl"},
        {"name": "pearl", "view": "trajectory", "nextlat": NextLatConfig(cross_entropy=1.0)},
        {"name": "pearl", "target": TargetConfig(source="ema", read="mean")},
        {"name": "pearl", "distance": "smooth-l1", "variance_hinge": 0.1, "sigreg": 0.1},
        {"name": "pearl", "pred_position": "end-of-question", "stop_gradient": False},
    ],
)
def test_every_objective_learns(given: dict[str, Any]) -> None:
    config = Config(objective=options(**given))
    losses = toy_train(toy_trainee(config), config, 30)
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])


@pytest.mark.parametrize("source", ["online", "ema", "frozen-base"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_batch_with_nobody_in_it_runs_and_adds_nothing(name: Any, source: Any) -> None:
    """What a process computes when nothing is left of its share, so that all do the same passes."""
    target = TargetConfig(source=source, read="mean")
    more = {"variance_hinge": 1.0, "nextlat": NextLatConfig(cross_entropy=1.0)}
    config = Config(objective=options(name=name, target=target, **more))
    trainee = toy_trainee(config)
    batch = muted(toy_batch([toy_sample(0), toy_sample(1)], plan_views(config.objective)))
    targets = torch.zeros(0, 1) if "cache" in needs(config.objective) else None
    terms = trainee(batch, moment(config, 0), targets)
    loss = torch.stack([term.total for term in terms.losses.values()]).sum()
    loss.backward()
    assert float(loss.detach()) == 0
    used = [p.grad for p in trainee.backbone.layers.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in used)
    term_gradient_norms(
        trainee(batch, moment(config, 0), targets), batch.counts, trainee.parameters()
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_micro_batches_add_up_exactly(name: Any) -> None:
    """Terms are sums: a step cut in two has the gradient of the whole."""
    config = Config(objective=options(name=name, view="trajectory", nextlat=NextLatConfig()))
    trainee = toy_trainee(config).eval()
    plan = plan_views(config.objective)
    samples = [toy_sample(number) for number in range(5)]
    whole = toy_batch(samples, plan)
    loss_of(trainee(whole, moment(config, 0)), whole.counts).backward()
    at_once = [p.grad for p in trainee.parameters()]
    trainee.zero_grad()
    for part in (samples[:1], samples[1:]):
        terms = trainee(toy_batch(part, plan), moment(config, 0))
        loss_of(terms, whole.counts).backward()
    for parameter, expected in zip(trainee.parameters(), at_once, strict=True):
        assert (parameter.grad is None) == (expected is None)
        if expected is not None:
            torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-7)
