"""What a depth map is worth beside the truth, for one picture: four measures, resampled by tiles.

Ordinal accuracy (the share of pixel pairs in the right order, arXiv 1604.03901), Spearman's rank
correlation with true inverse depth, and, after the prediction is brought to the truth by one scale
and one shift of inverse depth (least squares, arXiv 1907.01341), AbsRel and delta-1 of depth (arXiv
1406.2283). Where the truth is one depth or a few pixels that alignment is right whatever was
predicted, so there is no error to give. Leaves out averages over pictures (`bootstrap.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pearl_data.depth_eval.bootstrap import DRAWS, GRID, Resampled, draw_weights, tile_of
from pearl_data.depth_eval.point_pairs import PointPair
from pearl_data.depth_eval.ranks import ranks

DELTA: Final = 1.25
FEWEST_PIXELS: Final = 20
"""Of fewer pixels two fitted numbers say too much: of 2 every map is right after alignment."""
ONE_DEPTH: Final = 1.001
"""Truth whose farthest is at most this times its nearest is one depth: a wall seen head-on."""
Map = NDArray[np.float32]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Pairs(NamedTuple):
    """Pixel pairs of one picture, the nearer pixel first: their rows and columns, (n,) each."""

    near_row: Ints
    near_column: Ints
    far_row: Ints
    far_column: Ints


class Measured(NamedTuple):
    """One picture's measures; None where the truth has no depth but only pairs. ``abs_rel`` and
    ``delta_1`` are also None where the truth is no ground for an alignment. ``flipped`` says that
    the best scale is below 0, so that the alignment made the map one depth (:func:`align`).
    """

    pairs: int
    pixels: int
    ordinal: Resampled
    spearman: Resampled | None
    abs_rel: Resampled | None
    delta_1: Resampled | None
    flipped: bool = False


def draw_pairs(depth_m: Map, count: int, ratio: float, rng: np.random.Generator) -> Pairs:
    """Those of ``count`` random pairs of known pixels whose depths are over ``ratio`` apart."""
    rows, columns = np.nonzero(np.isfinite(depth_m))
    first, second = rng.integers(rows.size, size=(2, count))
    depth = depth_m[rows, columns]
    near = np.where(depth[first] <= depth[second], first, second)
    far = first + second - near
    clear = depth[far] > ratio * depth[near]
    near, far = near[clear], far[clear]
    return Pairs(rows[near], columns[near], rows[far], columns[far])


def is_one_depth(depth_m: Map) -> bool:
    """Whether all that is known of ``depth_m`` is alike: no order, and nothing to align by."""
    return bool(np.nanmax(depth_m) <= ONE_DEPTH * np.nanmin(depth_m))


def is_few(depth_m: Map) -> bool:
    """Whether fewer pixels are known than an alignment needs."""
    return bool(np.isfinite(depth_m).sum() < FEWEST_PIXELS)


def measure_map(
    inverse: Map, depth_m: Map, pairs: Pairs, rng: np.random.Generator
) -> tuple[Measured, Map]:
    """The measures of a predicted map, and the map in 1/m after alignment.

    Args:
        inverse: predicted relative inverse depth, larger = nearer, of the truth's shape.
        depth_m: the truth in metres, nan where unknown.
        pairs: as :func:`draw_pairs` gives them.
        rng: draws the tiles.

    """
    rows, columns = np.nonzero(np.isfinite(depth_m))
    tiles = tile_of(rows, columns, depth_m.shape)
    weights = _tile_weights(tiles, rng)
    truth = 1 / depth_m[rows, columns].astype(np.float64)
    aligned = align(inverse.astype(np.float64), inverse[rows, columns], truth)
    wrong = np.abs(truth / aligned[rows, columns] - 1)  # |z' - z| / z
    ratio = truth / aligned[rows, columns]
    good = np.maximum(ratio, 1 / ratio) < DELTA
    alike = is_one_depth(depth_m)
    grounded = not (alike or is_few(depth_m))
    return (
        Measured(
            pairs=pairs.near_row.size,
            pixels=rows.size,
            ordinal=_ordinal(inverse, pairs, weights),
            spearman=_correlation(inverse[rows, columns], truth, tiles, weights),
            abs_rel=_mean(wrong, tiles, weights) if grounded else None,
            delta_1=_mean(good.astype(np.float64), tiles, weights) if grounded else None,
            flipped=not alike and is_flipped(inverse[rows, columns], truth),
        ),
        aligned.astype(np.float32),
    )


def measure_points(scores: Floats, rng: np.random.Generator) -> Measured:
    """Ordinal accuracy on annotated pairs, as :func:`score_points` scores them; the draws are of
    pairs.
    """
    weights = draw_weights(scores.size, rng)
    return Measured(
        pairs=scores.size,
        pixels=0,
        ordinal=Resampled(
            float(scores.sum()),
            float(scores.size),
            weights @ scores,
            weights.sum(axis=1),
            scores.size,
        ),
        spearman=None,
        abs_rel=None,
        delta_1=None,
    )


def score_points(inverse: Map, pairs: Sequence[PointPair]) -> Floats:
    """1 for each pair in the right order, 0.5 for a tie, 0 for the wrong one, (n,). The points lie
    inside the map.
    """
    points = np.array([[pair.near, pair.far] for pair in pairs]).astype(np.int64)  # pair, point, xy
    near, far = inverse[points[:, :, 1], points[:, :, 0]].T
    return np.asarray((near > far) + 0.5 * (near == far), np.float64)


def align(inverse: Floats, at: Map, truth: Floats) -> Floats:
    """``inverse`` times a scale plus a shift, by least squares of ``at`` on ``truth``.

    A negative scale would hide a flipped sign: it becomes 0, the best constant. What falls below
    the farthest true depth becomes that depth, so that depth stays finite.
    """
    given = at.astype(np.float64)
    spread = given - given.mean()
    variance = float(spread @ spread)
    scale = max(float(spread @ truth) / variance, 0.0) if variance > 0 else 0.0
    shift = float(truth.mean()) - scale * float(given.mean())
    return np.maximum(scale * inverse + shift, float(truth.min()))


def is_flipped(at: Map, truth: Floats) -> bool:
    """Whether the best scale is below 0: ``at`` is more the opposite of ``truth`` than it."""
    given = at.astype(np.float64)
    return float((given - given.mean()) @ truth) < 0


def _tile_weights(tiles: Ints, rng: np.random.Generator) -> Floats:
    """How often each tile is in each draw: of tiles that hold truth as many as there are, so that
    empty ones neither count nor thin out a draw.
    """
    held = np.unique(tiles)
    weights = np.zeros((DRAWS, GRID * GRID))
    weights[:, held] = draw_weights(held.size, rng)
    return weights


def _held(weights: Floats) -> int:
    """How many tiles hold truth: each is in some draw."""
    return int(weights.any(axis=0).sum())


def _ordinal(inverse: Map, pairs: Pairs, weights: Floats) -> Resampled:
    """Ties count half. A pair is drawn as often as its two tiles are drawn together."""
    near = inverse[pairs.near_row, pairs.near_column]
    far = inverse[pairs.far_row, pairs.far_column]
    scores = (near > far) + 0.5 * (near == far)
    cells = GRID * GRID
    place = tile_of(pairs.near_row, pairs.near_column, inverse.shape) * cells
    place += tile_of(pairs.far_row, pairs.far_column, inverse.shape)
    right = np.bincount(place, scores, cells * cells).reshape(cells, cells)
    count = np.bincount(place, minlength=cells * cells).reshape(cells, cells)
    return Resampled(
        float(scores.sum()),
        float(scores.size),
        ((weights @ right) * weights).sum(axis=1),
        ((weights @ count) * weights).sum(axis=1),
        min(_held(weights), scores.size),  # few pairs are few, however many tiles there are
    )


def _mean(values: Floats, tiles: Ints, weights: Floats) -> Resampled:
    """The mean over pixels, as one picture's share of the mean over pictures."""
    total = np.bincount(tiles, values, GRID * GRID)
    count = np.bincount(tiles, minlength=GRID * GRID)
    drawn = (weights @ total) / (weights @ count)  # every draw holds tiles with pixels
    return Resampled(float(values.mean()), 1.0, drawn, np.ones(drawn.size), _held(weights))


def _correlation(given: Map, truth: Floats, tiles: Ints, weights: Floats) -> Resampled:
    """Spearman's; the ranks are those of the whole picture in every draw. A picture or a draw of
    which all truth is alike has none and weighs nothing; a prediction that is alike everywhere
    knows nothing: 0.
    """
    a, b = ranks(given), ranks(truth)
    a, b = a - a.mean(), b - b.mean()
    ones = np.ones(a.size)

    def sums(values: Floats) -> Floats:
        by_tile = np.bincount(tiles, values, GRID * GRID)
        return np.concatenate([[by_tile.sum()], weights @ by_tile])

    n = sums(ones)
    mean_a, mean_b = sums(a) / n, sums(b) / n
    covariance = sums(a * b) / n - mean_a * mean_b
    of_a, of_b = (
        np.maximum(sums(x * x) / n - mean**2, 0) for x, mean in ((a, mean_a), (b, mean_b))
    )
    spread = np.sqrt(of_a * of_b)
    found = np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 1e-12)
    known = (of_b > 1e-9 * a.size**2).astype(np.float64)
    value, weight = float(found[0] * known[0]), float(known[0])
    return Resampled(value, weight, found[1:] * known[1:], known[1:], _held(weights))
