"""L_VLM: cross-entropy of the next token, at the positions that are learned and nowhere else.

The LM head sees only those positions. Each branch is a term of its own, divided by its own tokens:
learning the trajectory as well does not thin out the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from pearl_train.model.backbone import Backbone
from pearl_train.objectives.base import Term
from pearl_train.views.batch import BranchName, Rows


def next_token(
    model: Backbone, hidden: Tensor, rows: Rows, branches: Sequence[BranchName]
) -> dict[str, Term]:
    """Term ``vlm`` for the first branch, ``vlm_<branch>`` for every other.

    ``hidden`` (B, L, H) are the states of ``rows``. Totals are in float32.
    """
    terms = {}
    for branch in branches:
        learned = rows.learned[branch]
        logits = model.logits(hidden[learned.row, learned.source])
        total = functional.cross_entropy(logits.float(), learned.id, reduction="sum")
        terms[term_name("vlm", branch, branches)] = Term(total, branch)
    return terms


def term_name(name: str, branch: BranchName, branches: Sequence[BranchName]) -> str:
    """``name`` for the main branch, which comes first; ``name_branch`` for every other.

    >>> term_name("vlm", "trajectory", ("answer", "trajectory"))
    'vlm_trajectory'
    """
    return name if branch == branches[0] else f"{name}_{branch}"
