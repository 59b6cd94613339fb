"""Scores of a depth map against the truth, and their means over pictures with intervals.

Ordinal accuracy (share of pixel pairs in the right order, arXiv 1604.03901); Spearman's correlation
with true inverse depth; AbsRel and delta-1 of depth (arXiv 1406.2283) after one scale and one shift
of inverse depth by least squares (arXiv 1907.01341). Intervals come from a bootstrap in two stages
(Field and Welsh 2007, doi 10.1111/j.1467-9868.2007.00593.x): of pictures, and of 8 x 8 tiles or
annotated pairs within them, since pixels of one picture depend on each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pearl_data.depth_eval.point_pairs import PointPair
from pearl_data.depth_eval.records import Estimate
from pearl_data.wilson import share

DRAWS: Final = 1000
GRID: Final = 8
FEWEST_UNITS: Final = 20
"""With fewer tiles or pairs a bootstrap is far too narrow: of 5 pairs with a true share of 0.8 its
95 % interval holds that share in 65 % of cases, of 20 in 93 %."""
FEWEST_PIXELS: Final = 20
"""With fewer pixels two fitted numbers say too much: with 2 every map is right."""
ONE_DEPTH: Final = 1.001
"""A truth whose farthest is at most this times its nearest is constant: a wall seen head-on."""
DELTA: Final = 1.25
Map = NDArray[np.float32]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Pairs(NamedTuple):
    """The nearer and the farther pixels of pairs, (n,) each, as indices into the flat picture."""

    near: Ints
    far: Ints


class Resampled(NamedTuple):
    """A ratio total / weight in one picture: as measured, and in each draw of its ``units``."""

    total: float
    weight: float
    totals: Floats
    weights: Floats
    units: int


class Measured(NamedTuple):
    """The scores of one picture; None if the truth gives no ground for one.

    ``flipped``: the best scale of the alignment is negative, so the aligned map is constant.
    """

    pairs: int
    pixels: int
    ordinal: Resampled
    spearman: Resampled | None = None
    abs_rel: Resampled | None = None
    delta_1: Resampled | None = None
    flipped: bool = False


class Combined(NamedTuple):
    """A value over pictures with its draws; draws without weight are nan."""

    value: float
    draws: Floats
    units: int

    def estimate(self, *, is_share: bool = False) -> Estimate:
        """The value with its interval: Wilson's for few units, if it ``is_share`` of them."""
        value = round(self.value, 5)
        if self.units >= FEWEST_UNITS and not np.isnan(self.draws).all():
            low, high = (float(v) for v in np.nanpercentile(self.draws, (2.5, 97.5)))
            if high - low > 1e-9:
                return Estimate(value=value, low=round(low, 5), high=round(high, 5))
        wilson = share(min(self.value * self.units, self.units), self.units) if is_share else None
        if wilson is None or wilson.low is None or wilson.high is None:
            return Estimate(value=value, low=None, high=None, interval="none")
        low, high = round(wilson.low, 5), round(wilson.high, 5)
        return Estimate(value=value, low=low, high=high, interval="wilson")

    def less(self, other: Combined) -> Combined:
        """The difference, draw by draw."""
        units = min(self.units, other.units)
        return Combined(self.value - other.value, self.draws - other.draws, units)


def combine(pictures: Sequence[Resampled | None], rng: np.random.Generator) -> Combined | None:
    """Total over weight of all pictures; None without any weight.

    Equal ``rng`` draw equal pictures, so that the difference of two methods has draws too.
    """
    known = [picture for picture in pictures if picture is not None]
    weight = sum(picture.weight for picture in known)
    if weight == 0:
        return None
    count = len(known)
    chosen, within = np.zeros((DRAWS, 1), int), np.arange(DRAWS)[:, None]  # one picture: its draws
    if count > 1:
        chosen, within = (rng.integers(most, size=(DRAWS, count)) for most in (count, DRAWS))
    totals = np.stack([picture.totals for picture in known])[chosen, within].sum(axis=1)
    weights = np.stack([picture.weights for picture in known])[chosen, within].sum(axis=1)
    drawn = np.divide(totals, weights, out=np.full(DRAWS, np.nan), where=weights > 0)
    units = sum(picture.units for picture in known if picture.weight > 0)
    return Combined(float(sum(picture.total for picture in known) / weight), drawn, units)


def draw_weights(count: int, rng: np.random.Generator) -> Floats:
    """Draws of ``count`` units with replacement, as the count of each: (DRAWS, count)."""
    return rng.multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(np.float64)


def draw_pairs(depth_m: Map, count: int, ratio: float, rng: np.random.Generator) -> Pairs:
    """Those of ``count`` random pairs of known pixels whose depths differ by over ``ratio``."""
    known = np.flatnonzero(np.isfinite(depth_m))
    first, second = known[rng.integers(known.size, size=(2, count))]
    depth = depth_m.ravel()
    near = np.where(depth[first] <= depth[second], first, second)
    far = first + second - near
    clear = depth[far] > ratio * depth[near]
    return Pairs(near[clear], far[clear])


def unalignable(depth_m: Map) -> Literal["one_depth", "few_pixels"] | None:
    """The reason why every map would be right after an alignment to ``depth_m``, or None."""
    if np.nanmax(depth_m) <= ONE_DEPTH * np.nanmin(depth_m):
        return "one_depth"
    return "few_pixels" if np.isfinite(depth_m).sum() < FEWEST_PIXELS else None


def measure_map(
    inverse: Map, depth_m: Map, pairs: Pairs, rng: np.random.Generator
) -> tuple[Measured, Map]:
    """The scores of a predicted map, and the map in 1/m after alignment.

    Args:
        inverse: predicted relative inverse depth, larger = nearer, of the truth's shape.
        depth_m: the truth in metres, nan if unknown.
        pairs: from :func:`draw_pairs`.
        rng: draws the tiles; those without truth are not drawn.

    """
    known = np.isfinite(depth_m)
    given, truth = inverse[known], 1 / depth_m[known].astype(np.float64)
    rows, columns = (np.arange(length) * GRID // length for length in depth_m.shape)
    tile_map = rows[:, None] * GRID + columns
    held, tiles = np.unique(tile_map[known], return_inverse=True)
    weights = draw_weights(held.size, rng)
    aligned, flipped = align(inverse.astype(np.float64), given, truth)
    ratio = truth / aligned[known]  # predicted over true depth
    good = np.maximum(ratio, 1 / ratio) < DELTA
    no_ground = unalignable(depth_m)
    pair_tiles = [np.searchsorted(held, tile_map.ravel()[part]) for part in pairs]
    measured = Measured(
        pairs=pairs.near.size,
        pixels=given.size,
        ordinal=_ordinal(_order(*(inverse.ravel()[part] for part in pairs)), pair_tiles, weights),
        spearman=_correlation(given, truth, tiles, weights),
        abs_rel=None if no_ground else _mean(np.abs(ratio - 1), tiles, weights),
        delta_1=None if no_ground else _mean(good.astype(np.float64), tiles, weights),
        flipped=flipped and no_ground != "one_depth",
    )
    return measured, aligned.astype(np.float32)


def score_points(inverse: Map, pairs: Sequence[PointPair]) -> Floats:
    """1 per pair in the right order, 0.5 for a tie, 0 for the wrong order, (n,)."""
    points = np.array([[pair.near, pair.far] for pair in pairs]).astype(np.int64)  # pair, point, xy
    return _order(*inverse[points[:, :, 1], points[:, :, 0]].T)


def measure_points(scores: Floats, rng: np.random.Generator) -> Measured:
    """Ordinal accuracy on annotated pairs from :func:`score_points`; draws are of pairs."""
    weights, count = draw_weights(scores.size, rng), scores.size
    total = float(scores.sum())
    drawn = Resampled(total, float(count), weights @ scores, weights.sum(axis=1), count)
    return Measured(pairs=count, pixels=0, ordinal=drawn)


def align(inverse: Floats, at: Map, truth: Floats) -> tuple[Floats, bool]:
    """``inverse`` times a scale plus a shift, by least squares of ``at`` on ``truth``.

    A negative scale (True) would hide a flipped sign: it becomes 0, the best constant. Values below
    the farthest true depth become that depth, so that depth stays finite.
    """
    given = at.astype(np.float64)
    spread = given - given.mean()
    variance, covariance = float(spread @ spread), float(spread @ truth)
    scale = max(covariance / variance, 0.0) if variance > 0 else 0.0
    shift = float(truth.mean()) - scale * float(given.mean())
    return np.maximum(scale * inverse + shift, float(truth.min())), covariance < 0


def spearman(first: Map, second: Map) -> float:
    """Spearman's rank correlation of two maps, -1..1; 0 if one of them is constant.

    >>> spearman(np.array([1.0, 2.0, 4.0]), np.array([10.0, 20.0, 30.0]))
    1.0
    """
    from scipy.stats import spearmanr

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second, axis=None).statistic)


def _order(near: Map, far: Map) -> Floats:
    return np.asarray((near > far) + 0.5 * (near == far), np.float64)


def _ordinal(scores: Floats, tiles: Sequence[Ints], weights: Floats) -> Resampled:
    """A pair is drawn as often as its two tiles are drawn together."""
    count = weights.shape[1]
    place = tiles[0] * count + tiles[1]
    sums = [
        ((weights @ by_tile.reshape(count, count)) * weights).sum(axis=1)
        for by_tile in (np.bincount(place, v, count**2) for v in (scores, np.ones_like(scores)))
    ]
    units = min(count, scores.size)  # few pairs are few, however many tiles there are
    return Resampled(float(scores.sum()), float(scores.size), sums[0], sums[1], units)


def _means(values: Floats, tiles: Ints, weights: Floats) -> Floats:
    """The mean of pixels in the picture, then in each draw of tiles: (1 + DRAWS,)."""
    total, pixels = np.bincount(tiles, values), np.bincount(tiles)
    return np.concatenate([[total.sum() / pixels.sum()], (weights @ total) / (weights @ pixels)])


def _mean(values: Floats, tiles: Ints, weights: Floats) -> Resampled:
    """The mean over pixels; all pictures weigh the same."""
    means = _means(values, tiles, weights)
    return Resampled(float(means[0]), 1.0, means[1:], np.ones(DRAWS), weights.shape[1])


def _correlation(given: Map, truth: Floats, tiles: Ints, weights: Floats) -> Resampled:
    """Spearman's, with the ranks of the whole picture in every draw.

    Constant truth, in the picture or a draw, has none and no weight; a constant prediction has 0.
    """
    from scipy.stats import rankdata

    a, b = (ranks - ranks.mean() for ranks in (rankdata(given), rankdata(truth)))
    mean_a, mean_b, both = (_means(values, tiles, weights) for values in (a, b, a * b))
    of_a, of_b = (
        np.maximum(_means(x * x, tiles, weights) - mean**2, 0)
        for x, mean in ((a, mean_a), (b, mean_b))
    )
    spread = np.sqrt(of_a * of_b)
    known = (of_b > 1e-9 * a.size**2).astype(np.float64)
    found = np.zeros_like(spread)
    np.divide(both - mean_a * mean_b, spread, out=found, where=spread > 1e-12)
    found *= known
    return Resampled(float(found[0]), float(known[0]), found[1:], known[1:], weights.shape[1])
