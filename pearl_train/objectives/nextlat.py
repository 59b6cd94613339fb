"""L_NextLat (arXiv 2511.05963): a small head predicts the network's next hidden state.

    h_hat_{t+1} = h_t + f([h_t ; e_{t+1}])        SmoothL1 to h_{t+1} without gradient

at supervised positions, horizon 1. Gradient reaches h_t and e_{t+1}, not the target. By option the
release's further term: cross-entropy of the token after next through h_hat_{t+1} and the LM head,
which gets no gradient from it. (NextLat itself takes the KL divergence there.)

Dimensions: M supervised positions, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pearl_train.model.backbone import Backbone
from pearl_train.objectives.base import Term
from pearl_train.objectives.next_token import term_name
from pearl_train.settings.config import NextLatConfig
from pearl_train.views.batch import BranchName, Learned, Rows


class Dynamics(nn.Module):
    """f and its residual, in float32: states (M, H) and next embeddings (M, H) to next states."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.LayerNorm(2 * hidden_size),
            nn.Linear(2 * hidden_size, hidden_size),
            nn.GELU(),
            nn.Linear(hidden_size, hidden_size),
            nn.GELU(),
            nn.Linear(hidden_size, hidden_size),
        )

    def forward(self, state: Tensor, embedding: Tensor) -> Tensor:
        """(M, H): the state after reading a token with this ``embedding``."""
        state = state.float()
        change: Tensor = self.change(torch.cat([state, embedding.float()], dim=-1))
        return state + change


def next_latent(
    model: Backbone,
    dynamics: Dynamics,
    hidden: Tensor,
    rows: Rows,
    branches: Sequence[BranchName],
    options: NextLatConfig,
    weight: float,
) -> dict[str, Term]:
    """Term ``nextlat`` and, with a weight for it, ``nextlat_ce``, per branch as in L_VLM.

    ``hidden`` (B, L, H) are the states of ``rows``; ``weight`` is lambda. Both terms are divided by
    the branch's learned tokens, of which the last of each turn has no token after next.
    """
    terms = {}
    for branch in branches:
        learned = rows.learned[branch]

        # context
        state = hidden[learned.row, learned.source]

        # target
        target = hidden[learned.row, learned.column].detach().float()

        # predict
        predicted = dynamics(state, model.embed(learned.id))

        # compare
        each = functional.smooth_l1_loss(predicted, target, reduction="none").mean(dim=-1)
        terms[term_name("nextlat", branch, branches)] = Term(each.sum(), branch, weight)
        if options.cross_entropy:
            follows = token_after_next(learned)
            logits = model.frozen_logits(predicted[:-1][follows].to(hidden.dtype))
            total = functional.cross_entropy(
                logits.float(), learned.id[1:][follows], reduction="sum"
            )
            terms[term_name("nextlat_ce", branch, branches)] = Term(
                total, branch, weight * options.cross_entropy
            )
    return terms


def token_after_next(learned: Learned) -> Tensor:
    """(M - 1,) bool: whether learned token i + 1 stands right after learned token i.

    Tokens are listed in the order of rows and columns.
    """
    same_row = learned.row[1:] == learned.row[:-1]
    return same_row & (learned.source[1:] == learned.column[:-1])
