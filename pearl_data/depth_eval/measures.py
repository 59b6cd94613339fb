"""Scores of one depth map against the truth, and their means over pictures with intervals.

Ordinal accuracy (share of pixel pairs in the right order, arXiv 1604.03901); Spearman's correlation
with true inverse depth; AbsRel and delta-1 of depth (arXiv 1406.2283) after one scale and one shift
of inverse depth by least squares (arXiv 1907.01341).

Intervals come from a bootstrap in two stages (Field and Welsh 2007, doi
10.1111/j.1467-9868.2007.00593.x): of pictures, and of 8 x 8 tiles or annotated pairs within them,
since pixels of one picture depend on each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pearl_data.depth_eval.point_pairs import PointPair
from pearl_data.depth_eval.records import Estimate, Interval
from pearl_data.wilson import share

DRAWS: Final = 1000
GRID: Final = 8
CELLS: Final = GRID * GRID
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
    """Pixel pairs of one picture, the nearer pixel first: rows and columns, (n,) each."""

    near_row: Ints
    near_column: Ints
    far_row: Ints
    far_column: Ints


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
        low: float | None = None
        high: float | None = None
        interval: Interval = "none"
        if self.units >= FEWEST_UNITS and not np.isnan(self.draws).all():
            low, high = (float(v) for v in np.nanpercentile(self.draws, (2.5, 97.5)))
            interval = "bootstrap"
        if low is None or high is None or high - low <= 1e-9:
            low, high, interval = None, None, "none"
            if is_share and self.units:
                wilson = share(min(self.value * self.units, self.units), self.units)
                low, high, interval = wilson.low, wilson.high, "wilson"
        ends = [None if end is None else round(end, 5) for end in (low, high)]
        return Estimate(value=round(self.value, 5), low=ends[0], high=ends[1], interval=interval)

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
    """How often each draw holds each of ``count`` units: (DRAWS, count)."""
    return rng.multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(np.float64)


def draw_pairs(depth_m: Map, count: int, ratio: float, rng: np.random.Generator) -> Pairs:
    """Those of ``count`` random pairs of known pixels whose depths differ by over ``ratio``."""
    rows, columns = np.nonzero(np.isfinite(depth_m))
    first, second = rng.integers(rows.size, size=(2, count))
    depth = depth_m[rows, columns]
    near = np.where(depth[first] <= depth[second], first, second)
    far = first + second - near
    clear = depth[far] > ratio * depth[near]
    near, far = near[clear], far[clear]
    return Pairs(rows[near], columns[near], rows[far], columns[far])


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
    rows, columns = np.nonzero(np.isfinite(depth_m))
    given, truth = inverse[rows, columns], 1 / depth_m[rows, columns].astype(np.float64)
    tiles = _tiles(rows, columns, depth_m.shape)
    held = np.unique(tiles)
    weights = np.zeros((DRAWS, CELLS))
    weights[:, held] = draw_weights(held.size, rng)
    aligned, flipped = align(inverse.astype(np.float64), given, truth)
    ratio = truth / aligned[rows, columns]  # predicted over true depth
    good = (np.maximum(ratio, 1 / ratio) < DELTA).astype(np.float64)
    no_ground = unalignable(depth_m)
    measured = Measured(
        pairs=pairs.near_row.size,
        pixels=rows.size,
        ordinal=_ordinal(inverse, pairs, weights, held.size),
        spearman=_correlation(given, truth, tiles, weights, held.size),
        abs_rel=_mean(np.abs(ratio - 1), tiles, weights, held.size) if not no_ground else None,
        delta_1=_mean(good, tiles, weights, held.size) if not no_ground else None,
        flipped=flipped and no_ground != "one_depth",
    )
    return measured, aligned.astype(np.float32)


def score_points(inverse: Map, pairs: Sequence[PointPair]) -> Floats:
    """1 per pair in the right order, 0.5 for a tie, 0 for the wrong order, (n,)."""
    points = np.array([[pair.near, pair.far] for pair in pairs]).astype(np.int64)  # pair, point, xy
    near, far = inverse[points[:, :, 1], points[:, :, 0]].T
    return _order(near, far)


def measure_points(scores: Floats, rng: np.random.Generator) -> Measured:
    """Ordinal accuracy on annotated pairs from :func:`score_points`; draws are of pairs."""
    weights = draw_weights(scores.size, rng)
    total, count = float(scores.sum()), scores.size
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


def _tiles(rows: Ints, columns: Ints, shape: Sequence[int]) -> Ints:
    """The tile, 0 to CELLS-1, of each pixel of a picture of ``shape`` (height, width)."""
    return np.asarray((rows * GRID // shape[0]) * GRID + columns * GRID // shape[1], np.int64)


def _order(near: Map, far: Map) -> Floats:
    return np.asarray((near > far) + 0.5 * (near == far), np.float64)


def _ordinal(inverse: Map, pairs: Pairs, weights: Floats, held: int) -> Resampled:
    """A pair is drawn as often as its two tiles are drawn together."""
    near, far = (pairs.near_row, pairs.near_column), (pairs.far_row, pairs.far_column)
    scores = _order(inverse[near], inverse[far])
    place = _tiles(*near, inverse.shape) * CELLS + _tiles(*far, inverse.shape)
    right = np.bincount(place, scores, CELLS**2).reshape(CELLS, CELLS)
    count = np.bincount(place, minlength=CELLS**2).reshape(CELLS, CELLS)
    return Resampled(
        float(scores.sum()),
        float(scores.size),
        ((weights @ right) * weights).sum(axis=1),
        ((weights @ count) * weights).sum(axis=1),
        min(held, scores.size),  # few pairs are few, however many tiles there are
    )


def _mean(values: Floats, tiles: Ints, weights: Floats, held: int) -> Resampled:
    """The mean over pixels; all pictures weigh the same."""
    total, count = np.bincount(tiles, values, CELLS), np.bincount(tiles, minlength=CELLS)
    return Resampled(
        float(values.mean()), 1.0, (weights @ total) / (weights @ count), np.ones(DRAWS), held
    )


def _correlation(given: Map, truth: Floats, tiles: Ints, weights: Floats, held: int) -> Resampled:
    """Spearman's, with the ranks of the whole picture in every draw.

    Constant truth, in the picture or a draw, has none and no weight; a constant prediction has 0.
    """
    from scipy.stats import rankdata

    a, b = (ranks - ranks.mean() for ranks in (rankdata(given), rankdata(truth)))

    def mean(values: Floats) -> Floats:  # in the picture, then in each draw
        total, count = np.bincount(tiles, values, CELLS), np.bincount(tiles, minlength=CELLS)
        return np.concatenate([[total.sum() / count.sum()], (weights @ total) / (weights @ count)])

    mean_a, mean_b = mean(a), mean(b)
    of_a, of_b = (np.maximum(mean(x * x) - m**2, 0) for x, m in ((a, mean_a), (b, mean_b)))
    spread = np.sqrt(of_a * of_b)
    known = (of_b > 1e-9 * a.size**2).astype(np.float64)
    found = np.zeros_like(spread)
    np.divide(mean(a * b) - mean_a * mean_b, spread, out=found, where=spread > 1e-12)
    value, weight = float(found[0] * known[0]), float(known[0])
    return Resampled(value, weight, found[1:] * known[1:], known[1:], held)
