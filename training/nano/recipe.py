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


_LOOKING = ("spoken", "place", "where", "find", "read")
_READING = (*_LOOKING, "shade", "value", "fetch")
STAGES = (
    Stage(name="eyes", learns="eyes", mix="eyes", steps=2_000),
    Stage(name="captions", learns="words", mix="captions", steps=2_800),
    Stage(name="places", learns="eyes", mix="eyes", steps=600, rate=8e-4, warm=40, cool=300),
    Stage(name="readings", learns="words", mix="readings", steps=500, cool=1),
    Stage(
        name="grounding",
        learns="words",
        mix="grounding",
        steps=760,
        warm=40,
        cool=200,
        ties=_LOOKING,
    ),
    Stage(
        name="together",
        learns="words",
        mix="together",
        steps=200,
        warm=40,
        cool=1,
        ties=_LOOKING,
    ),
    Stage(
        name="values",
        learns="words",
        mix="values",
        steps=150,
        warm=40,
        cool=1,
        ties=_READING,
    ),
    Stage(name="shades", learns="eyes", mix="shades", steps=300, rate=8e-4, warm=40, cool=200),
    Stage(
        name="reading",
        learns="words",
        mix="values",
        steps=420,
        warm=40,
        cool=220,
        ties=_READING,
    ),
    Stage(
        name="recalling",
        learns="words",
        mix="recalling",
        steps=300,
        warm=40,
        cool=150,
        ties=(*_READING, "before", "recall"),
    ),
)
"""In turn, each from the weights of the one before. First eyes and captions; then the eyes also say
where a cell lies, and the words, hop by hop, where a named thing lies, what a map reads there,
which of two numbers is larger, and what was said before. `readings` taught next to nothing and
stays because the shipped model went through it.
"""
LAST_STAGE = "recalling"
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
