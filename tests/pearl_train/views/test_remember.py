"""Packed tensors come back bit for bit, in fewer bytes where they have few values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pearl_train.views.remember import packed, unpacked

CLIP_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
CLIP_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])


def pixels() -> Tensor:
    drawn = torch.randint(0, 256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    return drawn.float() / 255


def bits(tensor: Tensor) -> Tensor:
    return tensor.view(torch.int32)


@pytest.mark.parametrize(
    ("tensor", "smaller"),
    [
        ((pixels() - 0.5) / 0.5, 3.5),
        ((pixels() - CLIP_MEAN.view(1, 3, 1, 1)) / CLIP_STD.view(1, 3, 1, 1), 1.7),
        (torch.zeros(2000), 3.5),
        (torch.cat([torch.zeros(1000), -torch.zeros(1000)]), 1),
        (torch.linspace(0, 1, 5000).sqrt(), 1),
        (torch.full((2000,), float("nan")), 1),
        (torch.cat([torch.zeros(2000), torch.full((1,), float("inf"))]), 1),
        (torch.cat([torch.rand(2000), torch.full((1,), 3e38), torch.full((1,), -3e38)]), 1),
        (torch.ones(10), 1),
    ],
)
def test_packing_is_exact(tensor: Tensor, smaller: float) -> None:
    made = packed(tensor)
    assert torch.equal(bits(unpacked(made)), bits(tensor))
    assert made.bytes * smaller <= tensor.numel() * 4


@pytest.mark.parametrize("dtype", [torch.int64, torch.bfloat16, torch.bool])
def test_other_types_are_kept_as_they_are(dtype: torch.dtype) -> None:
    tensor = torch.ones(2000).to(dtype)
    made = packed(tensor)
    assert made.codes is None
    assert unpacked(made) is tensor
