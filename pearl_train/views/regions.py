"""Which visual tokens of I0 lie in the region of interest: what the LVR baseline reconstructs.

The region is the union of the pixels that crops and zooms took, unless marked as mistakes; without
any, the evidence; without that, the whole picture. Where a family cuts a picture into tiles, the
tokens of its view of the whole picture count, so that every place has one token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pearl_data.trajectory import Trajectory
from pearl_tools.errors import UsageError
from pearl_tools.types import Box, Region
from pearl_train.views.pictures import Prepared

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


class Grid(NamedTuple):
    """Where image tokens look: token ``first + row * columns + column`` of the picture; ``box`` is
    the part of the picture that the grid covers, as fractions of it.
    """

    first: int
    rows: int
    columns: int
    box: Box = WHOLE


def region_boxes(trajectory: Trajectory) -> dict[str, list[Box]]:
    """The region of interest by root picture, as fractions of it."""
    media = {medium.id: medium for medium in trajectory.media}
    boxes: dict[str, list[Box]] = {}
    for step, mask in zip(trajectory.steps, trajectory.loss_mask, strict=True):
        for call in step.calls if mask else ():
            results = [media[name] for name in call.result.media if name in media]
            if not isinstance(call.effective, Region) or not results:
                continue
            root = results[0]
            while root.parent is not None:
                root = media[root.parent]
            x0, y0, x1, y1 = call.effective.box_root
            width, height = root.width, root.height
            box = (x0 / width, y0 / height, x1 / width, y1 / height)
            boxes.setdefault(root.id, []).append(box)
    if not boxes:
        for evidence in trajectory.task.evidence:
            boxes.setdefault(evidence.media, []).append(evidence.bbox)
    roots = [medium.id for medium in trajectory.media if medium.parent is None]
    return {root: boxes[root] for root in roots if root in boxes} or {r: [WHOLE] for r in roots}


def tokens_under(grid: Grid, boxes: Sequence[Box]) -> list[int]:
    """The tokens that ``boxes`` (fractions of the picture) touch, in order; at least one."""
    left, top, right, bottom = grid.box
    width, height = (right - left) / grid.columns, (bottom - top) / grid.rows
    touched = [
        grid.first + row * grid.columns + column
        for row in range(grid.rows)
        for column in range(grid.columns)
        if any(
            x0 < left + (column + 1) * width
            and x1 > left + column * width
            and y0 < top + (row + 1) * height
            and y1 > top + row * height
            for x0, y0, x1, y1 in boxes
        )
    ]
    if touched:
        return touched
    x0, y0, x1, y1 = boxes[0]
    column = min(max(math.floor(((x0 + x1) / 2 - left) / width), 0), grid.columns - 1)
    row = min(max(math.floor(((y0 + y1) / 2 - top) / height), 0), grid.rows - 1)
    return [grid.first + row * grid.columns + column]


def thinned(tokens: Sequence[Any], most: int) -> list[Any]:
    """At most ``most`` of ``tokens``, evenly spread.

    >>> thinned(range(10), 4)
    [0, 2, 5, 7]
    """
    if len(tokens) <= most:
        return list(tokens)
    return [tokens[number * len(tokens) // most] for number in range(most)]


def grid_of(processor: Any, prepared: Prepared) -> Grid:
    """How the tokens of one picture are laid out; raises ``UsageError`` where nothing says so."""
    tokens = prepared.image.tokens
    for grid in _candidates(processor, prepared):
        if grid.rows * grid.columns == tokens - grid.first and grid.first >= 0:
            return grid
    raise UsageError(
        f"objective lvr: expected image tokens in a grid, got {tokens} tokens from "
        f"{type(processor).__name__} for {prepared.size_px[0]}x{prepared.size_px[1]} px; "
        "this family's layout is not known"
    )


def _candidates(processor: Any, prepared: Prepared) -> Iterator[Grid]:
    inputs, tokens = prepared.image.inputs, prepared.image.tokens
    if "image_grid_thw" in inputs:  # Qwen: one row of cells after another, merged
        _, rows, columns = (int(n) for n in inputs["image_grid_thw"][0])
        merge = int(processor.image_processor.merge_size)
        yield Grid(0, rows // merge, columns // merge)
        return
    for name in ("image_seq_len", "image_seq_length"):  # tiles, the whole picture last
        each = getattr(processor, name, None)
        if each is not None and tokens % each == 0:
            yield Grid(tokens - each, math.isqrt(each), math.isqrt(each))
    kept = getattr(processor, "vision_feature_select_strategy", "full") != "default"
    extra = int(getattr(processor, "num_additional_image_tokens", 0) or 0) if kept else 0
    height, width = inputs["pixel_values"].shape[-2:]
    rows = max(1, round(math.sqrt((tokens - extra) * height / width)))
    box = _shown(processor.image_processor, prepared.size_px)
    yield Grid(extra, rows, (tokens - extra) // rows, box)


def _shown(image_processor: Any, size_px: tuple[int, int]) -> Box:
    """The part of a picture that is left when it is resized and cut out in the middle."""
    crop: Mapping[str, int] | None = getattr(image_processor, "crop_size", None)
    if not getattr(image_processor, "do_center_crop", False) or not crop:
        return WHOLE
    width, height = size_px
    size: Mapping[str, int] = getattr(image_processor, "size", {})
    if getattr(image_processor, "do_resize", False):
        if "shortest_edge" in size:
            scale = size["shortest_edge"] / min(width, height)
            width, height = round(width * scale), round(height * scale)
        elif "height" in size:
            width, height = size["width"], size["height"]
    across, down = crop["width"] / width / 2, crop["height"] / height / 2
    return (0.5 - across, 0.5 - down, 0.5 + across, 0.5 + down)
