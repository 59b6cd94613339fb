"""What is kept beside the network: made without chance, saved, moved."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toy_objectives import ToyBackbone, toy_train, toy_trainee

from pearl_tools.errors import UsageError
from pearl_train.objectives.trainee import make_trainee, teacher_of
from pearl_train.settings.config import Config, NextLatConfig, ObjectiveConfig, TargetConfig


def configured(**fields: Any) -> Config:
    return Config(objective=ObjectiveConfig(**fields))


EMA = {"target": TargetConfig(source="ema", ema_decay=0.9)}


def test_parts_follow_from_the_seed_and_draw_nothing() -> None:
    config = configured(nextlat=NextLatConfig(), **EMA)
    before = torch.get_rng_state()
    first, second = toy_trainee(config), toy_trainee(config)
    assert torch.equal(before, torch.get_rng_state())
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


def test_the_teacher_starts_as_the_network_and_follows_it() -> None:
    config = configured(**EMA)
    trainee = toy_trainee(config)
    teacher = trainee.parts["teacher"].head.weight
    start = teacher.clone()
    assert torch.equal(start, trainee.backbone.head.weight)
    with torch.no_grad():
        trainee.backbone.head.weight += 1.0
    trainee.after_update()
    torch.testing.assert_close(teacher, start + 0.1)


def test_the_teacher_takes_no_gradient_and_no_optimizer_moves_it() -> None:
    trainee = toy_trainee(configured(**EMA))
    assert not any(p.requires_grad for p in trainee.parts["teacher"].parameters())
    toy_train(trainee, configured(**EMA), 2)
    student, teacher = trainee.backbone.head.weight, trainee.parts["teacher"].head.weight
    assert not torch.equal(student, teacher)


def test_a_saved_trainee_goes_on_where_it_was() -> None:
    config = configured(nextlat=NextLatConfig(), **EMA)
    trainee = toy_trainee(config)
    toy_train(trainee, config, 3)
    again = toy_trainee(config, seed=9)
    again.load_state_dict(trainee.state_dict())
    assert any(name.startswith("parts.teacher.") for name in trainee.state_dict())
    assert any(name.startswith("parts.nextlat.") for name in trainee.state_dict())
    assert toy_train(again, config, 3) == toy_train(trainee, config, 3)


def test_the_teacher_shares_what_is_frozen() -> None:
    backbone = ToyBackbone()
    backbone.requires_grad_(False)
    backbone.adapter.requires_grad_(True)
    teacher = teacher_of(backbone)
    assert teacher.head.weight is backbone.head.weight
    assert teacher.adapter.weight is not backbone.adapter.weight


def test_rows_of_a_sharded_matrix_are_not_promised_to_stay() -> None:
    config = Config(parallel="fsdp2", objective=ObjectiveConfig(pred="frozen"))
    with pytest.raises(UsageError, match=r'objective.pred: expected "trained" .*fsdp2'):
        make_trainee(ToyBackbone(), config)
