"""Who sees whom, spelled out for one row."""

from __future__ import annotations

import torch

from pearl_train.model.masks import attention_mask, view_mask
from pearl_train.views.batch import PADDING

PACKED = torch.tensor([[0, 0, 1, 1, 2, 2, PADDING], [0, 1, 1, PADDING, PADDING, PADDING, PADDING]])


def drawn(mask: torch.Tensor, tokens: int) -> list[str]:
    return ["".join("#" if seen else "." for seen in row) for row in mask[:tokens].tolist()]


def test_branches_see_the_prefix_and_themselves_and_nobody_sees_padding() -> None:
    assert drawn(view_mask(PACKED)[0], 6) == [
        "#......",
        "##.....",
        "###....",
        "####...",
        "##..#..",
        "##..##.",
    ]
    assert drawn(view_mask(PACKED)[1], 3) == ["#......", "##.....", "###...."]


def test_no_row_of_the_mask_is_empty() -> None:
    assert bool(view_mask(PACKED).any(dim=2).all())  # softmax over nothing is NaN


def test_eager_adds_what_sdpa_reads_as_yes_and_no() -> None:
    seen = attention_mask(PACKED, "sdpa", torch.float32)
    added = attention_mask(PACKED, "eager", torch.bfloat16)
    assert seen.shape == added.shape == (2, 1, 7, 7)
    assert seen.dtype == torch.bool
    assert added.dtype == torch.bfloat16
    assert torch.equal(added == 0, seen)
    assert bool(torch.isfinite(added).all())


def test_rows_of_one_view_leave_the_mask_to_the_kernel() -> None:
    alone = torch.tensor([[0, 0, 0], [0, PADDING, PADDING]])
    assert torch.equal(attention_mask(alone, "sdpa", torch.float32), torch.ones(2, 3).long())
