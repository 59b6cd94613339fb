"""How sure a measured value is: the bootstrap over pictures and over tiles within pictures.

Pixels of one picture are not independent, and still less are pairs of them, so single pixels are
never drawn. A picture is cut into 8 x 8 tiles; a draw takes as many tiles with replacement, and,
where there are several pictures, as many pictures (Field and Welsh 2007, doi
10.1111/j.1467-9868.2007.00593.x: two stages). Point pairs have no tiles: there, pictures and the
pairs within them are drawn. The interval is the 2.5th to the 97.5th percentile of 1000 draws. With
few pictures it says little about other pictures; pictures of one scene, which are much alike, count
as independent all the same, and the interval over them is then too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

DRAWS: Final = 1000
GRID: Final = 8
Floats = NDArray[np.float64]


class Resampled(NamedTuple):
    """A share of one picture, total over weight: as measured, and in each draw of its tiles."""

    total: float
    weight: float
    totals: Floats
    weights: Floats


class Figure(NamedTuple):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def tile_of(
    rows: NDArray[np.int64], columns: NDArray[np.int64], shape: Sequence[int]
) -> NDArray[np.int64]:
    """The tile, 0 to GRID²-1, of each pixel of a picture of ``shape`` (height, width)."""
    return np.asarray((rows * GRID // shape[0]) * GRID + columns * GRID // shape[1], np.int64)


def draw_weights(count: int, rng: np.random.Generator) -> Floats:
    """How often each of ``count`` units is in each draw: (DRAWS, count)."""
    return rng.multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(np.float64)


class Combined(NamedTuple):
    """A value over pictures, and its draws; draws without any weight are left out as nan."""

    value: float
    draws: Floats

    def figure(self) -> Figure:
        """The value with its interval."""
        if np.isnan(self.draws).all():
            return Figure(self.value, self.value, self.value)
        low, high = np.nanpercentile(self.draws, (2.5, 97.5))
        return Figure(self.value, float(low), float(high))


def combine(pictures: Sequence[Resampled], rng: np.random.Generator) -> Combined | None:
    """Total over weight of all pictures; None without any weight.

    Equal ``rng`` choose equal pictures and draws, so that two methods on the same pictures can be
    compared draw by draw.
    """
    weight = sum(picture.weight for picture in pictures)
    if weight == 0:
        return None
    value = sum(picture.total for picture in pictures) / weight
    count = len(pictures)
    chosen = rng.integers(count, size=(DRAWS, count)) if count > 1 else np.zeros((DRAWS, 1), int)
    # one picture: its own draws in their order
    within = rng.integers(DRAWS, size=(DRAWS, count)) if count > 1 else np.arange(DRAWS)[:, None]
    totals = np.stack([picture.totals for picture in pictures])[chosen, within].sum(axis=1)
    weights = np.stack([picture.weights for picture in pictures])[chosen, within].sum(axis=1)
    drawn = np.divide(totals, weights, out=np.full(DRAWS, np.nan), where=weights > 0)
    return Combined(float(value), drawn)
