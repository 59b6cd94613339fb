"""The samples of a batch, one by one, are what the batch holds."""

from __future__ import annotations

import pytest
import torch
from toy_objectives import toy_batch, toy_sample, toy_trainee

from pearl_train.objectives import plan_views
from pearl_train.objectives.schedule import moment
from pearl_train.settings.config import Config, ObjectiveConfig
from pearl_train.views.single import single


@pytest.mark.parametrize(
    "options",
    [
        ObjectiveConfig(name="pearl", view="trajectory"),
        ObjectiveConfig(name="sft", pause_tokens=2),
        ObjectiveConfig(name="lvr"),
        ObjectiveConfig(name="tools"),
    ],
)
def test_the_terms_of_all_are_the_sum_of_each_ones(options: ObjectiveConfig) -> None:
    config = Config(objective=options)
    batch = toy_batch([toy_sample(number) for number in range(4)], plan_views(options))
    trainee = toy_trainee(config).eval()
    with torch.no_grad():
        whole = trainee(batch, moment(config, 0)).losses
        alone = [trainee(single(batch, n), moment(config, 0)).losses for n in range(4)]
    assert single(batch, 2).keys == (batch.keys[2],)
    for name, term in whole.items():
        total = torch.stack([losses[name].total for losses in alone]).sum()
        torch.testing.assert_close(total, term.total, rtol=1e-5, atol=1e-5)
