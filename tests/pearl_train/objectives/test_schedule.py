"""lambda over the steps."""

from __future__ import annotations

import pytest

from pearl_train.objectives.schedule import moment
from pearl_train.settings.config import Config, ObjectiveConfig


def test_lambda_rises_linearly_and_is_never_0_in_warm_up() -> None:
    config = Config(objective=ObjectiveConfig(weight=0.4, warmup=4))
    weights = [moment(config, step).jepa_weight for step in range(6)]
    assert weights == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_loss_dropout_keeps_lambda_in_expectation() -> None:
    config = Config(objective=ObjectiveConfig(weight=0.2, loss_dropout=0.75))
    weights = [moment(config, step).jepa_weight for step in range(1, 4000)]
    assert set(weights) == {0.0, 0.8}
    assert sum(weights) / len(weights) == pytest.approx(0.2, rel=0.1)


def test_dropped_steps_follow_from_seed_and_step_alone() -> None:
    objective = ObjectiveConfig(loss_dropout=0.5)
    config = Config(seed=3, objective=objective)
    forward = [moment(config, step).jepa_weight for step in range(50)]
    backward = [moment(config, step).jepa_weight for step in reversed(range(50))]
    assert forward == backward[::-1]
    other = Config(seed=4, objective=objective)
    assert forward != [moment(other, step).jepa_weight for step in range(50)]


@pytest.mark.parametrize("seed", range(8))
def test_the_first_step_is_not_dropped_so_that_the_panel_sees_what_was_before(seed: int) -> None:
    config = Config(seed=seed, objective=ObjectiveConfig(weight=0.2, loss_dropout=0.9))
    assert moment(config, 0).jepa_weight == 0.2


def test_nextlat_is_not_dropped() -> None:
    config = Config(objective=ObjectiveConfig(weight=0.2, loss_dropout=0.9))
    assert {moment(config, step).nextlat_weight for step in range(20)} == {0.2}


def test_other_objectives_have_no_lambda() -> None:
    config = Config(objective=ObjectiveConfig(name="sft", weight=0.2))
    assert moment(config, 0).jepa_weight == moment(config, 0).nextlat_weight == 0
