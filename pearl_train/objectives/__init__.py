"""The objectives by name: which views each needs, what it computes, what else it keeps.

    sft     next tokens of the answer (and, by option, of the whole trajectory)
    tools   next tokens of the trajectory: the explicit-tools baseline
    lvr     next tokens and latents regressed to the region's visual tokens
    pearl   next tokens and the embedding of the trajectory predicted from (I0, Q)

An objective reads its own options of ``[objective]`` and no others (the table of them:
:mod:`pearl_train.settings.reads`), so that one configuration can be compared under every name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from pearl_train.objectives import lvr, pearl, sft, tools
from pearl_train.objectives.base import Moment, Objective, Plan, Term, Terms, Views
from pearl_train.settings.config import ObjectiveConfig, ObjectiveName
from pearl_train.views.batch import ViewPlan

Need = Literal["nextlat", "teacher", "cache"]


class ObjectiveEntry(NamedTuple):
    """A row of the table.

    ``needs`` says what there must be besides the network: the dynamics head, a moving average, or
    targets computed before the first step.
    """

    plan: Plan
    loss: Objective
    needs: Callable[[ObjectiveConfig], frozenset[Need]]


def _nothing(options: ObjectiveConfig) -> frozenset[Need]:
    return frozenset()


OBJECTIVE_TABLE: Mapping[ObjectiveName, ObjectiveEntry] = {
    "sft": ObjectiveEntry(sft.plan, sft.loss, _nothing),
    "tools": ObjectiveEntry(tools.plan, tools.loss, _nothing),
    "lvr": ObjectiveEntry(lvr.plan, lvr.loss, _nothing),
    "pearl": ObjectiveEntry(pearl.plan, pearl.loss, pearl.needs),
}


def plan_views(options: ObjectiveConfig) -> ViewPlan:
    """The views that ``options`` need."""
    return OBJECTIVE_TABLE[options.name].plan(options)


def needs(options: ObjectiveConfig) -> frozenset[Need]:
    """What ``options`` need besides the network."""
    return OBJECTIVE_TABLE[options.name].needs(options)


__all__ = [
    "OBJECTIVE_TABLE",
    "Moment",
    "Need",
    "Objective",
    "ObjectiveEntry",
    "Plan",
    "Term",
    "Terms",
    "Views",
    "needs",
    "plan_views",
]
