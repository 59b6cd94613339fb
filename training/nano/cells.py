"""What stands where in a view, as labels for the 6 x 6 cells that a picture's tokens stand for.

The eyes first learn to name what lies in each cell: colour, shape, pattern and tag, and of a depth
map how near the cell is. Without that start the language model takes the pictures of random eyes
for noise, learns to shut them out, and the eyes never get a gradient (tried: 450 steps of captions
alone left every picture alike). They also learn to say where a cell lies: a convolution does not
tell by itself, and a language model that cannot see where a token comes from reads depth maps in
the wrong places (measured before: .36 and .24 of the variance of row and column could be read off
a picture's tokens, and comparisons stayed at chance). Leaves out captions.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from network import SIDE_PX, STRIDE, VISION_WIDTH
from scenes import Scene, Thing
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
    tuple(f"{tenth / 10:g} of the range" for tenth in range(10)),
    tuple(f"row {row}" for row in range(GRID)),
    tuple(f"column {column}" for column in range(GRID)),
)
ROWS, COLUMNS = np.divmod(np.arange(GRID * GRID), GRID)
#: Weight of a cell that shows nothing beside one that shows a thing: they are many.
_NOTHING_WEIGHT = 0.05
#: A tag is to be read only where it is so many pixels high for the model.
_READABLE_PX = 9
#: A pattern only on a thing that is so many pixels wide and high for the model.
_PATTERN_PX = 32
Cells = npt.NDArray[np.int64]


def nothing_known() -> Cells:
    """Labels (7, 36) of a picture of which nothing is said but where its cells lie."""
    labels = np.full((len(KINDS), GRID * GRID), UNKNOWN, np.int64)
    labels[5], labels[6] = ROWS, COLUMNS
    return labels


def cells_of_depth(depth: npt.NDArray[np.uint8], things: Sequence[Thing] = ()) -> Cells:
    """Labels (7, 36) of a depth picture (h, w): the tenth of the range in which each cell's mean
    lies, or, where the middle of a thing is, what is read there for the thing: its cell's mean is
    within .1 of that for 63 things in 100 only.
    """
    height, width = depth.shape
    rows, columns = np.arange(height) * GRID // height, np.arange(width) * GRID // width
    number = (rows[:, None] * GRID + columns).ravel()
    means = np.bincount(number, depth.ravel()) / np.bincount(number)
    labels = nothing_known()
    labels[4] = np.minimum(9, means * 10 / 255).astype(np.int64)
    # from far to near: of two things in a cell it is the nearer that is seen
    for thing in sorted(things, key=lambda thing: thing.near):
        row, column = (
            min(GRID - 1, int((low + high) / 2 * GRID))
            for low, high in ((thing.box[1], thing.box[3]), (thing.box[0], thing.box[2]))
        )
        labels[4, row * GRID + column] = min(9, int(thing.near * 10))
    return labels


def cells_of(scene: Scene, box: Box) -> Cells:
    """Labels (7, 36) of the view `box`, rows as in `KINDS`, `UNKNOWN` where nothing is asked.

    A thing is named in the cell of its middle, a tag likewise, and "nothing" in the cells that no
    thing's box touches.
    """
    labels = nothing_known().reshape(len(KINDS), GRID, GRID)
    free = np.ones((GRID, GRID), bool)
    for thing in scene.things:
        x0, y0, x1, y1 = _inside(thing.box, box)
        free[_cells(y0, y1), _cells(x0, x1)] = False
        middle = _cell((y0 + y1) / 2), _cell((x0 + x1) / 2)
        if thing.clear and None not in middle and labels[(1, *middle)] == UNKNOWN:
            labels[(0, *middle)] = COLOURS.index(thing.colour)
            labels[(1, *middle)] = SHAPES.index(thing.shape)
            if min(x1 - x0, y1 - y0) * SIDE_PX >= _PATTERN_PX:
                labels[(2, *middle)] = PATTERNS.index(thing.pattern)
        if thing.tag is not None and thing.tag_box is not None:
            x0, y0, x1, y1 = _inside(thing.tag_box, box)
            middle = _cell((y0 + y1) / 2), _cell((x0 + x1) / 2)
            if None not in middle and (y1 - y0) * SIDE_PX >= _READABLE_PX:
                labels[(3, *middle)] = LABEL_CHARACTERS.index(thing.tag)
    labels[1][free & (labels[1] == UNKNOWN)] = len(SHAPES)
    return labels.reshape(len(KINDS), -1)


def _inside(box: Box, view: Box) -> Box:
    width, height = view[2] - view[0], view[3] - view[1]
    return (
        (box[0] - view[0]) / width,
        (box[1] - view[1]) / height,
        (box[2] - view[0]) / width,
        (box[3] - view[1]) / height,
    )


def _cell(place: float) -> int | None:
    return int(place * GRID) if 0 <= place < 1 else None


def _cells(low: float, high: float) -> slice:
    return slice(max(0, int(np.floor(low * GRID))), max(0, int(np.ceil(high * GRID))))


class CellHeads(nn.Module):
    """A linear reading of every cell, one for each of `KINDS`; used in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(VISION_WIDTH, len(names)) for names in KINDS)

    def loss(self, features: Tensor, cells: Tensor) -> Tensor:
        """Sum of the mean cross-entropies; features (N, C, 6, 6), cells (N, 7, 36)."""
        tokens = features.flatten(2).transpose(1, 2).float()
        terms = []
        for row, (names, head) in enumerate(zip(KINDS, self.heads, strict=True)):
            weight = torch.tensor([_NOTHING_WEIGHT if n == "nothing" else 1.0 for n in names])
            wanted = cells[:, row]
            known = wanted != UNKNOWN
            if known.any():
                terms.append(cross_entropy(head(tokens[known]), wanted[known], weight))
        return torch.stack(terms).sum()
