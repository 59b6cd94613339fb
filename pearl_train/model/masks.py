"""Who sees whom in a packed row: the prefix is shared, branches never meet.

A token sees itself and what stands before it in the prefix and in its own branch. So each branch
reads exactly what it would read if prefix and branch were a row of their own, and the prefix what
it would read alone. No token sees padding; what padding sees means nothing. Sliding windows are not
applied to packed rows: they are taken to be shorter than any window.

Dimensions: B rows, L columns.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from pearl_train.views.batch import PREFIX


def view_mask(branch: Tensor) -> Tensor:
    """(B, L, L) bool: whether the token at column q (axis 1) sees the one at column k (axis 2).

    ``branch`` (B, L) as in :class:`pearl_train.views.batch.Rows`.
    """
    length = branch.shape[1]
    before = torch.ones(length, length, dtype=torch.bool, device=branch.device).tril()
    query, key = branch[:, :, None], branch[:, None, :]
    return before & ((key == PREFIX) | (key == query))


def attention_mask(
    branch: Tensor, attention: Literal["sdpa", "eager"], dtype: torch.dtype
) -> Tensor:
    """What the network takes as ``attention_mask`` for these rows.

    Rows of one view only (a prefix, and at most one branch): (B, L) ones, so that transformers
    makes its causal mask, or none at all where the kernel is causal by itself, which is the
    fastest. Padding needs no mask: it stands on the right, where no token looks. Packed rows:
    (B, 1, L, L), bool for ``sdpa``, added to the scores for ``eager``; transformers hands masks of
    four axes on as they are.
    """
    if int(branch.max()) <= PREFIX + 1:
        return torch.ones_like(branch)
    seen = view_mask(branch)[:, None]
    if attention == "sdpa":
        return seen
    return torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)
