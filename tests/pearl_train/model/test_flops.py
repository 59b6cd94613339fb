"""FLOPs counted from shapes equal those that torch counts as they are executed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import FAMILIES
from tiny_rows import Row, packed
from torch.utils.flop_counter import FlopCounterMode

from pearl_train.model.build import build_backbone
from pearl_train.model.flops import Flops, forward_flops, model_cost, training_flops
from pearl_train.settings.config import LoraConfig, ModelConfig

ROWS = (
    Row("user {0}Which?\nassistant\n", ("Answer: red\n", "I look closer.\n{1:100x40}")),
    Row("user {2}How many objects are there?\nassistant\n", ("two\n",)),
)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lora", [None, LoraConfig(rank=4)], ids=["full", "lora"])
@torch.no_grad()
def test_shapes_tell_what_a_forward_computes(
    family: str, lora: LoraConfig | None, tiny_folder: Callable[[str], Path]
) -> None:
    backbone = build_backbone(
        ModelConfig(id=str(tiny_folder(family)), lora=lora, attention="eager")
    )
    pictured = packed(backbone.processor, family, ROWS)
    cost = model_cost(backbone, pictured.images, pictured.image_tokens)
    with FlopCounterMode(display=False) as counter:
        features = backbone.image_features(pictured.images, pictured.image_tokens)
        backbone.logits(backbone.hidden(pictured.rows, features)[0, :5])
    rows, columns = pictured.rows.ids.shape
    counted = forward_flops(
        cost, rows=rows, columns=columns, logits=5, image_tokens=sum(pictured.image_tokens)
    )
    assert counted.total == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_frozen_parts_cost_less_to_train() -> None:
    forward = Flops(language=100.0, vision=10.0)
    assert training_flops(forward, weights_learn=True, vision_learns=True) == 330
    assert training_flops(forward, weights_learn=False, vision_learns=False) == 210
