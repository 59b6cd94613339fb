"""The explicit-tools baseline: L = L_VLM over the whole tool-call chat.

Steps that the record marks as mistakes are read and not learned. At inference the calls are really
run (:mod:`pearl_train.asking.explicit_tools`).
"""

from __future__ import annotations

from torch import Tensor, nn

from pearl_train.model.backbone import Backbone
from pearl_train.objectives.base import Moment, Terms
from pearl_train.objectives.next_token import next_token
from pearl_train.objectives.pictures import read_rows
from pearl_train.settings.config import ObjectiveConfig
from pearl_train.views.batch import Batch, ViewPlan


def plan(options: ObjectiveConfig) -> ViewPlan:
    """The context with the trajectory."""
    return ViewPlan(branches=("trajectory",))


def loss(
    model: Backbone,
    batch: Batch,
    options: ObjectiveConfig,
    moment: Moment,
    parts: nn.ModuleDict,
    targets: Tensor | None,
) -> Terms:
    """L_VLM over thoughts, calls and conclusion."""
    hidden, _ = read_rows(model, batch, batch.context)
    return Terms(next_token(model, hidden, batch.context, ("trajectory",)))
