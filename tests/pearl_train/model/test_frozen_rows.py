"""Frozen rows survive gradients, moments and weight decay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForImageTextToText

from pearl_train.model.frozen_rows import freeze_rows


class Embedded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(6, 3)

    def get_input_embeddings(self) -> nn.Module:
        return self.table

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table(ids)


def train(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.arange(6)).square().sum().backward()
        optimizer.step()


def test_rows_stay_bit_for_bit_while_the_others_learn() -> None:
    network = Embedded()
    before = network.table.weight.detach().clone()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.5)
    frozen = freeze_rows(network, [2, 4])
    frozen.attach(optimizer)
    train(network, optimizer)
    same = (network.table.weight.detach() == before).all(dim=1)
    assert same.tolist() == [False, False, True, False, True, False]


def test_their_gradient_counts_in_no_norm() -> None:
    network = Embedded()
    freeze_rows(network, [2])
    network(torch.tensor([2])).sum().backward()
    assert not network.table.weight.grad.any()


@pytest.fixture
def one_process() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_a_sharded_matrix_keeps_its_rows_too(one_process: None) -> None:
    network = Embedded()
    before = network.table.weight.detach().clone()
    mesh = dist.init_device_mesh("cpu", (1,))
    fully_shard(network, mesh=mesh)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.5)
    frozen = freeze_rows(network, [0, 5])
    frozen.attach(optimizer)
    train(network, optimizer)
    same = (network.table.weight.full_tensor() == before).all(dim=1)
    assert same.tolist() == [True, False, False, False, False, True]


def test_tied_matrices_are_frozen_in_both_places(tiny_folder: Callable[[str], Path]) -> None:
    network = AutoModelForImageTextToText.from_pretrained(tiny_folder("fast_vlm"))
    before = network.get_output_embeddings().weight.detach().clone()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.5)
    freeze_rows(network, [300]).attach(optimizer)
    network(input_ids=torch.tensor([[300, 301]])).logits.square().sum().backward()
    optimizer.step()
    after = network.get_output_embeddings().weight.detach()
    assert torch.equal(after[300], before[300])
    assert not torch.equal(after[301], before[301])
