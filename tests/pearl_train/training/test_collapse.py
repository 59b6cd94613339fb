"""The panel's figures, and that it catches a collapse which L_JEPA and L_VLM hide."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toy_objectives import loss_of, toy_batch, toy_sample, toy_train, toy_trainee

from pearl_train.objectives import plan_views
from pearl_train.objectives.base import Terms, Views
from pearl_train.objectives.schedule import moment
from pearl_train.settings.config import Config, NextLatConfig, ObjectiveConfig, TargetConfig
from pearl_train.training.collapse import (
    FEWEST,
    SPAN,
    Panel,
    Reading,
    judge,
    measure,
)
from pearl_train.training.gradient_norms import term_gradient_norms

OPTIONS = ObjectiveConfig()


def views(count: int, *, step: int = 0, spread: float = 1.0, first_key: int = 0) -> Terms:
    generator = torch.Generator().manual_seed(count + step)
    centre = torch.ones(1, 32)
    target = centre + spread * torch.randn(count, 32, generator=generator)
    keys = tuple(f"k{first_key + number}" for number in range(count))
    return Terms({}, Views(target.clone(), target, keys, step))


def test_figures_of_a_spread_cloud_and_of_a_point() -> None:
    generator = torch.Generator().manual_seed(0)
    cloud = torch.randn(200, 16, generator=generator)
    spread = measure(cloud, cloud)
    assert spread.target_std == pytest.approx(1.0, abs=0.05)
    assert spread.effective_rank > 14
    assert abs(spread.cosine) < 0.02
    assert spread.retrieval == 1.0
    point = measure(cloud, torch.ones(200, 16))
    assert point.target_std == pytest.approx(0.0, abs=1e-6)
    assert point.cosine == pytest.approx(1.0)
    assert point.retrieval == pytest.approx(point.chance)


def test_equal_targets_share_the_point() -> None:
    target = torch.eye(4)[[0, 0, 1, 2]]
    assert measure(target, target).retrieval == pytest.approx((0.5 + 0.5 + 1 + 1) / 4)


def test_small_batches_are_gathered_and_stale_or_repeated_views_dropped() -> None:
    panel = Panel(OPTIONS, capacity=6)
    panel.see(views(2, step=0))
    assert panel.read() is None
    panel.see(views(2, step=1, first_key=2))
    assert panel.read().samples == FEWEST
    panel.see(views(2, step=2, first_key=0))
    assert panel.read().samples == 4
    panel.see(views(4, step=3, first_key=10))
    assert panel.read().samples == 6
    panel.see(views(2, step=3 + SPAN, first_key=20))
    assert panel.read() is None


def test_a_sample_that_a_batch_holds_more_than_once_counts_once() -> None:
    once = views(5)
    assert once.views is not None
    places = [0, 1, 2, 0, 3, 4, 0]
    again = Terms({}, Views(*(view[places] for view in (once.views.predicted, once.views.target)),
                            tuple(once.views.keys[n] for n in places), 0))  # fmt: skip
    plain, repeated = Panel(OPTIONS), Panel(OPTIONS)
    plain.see(once)
    repeated.see(again)
    first, second = plain.read(), repeated.read()
    assert second is not None
    assert second.samples == 5
    for name in ("target_std", "cosine", "retrieval", "effective_rank"):
        assert getattr(second, name) == pytest.approx(getattr(first, name))
    one = Panel(OPTIONS)
    one.see(Terms({}, Views(once.views.predicted[[0] * 8], once.views.target[[0] * 8],
                            ("k0",) * 8, 0)))  # fmt: skip
    assert one.read() is None


def test_too_few_samples_are_told_once_with_what_to_do() -> None:
    panel = Panel(ObjectiveConfig(loss_dropout=0.5))
    for step, told in enumerate(["expected at least 4 different samples", "", ""]):
        panel.see(views(FEWEST - 1, step=step))
        values, warning = panel.report()
        assert told in warning
        assert bool(told) == ("raise optim.batch or lower objective.loss_dropout" in warning)
        assert not panel.collapsed
        assert values == {}


def test_steps_without_a_target_change_nothing() -> None:
    panel = Panel(OPTIONS)
    panel.see(Terms({}))
    assert panel.report() == ({}, "")


def test_a_restored_panel_says_the_same() -> None:
    panel = Panel(OPTIONS)
    panel.see(views(8))
    panel.read()
    tensors, state = panel.state()
    again = Panel(OPTIONS)
    again.restore(tensors, state)
    for one in (panel, again):
        one.see(views(8, step=1, first_key=4))
    assert panel.report() == again.report()
    empty = Panel(OPTIONS)
    empty.restore(*Panel(OPTIONS).state())
    assert empty.read() is None


def reading(std: float, retrieval: float = 0.5) -> Reading:
    return Reading(16, std, std, 4.0, 1 - std**2, retrieval)


@pytest.mark.parametrize(
    ("given", "remedies"),
    [
        ({"stop_gradient": False}, ["objective.stop_gradient = true"]),
        ({}, ['source = "frozen-base"', 'source = "ema"', "variance_hinge", "sigreg"]),
        ({"target": TargetConfig(source="ema")}, ['source = "frozen-base"', "variance_hinge"]),
        ({"target": TargetConfig(source="frozen-base")}, ['"before-conclusion" or "mean"']),
    ],
)
def test_a_collapse_names_the_remedies_not_yet_in_use(
    given: dict[str, Any], remedies: list[str]
) -> None:
    verdict = judge(reading(0.008), ObjectiveConfig(**given), first=reading(0.6))
    assert verdict.level == "collapsed"
    assert "target std 0.008" in verdict.text
    for remedy in remedies:
        assert remedy in verdict.text


def test_targets_alike_from_the_start_are_told_apart_from_a_collapse() -> None:
    verdict = judge(reading(0.03), OPTIONS, first=reading(0.03))
    assert "alike before training" in verdict.text


def test_healthy_runs_are_left_alone_and_a_fall_is_noticed() -> None:
    for std in (0.23, 0.66):
        assert judge(reading(std), OPTIONS, first=reading(0.66)).level == "healthy"
    assert judge(reading(0.1), OPTIONS, first=reading(0.66)).level == "narrow"
    assert judge(reading(0.1), OPTIONS, first=reading(0.12)).level == "healthy"


def watched_run(**fields: Any) -> Panel:
    config = Config(objective=ObjectiveConfig(**fields))
    panel = Panel(config.objective)
    toy_train(toy_trainee(config), config, 120, samples=16, panel=panel)
    return panel


def test_a_provoked_collapse_is_caught_and_the_default_is_not_flagged() -> None:
    """Effective rank would not have told them apart."""
    collapsed = watched_run(stop_gradient=False, weight=200.0)
    lost, warning = collapsed.report()
    assert collapsed.first.target_std > 0.2
    assert lost["target_std"] < 0.05
    assert warning.startswith("the targets have collapsed")
    assert "objective.stop_gradient = true" in warning
    kept, warning = watched_run().report()
    assert kept["target_std"] > 0.2
    assert warning == ""
    assert lost["effective_rank"] > 0.8 * kept["effective_rank"]


def test_each_level_is_told_once_and_only_a_collapse_is_one() -> None:
    panel = Panel(OPTIONS)
    told = []
    for step, spread in enumerate([1.0, 0.1, 0.1, 0.01, 0.01]):
        panel.see(views(16, step=100 * step, spread=spread))
        told.append((panel.report()[1][:15], panel.collapsed))
    assert told == [
        ("", False),
        ("the targets are", False),
        ("", False),
        ("the targets hav", True),
        ("", True),
    ]


def test_a_collapse_is_told_again_to_whoever_resumes() -> None:
    panel = Panel(OPTIONS)
    for step, spread in enumerate([1.0, 0.01]):
        panel.see(views(16, step=100 * step, spread=spread))
        panel.report()
    again = Panel(OPTIONS)
    again.restore(*panel.state())
    for one in (panel, again):
        one.see(views(16, step=200, spread=0.01))
    assert panel.report()[1] == ""
    assert again.report()[1].startswith("the targets have collapsed")
    assert again.collapsed


def test_half_a_collapse_is_told_before_it_is_whole() -> None:
    _, warning = watched_run(stop_gradient=False, weight=20.0, nextlat=None).report()
    assert warning.startswith("the targets are growing alike")


def test_gradient_norms_are_those_of_separate_backward_passes() -> None:
    config = Config(objective=ObjectiveConfig(nextlat=NextLatConfig()))
    trainee = toy_trainee(config).eval()
    batch = toy_batch([toy_sample(n) for n in range(4)], plan_views(config.objective))
    terms = trainee(batch, moment(config, 0))
    norms = term_gradient_norms(terms, batch.counts, trainee.parameters())
    assert set(norms) == {"vlm", "jepa", "nextlat"}
    assert all(p.grad is None for p in trainee.parameters())
    loss_of(terms, batch.counts).backward()  # the graph is still there
    for name in norms:
        trainee.zero_grad()
        fresh = trainee(batch, moment(config, 0)).losses[name]
        (fresh.weight * fresh.total / batch.counts[fresh.unit]).backward()
        whole = torch.cat([p.grad.flatten() for p in trainee.parameters() if p.grad is not None])
        assert norms[name] == pytest.approx(float(whole.norm()), rel=1e-5)


def test_looking_changes_nothing_of_the_training() -> None:
    config = Config(objective=ObjectiveConfig())
    plain = toy_train(toy_trainee(config), config, 5)
    trainee, panel = toy_trainee(config), Panel(config.objective)
    forward = trainee.forward

    def watched(batch: Any, *arguments: Any) -> Terms:
        terms = forward(batch, *arguments)
        panel.look(terms, batch.counts, list(trainee.parameters()))
        panel.see(terms)
        return terms

    trainee.forward = watched  # type: ignore[method-assign]
    assert toy_train(trainee, config, 5) == plain
    assert set(panel.report()[0]) >= {"gradient/vlm", "gradient/jepa", "retrieval"}
