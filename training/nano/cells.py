"""What stands where in a view, as labels for the 6 x 6 cells that a picture's tokens stand for.

The eyes first learn to name what each cell shows: colour, shape, pattern and tag of a picture, the
grey of a depth map. Without that start the language model takes the pictures of random eyes for
noise, learns to shut them out, and the eyes never get a gradient (tried: 450 steps of captions
alone left every picture alike). Every cell that a tag covers is to name it: named in its middle
only, it was 1 of 36 tokens, and captions did not find it in 450 steps. Leaves out captions.
"""

import cv2
import numpy as np
import numpy.typing as npt
import torch
from network import SIDE_PX, STRIDE, VISION_WIDTH
from scenes import Scene
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pearl_data.rendering import COLOURS, LABEL_CHARACTERS, PATTERNS, SHAPES
from pearl_tools.types import Box

GRID = SIDE_PX // STRIDE
UNKNOWN = -1
KINDS: tuple[tuple[str, ...], ...] = (
    COLOURS,
    (*SHAPES, "nothing"),
    PATTERNS,
    tuple(LABEL_CHARACTERS),
    tuple(f"grey {number}" for number in range(16)),
)
#: Weight of a cell that shows nothing beside one that shows a thing: they are many.
_NOTHING_WEIGHT = 0.05
#: A tag is to be read only where it is so many pixels high for the model.
_READABLE_PX = 9
_FILLED = 1 / 3
Cells = npt.NDArray[np.int64]


def nothing_known() -> Cells:
    """Labels (5, 36) of a picture of which nothing is said."""
    return np.full((len(KINDS), GRID * GRID), UNKNOWN, np.int64)


def cells_of_depth(depth: npt.NDArray[np.uint8]) -> Cells:
    """Labels (5, 36) of a depth map: how bright it is in every cell, in 16 levels."""
    labels = nothing_known()
    means = cv2.resize(depth, (GRID, GRID), interpolation=cv2.INTER_AREA)
    labels[4] = means.reshape(-1) // 16
    return labels


def cells_of(scene: Scene, box: Box) -> Cells:
    """Labels (5, 36) of the view `box`, rows as in `KINDS`, `UNKNOWN` where nothing is asked.

    A thing is named where its box holds the middle of a cell (the nearer one before the farther),
    and in the cell of its own middle; "nothing" where no thing's box touches the cell. A tag is
    named in the cells that it fills by a third, and in the cell of its own middle.
    """
    labels = nothing_known().reshape(len(KINDS), GRID, GRID)
    free = np.ones((GRID, GRID), bool)
    middles = (np.arange(GRID) + 0.5) / GRID
    for thing in sorted(scene.things, key=lambda thing: -thing.distance_m):
        x0, y0, x1, y1 = _inside(thing.box, box)
        free[_cells(y0, y1), _cells(x0, x1)] = False
        held = ((middles > y0) & (middles < y1))[:, None] & ((middles > x0) & (middles < x1))
        held |= _middle_cell(x0, y0, x1, y1)
        names = (
            COLOURS.index(thing.colour),
            SHAPES.index(thing.shape),
            PATTERNS.index(thing.pattern),
        )
        labels[:3, held] = np.array(names)[:, None] if thing.clear else UNKNOWN
    for thing in scene.things:
        if thing.tag is not None and thing.tag_box is not None:
            x0, y0, x1, y1 = _inside(thing.tag_box, box)
            if (y1 - y0) * SIDE_PX >= _READABLE_PX:
                filled = np.outer(_filled(y0, y1), _filled(x0, x1)) > _FILLED
                held = filled | _middle_cell(x0, y0, x1, y1)
                labels[3, held] = LABEL_CHARACTERS.index(thing.tag)
    labels[1][free] = len(SHAPES)
    return labels.reshape(len(KINDS), -1)


def _filled(low: float, high: float) -> npt.NDArray[np.float64]:
    """Share 0..1 of each row or column of cells that lies between two places."""
    edges = np.arange(GRID + 1) / GRID
    return np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None) * GRID


def _middle_cell(x0: float, y0: float, x1: float, y1: float) -> npt.NDArray[np.bool_]:
    """Where the middle of a box is: one cell, or none."""
    column, row = ((x0 + x1) / 2 * GRID, (y0 + y1) / 2 * GRID)
    places = np.arange(GRID)
    return (places == np.floor(row))[:, None] & (places == np.floor(column))


def _inside(box: Box, view: Box) -> Box:
    width, height = view[2] - view[0], view[3] - view[1]
    return (
        (box[0] - view[0]) / width,
        (box[1] - view[1]) / height,
        (box[2] - view[0]) / width,
        (box[3] - view[1]) / height,
    )


def _cells(low: float, high: float) -> slice:
    return slice(max(0, int(np.floor(low * GRID))), max(0, int(np.ceil(high * GRID))))


class CellHeads(nn.Module):
    """A linear reading of every cell, one for each of `KINDS`; used in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(VISION_WIDTH, len(names)) for names in KINDS)

    def loss(self, features: Tensor, cells: Tensor) -> Tensor:
        """Sum of the mean cross-entropies; features (N, C, 6, 6), cells (N, 5, 36)."""
        tokens = features.flatten(2).transpose(1, 2).float()
        terms = []
        for row, (names, head) in enumerate(zip(KINDS, self.heads, strict=True)):
            weight = torch.tensor([_NOTHING_WEIGHT if n == "nothing" else 1.0 for n in names])
            wanted = cells[:, row]
            known = wanted != UNKNOWN
            if known.any():
                terms.append(cross_entropy(head(tokens[known]), wanted[known], weight))
        return torch.stack(terms).sum()
