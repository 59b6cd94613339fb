"""Scenes drawn by chance so that the lower of two pixels is the nearer one as often as is asked."""

from dataclasses import replace

import numpy as np
import pytest
from scripts import load_script

framing = load_script("training/depth/framing.py")
recipe = load_script("training/depth/recipe.py", neighbours=True)
train = load_script("training/depth/train.py", neighbours=True)


def ramp(towards: float) -> np.ndarray:
    """Log inverse depth of (48, 64) that rises downwards by ``towards``."""
    rows = np.linspace(0, towards, 48)[:, None]
    return np.repeat(rows, 64, axis=1).astype(np.float16)


def test_a_floor_follows_the_rule_a_ceiling_breaks_it_and_a_wall_says_nothing() -> None:
    halves = np.concatenate([ramp(3.0)[:, :32], ramp(-3.0)[:, 32:]], axis=1)
    shares = framing.lower_is_nearer(np.stack([ramp(3.0), ramp(-3.0), ramp(0.0), halves]))
    assert shares[:3].tolist() == [1.0, 0.0, 0.5]
    assert shares[3] == pytest.approx(0.5, abs=0.1)


def test_pairs_hardly_apart_do_not_count() -> None:
    slight = ramp(0.9 * framing.CLEAR)
    slight[:5] = 3.0  # ... but the ceiling is near: only its pairs are clear, and none follow
    assert framing.lower_is_nearer(slight[None])[0] == 0.0


def test_chances_have_the_mean_that_is_asked_and_are_even_where_it_is_reached_anyway() -> None:
    shares = np.random.default_rng(0).uniform(0.3, 1.0, 500)
    chances = framing.chances(shares, 0.85)
    assert chances.sum() == pytest.approx(1)
    assert chances @ shares == pytest.approx(0.85, abs=1e-6)
    order = np.argsort(shares)
    assert (np.diff(chances[order]) > 0).all()
    assert np.allclose(framing.chances(shares, 0.5), 1 / 500)
    with pytest.raises(ValueError, match="highest share"):
        framing.chances(shares, 1.0)


def test_scenes_are_drawn_by_their_chances_and_only_where_there_are_any() -> None:
    stage = replace(
        recipe.STAGES[1], mixed=4, clean=0, worlds=4, worlds_share=1.0, batch=64, steps=10
    )

    def shard(first: int) -> train.Shard:
        numbers = np.arange(first, first + 4)
        return train.Shard(numbers, numbers, numbers)

    def drawn(cumulated: dict[str, np.ndarray]) -> set[int]:
        scenes = train.Scenes([shard(0)], [], [shard(10)], [], [], [], [], cumulated)
        picked = scenes.pick(stage, np.random.default_rng(0), settled=False)
        return {int(scene[0]) for scene in picked}

    assert drawn({}) == {10, 11, 12, 13}
    assert drawn({"worlds": np.array([0.0, 0.5, 0.5, 1.0])}) == {11, 13}


def test_framed_scenes_of_every_source_but_the_toolkit_follow_the_rule_as_often_as_asked() -> None:
    maps = np.stack([ramp(3.0), ramp(-3.0), ramp(3.0), ramp(0.0)])
    shard = train.Shard(maps, maps, maps)
    scenes = train.Scenes([shard], [], [shard, shard], [shard], [], [], ["worlds-0"], {})
    framed = train.framed(scenes, 0.85)
    assert framed.cumulated.keys() == {"worlds", "interiors"}
    for cumulated, count in ((framed.cumulated["worlds"], 8), (framed.cumulated["interiors"], 4)):
        assert len(cumulated) == count
        assert cumulated[-1] == 1
        chances = np.diff(cumulated, prepend=0)
        assert chances @ np.tile([1, 0, 1, 0.5], count // 4) == pytest.approx(0.85)
    assert framed.rendered_by == ["worlds-0"]
    assert train.framed(framed, 0.0).cumulated == {}, "as they were rendered"
