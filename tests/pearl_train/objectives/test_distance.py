"""Distances: per sample, in float32."""

from __future__ import annotations

import pytest
import torch

from pearl_train.objectives.distance import DISTANCES, cosine, smooth_l1


def test_cosine_is_0_for_equal_directions_and_2_for_opposite_ones() -> None:
    x = torch.tensor([[3.0, 4.0], [3.0, 4.0], [3.0, 4.0]])
    y = torch.tensor([[6.0, 8.0], [-3.0, -4.0], [4.0, -3.0]])
    assert cosine(x, y).tolist() == pytest.approx([0.0, 2.0, 1.0])


def test_smooth_l1_is_the_mean_over_dimensions() -> None:
    found = smooth_l1(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.5, 3.0]]))
    assert found.tolist() == pytest.approx([(0.125 + 2.5) / 2])


@pytest.mark.parametrize("name", list(DISTANCES))
def test_distances_are_float32_one_per_sample(name: str) -> None:
    x = torch.randn(4, 8, dtype=torch.bfloat16)
    found = DISTANCES[name](x, x)
    assert found.dtype == torch.float32
    assert found.shape == (4,)
    assert found.abs().max() < 1e-6
