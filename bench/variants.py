"""The rows of ``bench/train.py``: an objective each, and which of their ratios are told.

The core rows are those that aims and the README speak of; ``--all`` adds every option that changes
what a step computes.
"""

from __future__ import annotations

from typing import NamedTuple

from pearl_train.settings.config import NextLatConfig, ObjectiveConfig, TargetConfig

ANSWER = "sft, answer"
TRAJECTORY = "sft, answer + trajectory"
ONLINE = "pearl, answer, online target"
PEARL_TRAJECTORY = "pearl, answer + trajectory"
CACHED = "pearl, answer, cached target"
RELEASE = "three full views with gradient"

CORE: dict[str, ObjectiveConfig] = {
    ANSWER: ObjectiveConfig(name="sft"),
    "sft, answer, 4 pause tokens": ObjectiveConfig(name="sft", pause_tokens=4),
    TRAJECTORY: ObjectiveConfig(name="sft", view="trajectory"),
    ONLINE: ObjectiveConfig(),
    "pearl, online, loss dropout .5": ObjectiveConfig(loss_dropout=0.5),
    "pearl, EMA target": ObjectiveConfig(target=TargetConfig(source="ema")),
    CACHED: ObjectiveConfig(target=TargetConfig(source="frozen-base")),
    PEARL_TRAJECTORY: ObjectiveConfig(view="trajectory"),
    "lvr": ObjectiveConfig(name="lvr"),
    "tools": ObjectiveConfig(name="tools"),
}
MORE: dict[str, ObjectiveConfig] = {
    # L_VLM of the paper, and what configs/qwen2_5_vl_7b_lora.toml trains
    "pearl, chat": ObjectiveConfig(view="chat"),
    "sft, chat": ObjectiveConfig(name="sft", view="chat"),
    "pearl, no NextLat": ObjectiveConfig(nextlat=None),
    "pearl, NextLat with CE": ObjectiveConfig(nextlat=NextLatConfig(cross_entropy=1.0)),
    "pearl, smooth-l1": ObjectiveConfig(distance="smooth-l1"),
    "pearl, frozen [PRED]": ObjectiveConfig(pred="frozen"),
    "pearl, read at end of question": ObjectiveConfig(pred_position="end-of-question"),
    "pearl, K = 0": ObjectiveConfig(pred_tokens=0),
    "pearl, variance hinge": ObjectiveConfig(variance_hinge=1.0),
    "pearl, SIGReg": ObjectiveConfig(sigreg=0.05),
    "pearl, target with I0": ObjectiveConfig(target=TargetConfig(include_image=True)),
    "pearl, target's mean": ObjectiveConfig(target=TargetConfig(read="mean")),
    "pearl, both views learn": ObjectiveConfig(stop_gradient=False),
}
assert all(len(name) <= 31 for name in (*CORE, *MORE, RELEASE)), "a column of the table"


class Ratio(NamedTuple):
    """``row`` over ``peer`` in step time; ``aim`` is the most that it should be, if anything is."""

    row: str
    peer: str
    aim: float | None
    says: str


RATIOS = (
    Ratio(
        ONLINE,
        TRAJECTORY,
        1.0,
        "not like for like: Pearl writes the answer alone, the trajectory is only its target",
    ),
    Ratio(
        PEARL_TRAJECTORY,
        TRAJECTORY,
        None,
        "like for like: both write answer and trajectory, Pearl makes its target besides",
    ),
    Ratio(ONLINE, RELEASE, 0.5, "the scheme of the paper's release"),
    Ratio(CACHED, ANSWER, 1.1, "like for like: both write the answer"),
)
