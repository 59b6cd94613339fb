"""The recipe: stages, what each is drawn from, their lengths and rates.

Leaves out scenes (`scenes.py`), augmentation (`augment.py`) and the loop (`train.py`).
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from scenes import SHARD

TILT = 0.2
"""How much nearer the bottom of a picture is taken to be than its top, in log inverse depth, when
the network is used (`DepthNetwork.forward`). In renders "lower is nearer" holds for 73 to 80 % of
the pairs of pixels, in the labelled photographs for 85 %. Chosen with the weights of the stage
`together` (`photographs.py --tilt`): half a point lost on unseen renders, five won on photographs,
and more gave nothing. With those of `further` it wins half a point, with those of `company` and
`lens` one.
"""
LATE_CLEAN_SHARE = 0.75
"""Share of clean scenes among those of the toolkit after `Recipe.settle`."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what one stage makes of the weights it starts from.

    Attributes:
        name: of the stage.
        mixed: scenes of the toolkit, one in four of clean colours, three wild.
        clean: scenes of the toolkit, all of clean colours, drawn once settled.
        worlds: scenes of `worlds.py`.
        worlds_share: share of what is picked from the toolkit that worlds replace.
        interiors: scenes of `interiors.py`.
        interiors_share: share of all picked before that interiors replace.
        glossy: scenes of `reflections.py`.
        glossy_share: share of all picked before that glossy scenes replace.
        company: scenes of `company.py`.
        company_share: share of all picked before that company replaces.
        lower: if not 0, how often of two pixels the lower is the nearer in worlds, interiors,
            glossy scenes and company as they are drawn (`framing.py`).
        first: numbers of the first scenes among mixed, clean, worlds, interiors, glossy
            and company, multiples of `SHARD`; a stage that begins where those before it ended sees
            fresh ones.
        steps, batch: length of the training.
        settle: step from which most toolkit scenes are clean and augmentation is gentle. Starting
            with the hard pictures and settling on the plain ones learns objects faster than mixing.
        rate, decay: peak learning rate (cosine to 1 % of it after a linear start) and weight decay
            of AdamW.
        cool: if not 0, the rate stays level and falls only in so many last steps, so that a stage
            can be planned longer or shorter until then.
        restyled: share of pictures with textures of no place (`augment.restyle`).
        faded: share of pictures whose colours are pale.
        lens: share of pictures out of focus in places or lit by a flash (`lens.py`).
        average: decay of the exponential moving average that is exported.
        kept: share of the weights that the stage began with in those that it hands on: between two
            ends of one training often lies a better point (Wortsman et al. 2022).
        twins: other values of `lower` with which the stage is trained too, from the same weights;
            it hands on the mean of all, for the same reason.
        bfloat16: run convolutions in bfloat16; set from what the processor has.
        seed: of initial weights, batches and augmentation.

    """

    name: str
    mixed: int
    clean: int
    worlds: int = 0
    worlds_share: float = 0.0
    interiors: int = 0
    interiors_share: float = 0.0
    glossy: int = 0
    glossy_share: float = 0.0
    company: int = 0
    company_share: float = 0.0
    lower: float = 0.0
    first: tuple[int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0)
    steps: int
    settle: int
    batch: int = 16
    rate: float
    cool: int = 0
    decay: float = 0.03
    restyled: float = 0.0
    faded: float = 0.0
    lens: float = 0.0
    average: float = 0.997
    kept: float = 0.0
    twins: tuple[float, ...] = ()
    bfloat16: bool = True
    seed: int


STAGES = (
    Recipe(
        name="objects", mixed=9_500, clean=3_000, steps=3_600, settle=1_000, rate=1.5e-3, seed=0
    ),
    Recipe(
        name="worlds",
        mixed=2_000,
        clean=3_000,
        worlds=8_000,
        worlds_share=0.6,
        steps=6_000,
        settle=3_600,
        rate=1.0e-3,
        seed=1,
    ),
    Recipe(
        name="interiors",
        mixed=1_000,
        clean=500,
        worlds=2_500,
        worlds_share=0.5,
        interiors=2_500,
        interiors_share=0.45,
        steps=1_800,
        settle=900,
        rate=6e-4,
        cool=800,
        seed=2,
    ),
    Recipe(
        name="together",
        mixed=1_000,
        clean=500,
        worlds=2_500,
        worlds_share=0.45,
        interiors=2_500,
        interiors_share=0.4,
        steps=4_600,
        settle=3_400,
        rate=8e-4,
        cool=1_600,
        restyled=0.2,
        seed=3,
    ),
    Recipe(
        name="further",
        mixed=1_000,
        clean=500,
        worlds=3_000,
        worlds_share=0.45,
        interiors=2_250,
        interiors_share=0.4,
        first=(2_000, 3_000, 8_000, 2_500, 0, 0),
        steps=3_200,
        settle=2_800,
        rate=8e-4,
        cool=1_300,
        restyled=0.35,
        faded=0.3,
        seed=4,
    ),
    Recipe(
        name="glossy",
        mixed=1_250,
        clean=750,
        worlds=3_500,
        worlds_share=0.45,
        interiors=2_500,
        interiors_share=0.4,
        glossy=2_000,
        glossy_share=0.25,
        first=(2_000, 3_000, 8_000, 2_500, 0, 0),
        steps=2_300,
        settle=1_950,
        rate=8e-4,
        cool=1_000,
        restyled=0.35,
        faded=0.3,
        kept=0.5,
        seed=5,
    ),
    Recipe(
        name="company",
        mixed=500,
        clean=500,
        worlds=3_000,
        worlds_share=0.45,
        interiors=3_000,
        interiors_share=0.4,
        glossy=1_500,
        glossy_share=0.25,
        company=3_000,
        company_share=0.3,
        lower=0.85,
        first=(3_250, 3_750, 11_500, 5_000, 2_000, 0),
        steps=5_400,
        settle=4_000,
        rate=8e-4,
        cool=2_000,
        restyled=0.35,
        faded=0.3,
        twins=(0.0,),
        seed=6,
    ),
    Recipe(
        name="lens",
        mixed=1_250,
        clean=1_250,
        worlds=5_500,
        worlds_share=0.45,
        interiors=5_000,
        interiors_share=0.35,
        glossy=2_500,
        glossy_share=0.2,
        company=5_000,
        company_share=0.2,
        lower=0.85,
        first=(3_250, 3_750, 11_500, 5_000, 2_000, 0),
        steps=4_000,
        settle=2_950,
        rate=8e-4,
        cool=1_650,
        restyled=0.35,
        faded=0.3,
        lens=0.4,
        twins=(0.0,),
        seed=7,
    ),
)
"""In turn, each from the averaged weights of the one before. First the scenes in which position
tells nothing, so that the network must see; then, among those, worlds as photographers meet them;
then furnished interiors, which are close, plain and full; then all of them for long, one picture
in five restyled, so that less hangs on how they are painted; then others of all, most of them
fresh, one in three restyled and three in ten with the pale colours that most real places have;
then these again, a few more, and one picture in four with floors, tables, puddles or mirrors that
reflect; then fresh ones of all with people and animals at close range; then these and as many more,
as a lens shows them. The last two are trained framed as photographs are and as rendered.
"""


def learning_rate(recipe: Recipe, step: int) -> float:
    """The rate of a step: 200 steps up, then a cosine down to 1 %, at once or when it cools."""
    warm = min(1.0, (step + 1) / 200)
    length = recipe.cool or recipe.steps
    fall = 0.5 * (1 + math.cos(math.pi * max(0.0, 1 - (recipe.steps - step) / length)))
    return recipe.rate * warm * (0.01 + 0.99 * fall)


def continues(saved: dict[str, Any], recipe: Recipe) -> bool:
    """Whether a checkpoint is on the way that this recipe takes; the length of a stage that has
    begun neither to cool nor to settle is open, and so is what is kept, which is done at the end.
    """
    planned = replace(Recipe(**saved["recipe"]), kept=recipe.kept)
    level = min(
        planned.steps - planned.cool, recipe.steps - recipe.cool, planned.settle, recipe.settle
    )
    if planned.cool and saved["step"] <= level:
        planned = replace(planned, steps=recipe.steps, cool=recipe.cool, settle=recipe.settle)
    return planned == recipe


def trainings(stage: Recipe) -> list[Recipe]:
    """What is trained for the stage: the stage itself and its twins."""
    return [replace(stage, lower=lower, twins=()) for lower in (stage.lower, *stage.twins)]


def shrunk(stage: Recipe) -> Recipe:
    """The same stage, so small that it ends within a minute."""
    return replace(
        stage,
        mixed=SHARD,
        clean=min(stage.clean, SHARD),
        worlds=min(stage.worlds, SHARD),
        interiors=min(stage.interiors, SHARD),
        glossy=min(stage.glossy, SHARD),
        company=min(stage.company, SHARD),
        first=(0, 0, 0, 0, 0, 0),
        steps=4,
        settle=2,
        cool=min(stage.cool, 2),
    )
