"""Measures on maps whose values can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from made_depth import scene
from scipy.stats import spearmanr

from pearl_data.depth_eval.measures import (
    DRAWS,
    Combined,
    Pairs,
    Resampled,
    align,
    combine,
    draw_pairs,
    draw_weights,
    measure_map,
    measure_points,
    score_points,
    spearman,
    unalignable,
)
from pearl_data.depth_eval.point_pairs import PointPair


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def ends(found: Combined, *, is_share: bool = False) -> tuple[float | None, float | None, str]:
    estimate = found.estimate(is_share=is_share)
    return estimate.low, estimate.high, estimate.interval


def measure(inverse: np.ndarray, depth: np.ndarray, pairs: Pairs | None = None) -> dict[str, float]:
    chosen = pairs or draw_pairs(depth, 4000, 1.25, rng())
    measured, _ = measure_map(inverse.astype(np.float32), depth, chosen, rng())
    parts = {n: getattr(measured, n) for n in ("ordinal", "spearman", "abs_rel", "delta_1")}
    return {name: part.total / part.weight for name, part in parts.items()}


def test_the_truth_itself_is_right_at_any_scale_and_shift() -> None:
    depth = scene()[1]
    found = measure(3 / depth + 7, depth)
    assert found["ordinal"] == 1
    assert found["spearman"] == pytest.approx(1)
    assert found["abs_rel"] == pytest.approx(0, abs=1e-5)
    assert found["delta_1"] == 1


def test_a_flipped_map_is_wrong_everywhere_and_alignment_does_not_hide_it() -> None:
    depth = scene()[1]
    found = measure(-1 / depth, depth)
    assert found["ordinal"] == 0
    assert found["spearman"] == pytest.approx(-1)
    constant = measure(np.ones_like(depth), depth)
    assert found["abs_rel"] == pytest.approx(constant["abs_rel"])


def test_a_constant_map_scores_half_by_ties() -> None:
    depth = scene()[1]
    found = measure(np.ones_like(depth), depth)
    assert found["ordinal"] == 0.5
    assert found["spearman"] == 0


def test_errors_are_those_of_depth() -> None:
    """Half of the pixels at 1 m, half at 2 m; predicted inverse depths 1 and 0.5 swapped in a
    quarter: fitted values follow from least squares.
    """
    depth = np.ones((8, 8), np.float32)
    depth[:, 4:] = 2
    inverse = 1 / depth
    inverse[:2] = inverse[:2, ::-1]
    truth = 1 / depth
    slope = np.cov(inverse.ravel(), truth.ravel())[0, 1] / inverse.var(ddof=1)
    fitted = slope * (inverse - inverse.mean()) + truth.mean()
    wrong = np.abs(1 / fitted - depth) / depth
    ratio = np.maximum(truth / fitted, fitted / truth)
    found = measure(inverse, depth)
    assert found["abs_rel"] == pytest.approx(wrong.mean(), rel=1e-5)
    assert found["delta_1"] == pytest.approx((ratio < 1.25).mean())
    assert found["spearman"] == pytest.approx(spearmanr(inverse.ravel(), truth.ravel())[0])


def test_unknown_depth_takes_no_part() -> None:
    depth = scene()[1].copy()
    inverse = 1 / depth
    inverse[:10] = 99
    depth[:10] = np.nan
    found = measure(inverse, depth)
    assert found["ordinal"] == 1
    assert found["abs_rel"] == pytest.approx(0, abs=1e-5)


def test_pairs_are_clear_known_and_nearer_first() -> None:
    depth = scene()[1].copy()
    depth[40:] = np.nan
    pairs = draw_pairs(depth, 5000, 1.5, rng())
    near, far = depth.ravel()[pairs.near], depth.ravel()[pairs.far]
    assert near.size > 1000
    assert (far > 1.5 * near).all()


@pytest.mark.parametrize(
    ("given", "flipped"), [([1, 2, 4], False), ([4, 2, 1], True), ([0.1, 0.1, 0.1], False)]
)
def test_a_map_is_flipped_where_its_best_scale_is_below_0(
    given: list[float], flipped: bool
) -> None:
    at, truth = np.array(given, np.float32), np.array([0.2, 0.5, 1.0])
    assert align(at.astype(np.float64), at, truth)[1] is flipped


def test_alignment_never_predicts_beyond_the_farthest_truth() -> None:
    truth = np.array([0.2, 1.0])
    aligned, flipped = align(np.array([[-9.0, 0.0, 1.0]]), np.array([0.0, 1.0], np.float32), truth)
    assert not flipped
    assert aligned.tolist() == [[0.2, 0.2, 1.0]]


def test_points_are_looked_up_where_they_are() -> None:
    inverse = np.zeros((4, 6), np.float32)
    inverse[1, 5] = 1
    points = [((5, 1), (0, 0)), ((2, 2), (3, 3)), ((0, 0), (5.9, 1.9))]
    scores = score_points(inverse, [PointPair(near, far, "") for near, far in points])
    assert scores.tolist() == [1, 0.5, 0]
    measured = measure_points(scores, rng())
    assert (measured.ordinal.total, measured.ordinal.weight) == (1.5, 3)
    assert measured.spearman is None


@pytest.mark.parametrize(
    ("scores", "low", "high"),
    [([1], 0.207, 1), ([1, 1], 0.342, 1), ([0, 0.5], 0.027, 0.802), ([1] * 40, 0.912, 1)],
)
def test_few_pairs_or_pairs_all_alike_have_the_interval_of_wilson(
    scores: list[float], low: float, high: float
) -> None:
    """A bootstrap of them would be [1, 1]."""
    found = combine([measure_points(np.array(scores, np.float64), rng()).ordinal], rng())
    assert found is not None
    assert ends(found, is_share=True) == (
        pytest.approx(low, abs=1e-3),
        pytest.approx(high, abs=1e-3),
        "wilson",
    )
    assert ends(found) == ends(found.less(found)) == (None, None, "none")


@pytest.mark.parametrize(("count", "kind"), [(19, "wilson"), (20, "bootstrap")])
def test_twenty_pairs_are_enough_for_a_bootstrap(count: int, kind: str) -> None:
    scores = np.array([0.0] + [1.0] * (count - 1))
    halves = [measure_points(part, rng()).ordinal for part in (scores[:5], scores[5:])]
    found = combine(halves, rng())
    assert found is not None
    assert found.estimate(is_share=True).interval == kind


@pytest.mark.parametrize(("count", "low"), [(1, 0.207), (19, 0.832)])
def test_few_pairs_of_a_map_count_as_few_on_however_many_tiles(count: int, low: float) -> None:
    depth = scene()[1]  # 64 tiles
    drawn = draw_pairs(depth, 4000, 1.25, rng())
    few = Pairs(*(part[:count] for part in drawn))
    found = combine([measure_map(1 / depth, depth, few, rng())[0].ordinal], rng())
    assert found is not None
    assert found.units == count
    assert ends(found, is_share=True) == (pytest.approx(low, abs=1e-3), 1, "wilson")
    mixed = combine([measure_map(depth % 0.3, depth, few, rng())[0].ordinal], rng())
    assert mixed is not None
    assert mixed.estimate(is_share=True).interval == "wilson"
    assert mixed.less(found).estimate().interval == "none"


def test_depth_in_few_tiles_has_no_interval_but_of_shares() -> None:
    depth = scene()[1].copy()
    depth[:, 8:] = np.nan  # 8 tiles
    inverse = (1 / depth + np.random.default_rng(1).normal(0, 0.1, depth.shape)).astype(np.float32)
    pairs = draw_pairs(depth, 500, 1.25, rng())
    measured, _ = measure_map(np.nan_to_num(inverse), depth, pairs, rng())
    for name, is_share in {"ordinal": True, "delta_1": True, "abs_rel": False}.items():
        found = combine([getattr(measured, name)], rng())
        assert found is not None
        assert found.units == 8
        assert found.estimate(is_share=is_share).interval == ("wilson" if is_share else "none")


def test_intervals_hold_the_value_and_shrink_with_more_pictures() -> None:
    depth = scene()[1]

    def one(seed: int) -> Resampled:
        noise = np.random.default_rng(seed).normal(0, 0.15, depth.shape)
        pairs = draw_pairs(depth, 3000, 1.25, np.random.default_rng(seed))
        inverse = (1 / depth + noise).astype(np.float32)
        return measure_map(inverse, depth, pairs, rng())[0].ordinal

    widths = []
    for count in (2, 12):
        found = combine([one(seed) for seed in range(count)], rng())
        assert found is not None
        figure = found.estimate()
        assert figure.low < figure.value < figure.high
        widths.append(figure.high - figure.low)
    assert widths[1] < widths[0]


def test_sparse_truth_is_drawn_from_where_it_is() -> None:
    """Depth in 3 of 64 tiles: every draw is of these, and none counts as 0."""
    depth = np.full((64, 64), np.nan, np.float32)
    rng_ = np.random.default_rng(3)
    for row, column in ((0, 0), (24, 40), (56, 8)):
        depth[row : row + 8, column : column + 8] = rng_.uniform(1, 9, (8, 8))
    inverse = (1 / depth + rng_.normal(0, 0.1, depth.shape)).astype(np.float32)
    inverse = np.nan_to_num(inverse)
    pairs = draw_pairs(depth, 500, 1.25, rng())
    measured, _ = measure_map(inverse, depth, pairs, rng())
    for part in (measured.spearman, measured.abs_rel, measured.delta_1, measured.ordinal):
        assert part is not None
        assert (part.weights > 0).all()
        drawn = part.totals / part.weights
        value = part.total / part.weight
        assert 0.5 * value < drawn.min() <= value <= drawn.max() < 2 * value


def test_a_draw_whose_truth_is_all_alike_has_no_correlation() -> None:
    """Two tiles, one at 1 m and one at 2 m: half of the draws hold only one of them."""
    depth = np.full((8, 8), np.nan, np.float32)
    depth[0, 0], depth[7, 7] = 1, 2
    pairs = draw_pairs(depth, 20, 1.25, rng())
    measured, _ = measure_map(np.nan_to_num(1 / depth), depth, pairs, rng())
    found = measured.spearman
    assert found is not None
    assert found.total == pytest.approx(1)
    assert 0.4 < found.weights.mean() < 0.6
    np.testing.assert_allclose(found.totals[found.weights > 0], 1)
    assert (found.totals[found.weights == 0] == 0).all()


def test_truth_that_is_all_alike_has_no_correlation() -> None:
    """A wall at 2 m says nothing of a model, and must not count as 0 in a mean over pictures."""
    wall, depth = np.full((16, 16), 2, np.float32), scene()[1]
    none, _ = measure_map(
        np.eye(16, dtype=np.float32), wall, draw_pairs(wall, 9, 1.25, rng()), rng()
    )
    some, _ = measure_map(1 / depth, depth, draw_pairs(depth, 9, 1.25, rng()), rng())
    assert combine([none.spearman], rng()) is None
    found = combine([none.spearman, some.spearman], rng())
    assert found is not None
    assert found.value == pytest.approx(1)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Pictures whose tiles are right or wrong as a whole: 150 trials, the true share is 0.7."""
    generator = np.random.default_rng(5)
    hits = 0
    for _ in range(150):
        right = (generator.random(64) < 0.7).astype(np.float64)
        weights = draw_weights(64, generator)
        part = Resampled(right.sum(), 64.0, weights @ right, weights.sum(axis=1), 64)
        found = combine([part], generator)
        assert found is not None
        assert found.draws.size == DRAWS
        figure = found.estimate()
        hits += figure.low <= 0.7 <= figure.high
    assert 0.9 <= hits / 150 <= 0.99


def test_nothing_measured_is_no_figure() -> None:
    empty = Resampled(0.0, 0.0, np.zeros(1000), np.zeros(1000), 0)
    assert combine([empty], rng()) is None


def test_a_constant_map_correlates_with_nothing() -> None:
    assert spearman(np.zeros(4), np.arange(4.0)) == 0
    assert spearman(np.arange(4.0), np.array([1.0, 2.0, 2.0, 0.0])) == pytest.approx(
        -0.3162, abs=1e-4
    )


@pytest.mark.parametrize(
    ("known", "spread", "reason"),
    [(19, 1.0, "few_pixels"), (20, 1.0, None), (48, 0.0, "one_depth"), (1, 1.0, "one_depth")],
)
def test_a_truth_needs_20_pixels_and_two_depths_for_an_alignment(
    known: int, spread: float, reason: str | None
) -> None:
    depth = np.full(48, np.nan, np.float32)
    depth[:known] = 2 + spread * np.arange(known)
    assert unalignable(depth.reshape(6, 8)) == reason
