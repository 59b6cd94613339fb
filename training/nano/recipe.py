"""The recipe: stages in which eyes and words learn in turn, their lengths and rates.

Leaves out what a step is made of (`batches.MIXES`) and the loop (`pretrain.py`).
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of the training in which one part learns from one mix of samples.

    Attributes:
        name: of the stage.
        learns: `eyes` name what lies in the cells of a view (`cells.py`) and nothing else learns;
            `words` learn captions while the eyes rest (no gradient reaches them).
        mix: what a step is made of, by its name in `batches.MIXES`.
        steps: length.
        rate: highest learning rate of AdamW.
        warm, cool: steps in which the rate rises at the beginning and falls at the end.
        ties: what else ties words to places, losses of `grounding.py` by name.

    """

    name: str
    learns: Literal["eyes", "words"]
    mix: str
    steps: int
    rate: float = 1.2e-3
    warm: int = 80
    cool: int = 200
    ties: tuple[str, ...] = ()


_TIES = (
    "spoken", "place", "where", "find", "read", "shade", "value", "fetch", "before", "recall",
)  # fmt: skip
_TAGS = (*_TIES, "letter", "glance")
STAGES = (
    Stage(name="eyes", learns="eyes", mix="eyes", steps=2_600, cool=700),
    Stage(
        name="words",
        learns="words",
        mix="words",
        steps=1_400,
        cool=400,
        ties=_TIES,
    ),
    Stage(
        name="letters",
        learns="words",
        mix="letters",
        steps=260,
        rate=1e-3,
        warm=30,
        cool=160,
        ties=(*_TIES, "letter"),
    ),
    Stage(
        name="tags",
        learns="words",
        mix="letters",
        steps=300,
        rate=1e-3,
        warm=30,
        cool=160,
        ties=_TAGS,
    ),
    Stage(
        name="surer",
        learns="words",
        mix="letters",
        steps=500,
        rate=1e-3,
        warm=30,
        cool=300,
        ties=_TAGS,
    ),
)
"""In turn, each from the weights of the one before. First the eyes; then the words, tied to what
the eyes see; then tags, which the projector must pass on (`letter`) and a head must look at
(`glance`).
"""
LAST_STAGE = "surer"
"""The stage that training ends with unless told otherwise."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights, beside the code.

    Attributes:
        scenes: rendered scenes, in shards of 100.
        decay: weight decay of AdamW.
        vocabulary: largest number of tokens.
        bfloat16: compute in bfloat16.
        seed: of initial weights and samples.
        stages: in turn.

    """

    scenes: int = 2_000
    decay: float = 0.05
    vocabulary: int = 1_500
    bfloat16: bool
    seed: int = 0
    stages: tuple[Stage, ...]


def learning_rate(stage: Stage, step: int) -> float:
    """The rate of a step: up, level, and a half cosine down to 1 %.

    Level for long, so that a stage can be planned longer or shorter until it begins to cool.
    """
    start = min(1.0, (step + 1) / stage.warm)
    cooled = max(0.0, 1 - (stage.steps - step) / stage.cool)
    return stage.rate * start * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * cooled)))


def continues(saved: dict[str, Any], recipe: Recipe) -> bool:
    """Whether a checkpoint is on the way that this recipe takes.

    Its present stage may have been planned with another length if it has not begun to cool, and
    later ones are open.
    """
    planned, number = recipe_of(saved["recipe"]), saved["stage"]
    if replace(planned, stages=()) != replace(recipe, stages=()):
        return False
    if planned.stages[:number] != recipe.stages[:number] or number >= len(recipe.stages):
        return False
    before, now = planned.stages[number], recipe.stages[number]
    if saved["step"] <= min(before.steps - before.cool, now.steps - now.cool):
        before = replace(before, steps=now.steps, cool=now.cool)
    return before == now


def recipe_of(saved: dict[str, Any]) -> Recipe:
    """A recipe from its fields."""
    return Recipe(**{**saved, "stages": tuple(Stage(**stage) for stage in saved["stages"])})
