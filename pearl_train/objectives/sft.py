"""Supervised fine-tuning, the control: L = L_VLM.

Answer only, answer after K pause tokens (as many extra positions as [PRED] takes, but nothing to
predict), or with the expert's trajectory as well, which separates what L_JEPA adds from what
supervision on the trajectory adds.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from pearl_train.model.backbone import Backbone
from pearl_train.objectives.base import Moment, Terms
from pearl_train.objectives.next_token import next_token
from pearl_train.objectives.pictures import read_rows
from pearl_train.settings.config import ObjectiveConfig
from pearl_train.views.batch import Batch, BranchName, ViewPlan

_WRITTEN: Mapping[str, tuple[BranchName, ...]] = {
    "answer": ("answer",),
    "chat": ("trajectory",),
    "trajectory": ("answer", "trajectory"),
}


def written_branches(options: ObjectiveConfig) -> tuple[BranchName, ...]:
    """What L_VLM learns to write; each branch is a term of weight 1."""
    return _WRITTEN[options.view]


def plan(options: ObjectiveConfig) -> ViewPlan:
    """The context with what is to be written."""
    return ViewPlan(branches=written_branches(options), pause_tokens=options.pause_tokens)


def loss(
    model: Backbone,
    batch: Batch,
    options: ObjectiveConfig,
    moment: Moment,
    parts: nn.ModuleDict,
    targets: Tensor | None,
) -> Terms:
    """L_VLM."""
    hidden, _ = read_rows(model, batch, batch.context)
    return Terms(next_token(model, hidden, batch.context, written_branches(options)))
