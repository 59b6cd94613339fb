"""Training pictures of the depth network through a lens: what is blurred and what is lit, by
distance.
"""

import numpy as np
import pytest
from scripts import load_script

lens = load_script("training/depth/lens.py")

SIZE = (64, 96)
LEFT, RIGHT = np.s_[:, 8:40], np.s_[:, 56:88]


@pytest.fixture
def grain() -> np.ndarray:
    """A fine pattern, linear light (64, 96, 3)."""
    light: np.ndarray = np.random.default_rng(0).uniform(0.2, 0.4, (*SIZE, 3)).astype(np.float32)
    return light


@pytest.fixture
def inverse() -> np.ndarray:
    """Inverse depth (64, 96): the left half is four times as near as the right."""
    return np.where(np.arange(96) < 48, 1.0, 0.25)[None].repeat(64, axis=0).astype(np.float32)


def roughness(light: np.ndarray) -> float:
    return float(np.abs(np.diff(light, axis=0)).mean())


def test_what_is_in_focus_stays_as_it_was_and_the_rest_is_blurred_the_more_the_farther_it_is(
    grain: np.ndarray, inverse: np.ndarray
) -> None:
    made = lens.defocused(grain, inverse - 1.0, 4.0)
    np.testing.assert_allclose(made[LEFT], grain[LEFT], atol=1e-5)
    assert roughness(made[RIGHT]) < 0.3 * roughness(grain[RIGHT])
    assert made[RIGHT].mean() == pytest.approx(grain[RIGHT].mean(), rel=0.02)
    less = lens.defocused(grain, inverse - 1.0, 1.0)
    assert roughness(made[RIGHT]) < 0.8 * roughness(less[RIGHT])
    behind = lens.defocused(grain, inverse - 0.25, 4.0)
    np.testing.assert_allclose(behind[RIGHT], grain[RIGHT], atol=1e-5)
    assert roughness(behind[LEFT]) < 0.3 * roughness(grain[LEFT]), "before the plane in focus too"


def test_what_is_in_focus_leaves_no_ghost_around_it(inverse: np.ndarray) -> None:
    """A bright thing in focus before a dark ground out of focus: the ground stays dark."""
    light = np.where(inverse == 1, 0.9, 0.1)[..., None].repeat(3, axis=2).astype(np.float32)
    made = lens.defocused(light, inverse - 1.0, 4.0)
    np.testing.assert_allclose(made, light, atol=0.02)


def test_a_flash_lights_what_is_near_and_leaves_the_distance_to_the_ambient_light(
    grain: np.ndarray, inverse: np.ndarray
) -> None:
    made = lens.flashed(grain, inverse, 1.0, 0.2)
    np.testing.assert_allclose(made[LEFT], grain[LEFT], atol=1e-6)
    np.testing.assert_allclose(made[RIGHT], grain[RIGHT] * (0.2 + 0.8 / 16), atol=1e-6)
    assert lens.flashed(grain, inverse, 0.1, 0.0).max() == 1, "no whiter than white"


def test_every_picture_is_changed_by_distance_and_never_out_of_range(inverse: np.ndarray) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    changed = []
    for seed in range(40):
        made = lens.photographed(np.random.default_rng(seed), picture, np.log(inverse))
        assert (made.shape, made.dtype) == (picture.shape, np.uint8)
        change = np.abs(made.astype(float) - picture)
        changed.append((change[LEFT].mean(), change[RIGHT].mean()))
        again = lens.photographed(np.random.default_rng(seed), picture, np.log(inverse) - 3)
        assert np.abs(made.astype(float) - again).mean() < 0.5, "the scale of the truth is nothing"
    left, right = np.array(changed).T
    assert (np.abs(left - right) > 1).mean() > 0.9
    assert (left > right).any()
    assert (right > left).any()
