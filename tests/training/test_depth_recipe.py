"""The recipe of the depth network: what may still change while a stage is trained."""

from dataclasses import asdict, replace

import pytest
import torch
from scripts import load_script

recipe = load_script("training/depth/recipe.py", neighbours=True)
train = load_script("training/depth/train.py", neighbours=True)

STAGE = recipe.Recipe(
    name="stage", mixed=250, clean=250, steps=1_000, settle=800, cool=300, rate=1e-3, seed=0
)
SHORTER = replace(STAGE, steps=900, settle=650, cool=200)


@pytest.mark.parametrize(("step", "goes_on"), [(0, True), (650, True), (651, False), (900, False)])
def test_a_stage_may_be_shortened_until_it_cools_or_settles(step: int, *, goes_on: bool) -> None:
    saved = {"recipe": asdict(STAGE), "step": step}
    assert recipe.continues(saved, STAGE)
    assert recipe.continues(saved, SHORTER) is goes_on


def test_a_stage_of_other_scenes_or_rate_is_another_one() -> None:
    saved = {"recipe": asdict(STAGE), "step": 10}
    assert not recipe.continues(saved, replace(STAGE, rate=2e-3))
    assert not recipe.continues(saved, replace(STAGE, mixed=500))


def test_what_is_kept_of_the_initial_weights_is_open_until_the_end() -> None:
    saved = {"recipe": asdict(STAGE), "step": 990}
    assert recipe.continues(saved, replace(STAGE, kept=0.5))
    average = {"weight": torch.ones(2), "counter": torch.tensor(7)}
    initial = {"weight": torch.zeros(2, dtype=torch.float16)}
    blended = train.blended(average, initial, 0.25)
    assert blended["weight"].tolist() == [0.75, 0.75]
    assert blended["counter"] == 7
    assert train.blended(average, {}, 0.0) == average


def test_every_stage_draws_whole_shards_and_settles_before_it_ends() -> None:
    for stage in recipe.STAGES:
        assert not any(number % recipe.SHARD for number in stage.first), stage.name
        assert 0 < stage.settle < stage.steps, stage.name
        assert stage.cool < stage.steps, stage.name
        assert recipe.learning_rate(stage, 0) < stage.rate
        assert recipe.learning_rate(stage, stage.steps - 1) < 0.02 * stage.rate
