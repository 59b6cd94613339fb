"""Who sees whom in a packed row: the prefix is shared, branches never meet.

A token sees itself and what stands before it in the prefix and in its own branch. So each branch
reads exactly what it would read if prefix and branch were a row of their own, and the prefix what
it would read alone. Padding sees itself only, and nobody sees it.

Dimensions: B rows, L columns.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from pearl_train.batch import PADDING, PREFIX


def view_mask(branch: Tensor) -> Tensor:
    """(B, L, L) bool: whether the token at column q (axis 1) sees the one at column k (axis 2).

    ``branch`` (B, L) as in :class:`pearl_train.batch.Rows`.
    """
    length = branch.shape[1]
    before = torch.ones(length, length, dtype=torch.bool, device=branch.device).tril()
    query, key = branch[:, :, None], branch[:, None, :]
    same_view = (key == PREFIX) | (key == query)
    real = (query != PADDING) & (key != PADDING)
    itself = torch.eye(length, dtype=torch.bool, device=branch.device)
    return (before & same_view & real) | itself


def attention_mask(
    branch: Tensor, attention: Literal["sdpa", "eager"], dtype: torch.dtype
) -> Tensor:
    """What the network takes as ``attention_mask`` for these rows.

    Rows of one view only: (B, L) with 0 for padding, from which transformers makes its causal mask
    (and none at all where nothing is padded, so that the fastest kernel runs). Packed rows:
    (B, 1, L, L), bool for ``sdpa``, added to the scores for ``eager``; transformers hands masks of
    four axes on as they are.
    """
    if not bool((branch > PREFIX).any()):
        return (branch != PADDING).long()
    seen = view_mask(branch)[:, None]
    if attention == "sdpa":
        return seen
    return torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)
