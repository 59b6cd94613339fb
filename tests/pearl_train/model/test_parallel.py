"""The backbone inside a module that DDP or FSDP2 wraps: same loss, same gradients.

One process is enough to send every call through their hooks: sharded parameters are DTensors
outside the wrapped forward, and whatever touches them at the wrong time fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from tiny_models import FAMILIES
from tiny_rows import Pictured, Row, packed
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from pearl_train.model.backbone import Backbone, language_model
from pearl_train.model.build import build_backbone
from pearl_train.settings.config import LoraConfig, ModelConfig

ROWS = (Row("user {0}Which?\nassistant\n", ("Answer: red\n", "<|pred_1|>")), Row("{1}See.\n"))
LORA = LoraConfig(rank=4, dropout=0.0)


class Wrapped(nn.Module):
    """What a trainee does: everything inside one forward."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pictured: Pictured) -> Tensor:
        model = self.backbone
        features = model.image_features(pictured.images, pictured.image_tokens)
        with torch.no_grad(), model.base_weights():
            target = model.hidden(pictured.rows, features.detach())
        hidden = model.hidden(pictured.rows, features)
        embedded = model.embed(pictured.rows.ids[:, 0])
        logits = model.logits(hidden[:, 1]) + model.frozen_logits(hidden[:, 2])
        parts = (logits, hidden - target, embedded, hidden)
        return sum(part.float().square().mean() for part in parts)


@pytest.fixture
def one_process() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def learned(trainee: nn.Module, batch: Pictured) -> tuple[Tensor, dict[str, Tensor]]:
    loss = trainee(batch)
    loss.backward()
    gradients = {
        name.removeprefix("module."): weight.grad
        for name, weight in trainee.named_parameters()
        if weight.grad is not None
    }
    return loss.detach(), {
        name: gradient.full_tensor() if isinstance(gradient, DTensor) else gradient
        for name, gradient in gradients.items()
    }


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("options", [{}, {"lora": LORA}], ids=["full", "lora"])
@pytest.mark.parametrize("how", ["ddp", "fsdp2"])
def test_wrapping_changes_neither_loss_nor_gradients(
    family: str,
    options: dict[str, Any],
    how: str,
    one_process: None,
    tiny_folder: Callable[[str], Path],
) -> None:
    config = ModelConfig(id=str(tiny_folder(family)), **options)
    plain, wrapped = (Wrapped(build_backbone(config)).train() for _ in range(2))
    batch = packed(plain.backbone.processor, family, ROWS)
    expected, gradients = learned(plain, batch)
    trainee: nn.Module = wrapped
    if how == "ddp":
        trainee = DistributedDataParallel(wrapped, find_unused_parameters=True)
    else:
        mesh = dist.init_device_mesh("cpu", (1,))
        language: Any = language_model(wrapped.backbone.plain)[1]
        for layer in language.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(wrapped, mesh=mesh)
    loss, again = learned(trainee, batch)
    assert torch.equal(loss, expected)
    assert again.keys() == gradients.keys()
    assert all(torch.allclose(again[name], gradients[name], atol=1e-6) for name in again)
