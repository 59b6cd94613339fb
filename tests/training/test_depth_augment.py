"""Restyled training pictures of the depth network: other paint, the same shapes."""

from typing import Any

import cv2
import numpy as np
import pytest
from scripts import load_script

augment = load_script("training/depth/augment.py", neighbours=True)

SIZE = (96, 128)


@pytest.fixture
def picture() -> np.ndarray:
    """A bright square on a dark, slightly grainy ground."""
    grain = np.random.default_rng(0).integers(40, 60, (*SIZE, 3)).astype(np.uint8)
    grain[30:60, 40:80] = (200, 120, 60)
    return cv2.GaussianBlur(grain, (0, 0), 1)


def test_a_restyled_picture_has_other_colours_and_edges_where_they_were(
    picture: np.ndarray,
) -> None:
    changed, kept = [], []
    for seed in range(20):
        made = augment.restyle(np.random.default_rng(seed), picture)
        assert made.shape == picture.shape
        assert made.dtype == np.uint8
        changed.append(np.abs(made.astype(float) - picture).mean())
        edges = cv2.Laplacian(made, cv2.CV_32F).__abs__().sum(axis=2)
        near = np.zeros(SIZE, bool)
        near[22:68, 32:88] = True
        near[38:52, 48:72] = False
        kept.append(edges[near].mean() > edges[~near].mean())
    assert np.mean(changed) > 4
    assert np.mean(kept) > 0.9


def test_brightness_and_spread_stay_about_as_they_were(picture: np.ndarray) -> None:
    for seed in range(20):
        made = augment.restyle(np.random.default_rng(seed), picture)
        assert made.mean() == pytest.approx(picture.mean(), abs=25)


def test_stages_that_restyle_nothing_see_the_pictures_they_always_saw(
    picture: np.ndarray,
) -> None:
    depth, ids = np.zeros(SIZE, np.float16), np.zeros(SIZE, np.uint8)

    def drawn(share: float | None, seed: int) -> Any:
        rng = np.random.default_rng(seed)
        more = {} if share is None else {"restyled": share}
        return augment.augment(rng, picture, depth, ids, SIZE, **more), rng.random()

    for seed in range(5):
        (before, after), (default, after_default) = drawn(0.0, seed), drawn(None, seed)
        assert np.array_equal(before.image, default.image)
        assert after == after_default
        assert not np.array_equal(drawn(1.0, seed)[0].image, before.image)


def test_a_faded_picture_is_paler_and_as_bright(picture: np.ndarray) -> None:
    def saturation(image: np.ndarray) -> float:
        return float(np.ptp(image.astype(float), axis=2).mean())

    for seed in range(20):
        made = augment.fade(np.random.default_rng(seed), picture)
        assert made.dtype == np.uint8
        assert 0.05 < saturation(made) / saturation(picture) < 0.65
        assert made.mean() == pytest.approx(picture.mean(), abs=1)


class Chosen:
    """A generator of which the coins, ``random()``, fall as a test wants them."""

    def __init__(self, *coins: float) -> None:
        self.coins = list(coins)
        self._rng = np.random.default_rng(0)

    def random(self) -> float:
        return self.coins.pop(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rng, name)


NO = 0.99


@pytest.mark.parametrize(
    ("effect", "coins", "least", "most"),
    [
        ("nothing", (NO, NO, NO, NO), 0, 0),
        ("colour", (0, 0.5, NO, NO, NO), 1, 100),
        ("grey", (0, 0, NO, NO, NO), 1, 100),
        ("blur", (NO, 0, NO, NO), 0.05, 20),
        ("noise", (NO, NO, 0, NO), 0.5, 20),
        ("jpeg", (NO, NO, NO, 0), 0.05, 20),
    ],
)
def test_every_effect_of_film_changes_a_picture_a_little(
    effect: str, coins: tuple[float, ...], least: float, most: float
) -> None:
    picture = np.random.default_rng(1).integers(90, 120, (*SIZE, 3)).astype(np.uint8)
    picture[30:60, 40:80] = (200, 120, 60)
    rng = Chosen(*coins)
    made = augment._film(rng, picture.copy())
    assert rng.coins == [], "every effect tosses its coin"
    assert (made.shape, made.dtype) == (picture.shape, np.uint8)
    change = made.astype(float) - picture
    assert least <= np.abs(change).mean() <= most

    def grain(image: np.ndarray) -> float:
        return float(np.abs(np.diff(image[:25].astype(float), axis=1)).mean())

    if effect == "grey":
        # white balance stays: channels are the same picture, each a little brighter or darker
        flat = made.reshape(-1, 3).astype(float).T
        assert np.corrcoef(flat).min() > 0.98
    if effect == "blur":
        assert grain(made) < 0.9 * grain(picture)
        assert made.mean() == pytest.approx(picture.mean(), abs=1)
    if effect == "noise":
        assert 0.7 < change.std() < 14
        assert abs(change.mean()) < 1
