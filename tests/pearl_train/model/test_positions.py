"""Positions of packed rows: every branch continues the prefix."""

from __future__ import annotations

import pytest
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel

from pearl_train.model.positions import counted_positions, multimodal_positions, picture_starts
from pearl_train.views.batch import PADDING, Rows


def test_counting_starts_again_behind_the_prefix() -> None:
    branch = torch.tensor([[0, 0, 0, 1, 1, 2, PADDING], [0, 1, 1, 1, 2, 2, 2]])
    assert counted_positions(branch).tolist() == [[0, 1, 2, 3, 4, 3, 0], [0, 1, 2, 3, 1, 2, 3]]


def test_a_picture_in_one_branch_does_not_move_the_next() -> None:
    with torch.device("meta"):
        core = Qwen2_5_VLModel(Qwen2_5_VLConfig())
    # prefix: text, a picture of 1 x 2 tokens, text; branch 1: a picture of 3 x 1, text; branch 2
    branch = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 2, 2, PADDING]])
    is_image = torch.tensor([[0, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0]]).bool()
    rows = Rows(ids=torch.zeros_like(branch), branch=branch, is_image=is_image, images=((1, 0),))
    grids = torch.tensor([[1, 6, 2], [1, 2, 4]])
    time, height, width = multimodal_positions(core, rows, [3, 2], grids)[:, 0].tolist()
    assert time == [0, 1, 1, 3, 4, 4, 4, 7, 4, 5, 0]
    assert height == [0, 1, 1, 3, 4, 5, 6, 7, 4, 5, 0]
    assert width == [0, 1, 2, 3, 4, 4, 4, 7, 4, 5, 0]


def test_pictures_start_where_the_one_before_ends() -> None:
    is_image = torch.tensor([False, True, True, False, True, True, True])
    assert picture_starts(is_image, [2, 1, 2]).tolist() == [1, 4, 5]
    assert picture_starts(torch.zeros(3, dtype=torch.bool), []).tolist() == []


def test_tokens_that_are_not_the_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected 3 image tokens \(\[2, 1\]\), got 2"):
        picture_starts(torch.tensor([True, True]), [2, 1])
