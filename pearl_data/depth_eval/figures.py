"""Pictures of a depth evaluation for its page: input, truth, predictions, errors, point pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pearl_data.depth_eval.evaluate import Seen
from pearl_data.depth_eval.measures import Map
from pearl_data.depth_eval.records import Row
from pearl_data.html import data_uri
from pearl_data.report.depth_colours import UNKNOWN, colour_depth, ends_of, limits_of, mark_ends
from pearl_data.report.pictures import encode

MAP_WIDTH, POINTS_WIDTH = 320, 480
"""Pixels to which pictures are reduced."""
DRAWN: Final = 30
"""Point pairs drawn into a picture: more hide each other."""
WORST: Final = 0.5
"""The relative error of depth with the last of `ERRORS`, colours from right to wrong."""
ERRORS: Final = np.array(
    [(247, 247, 247), (253, 219, 199), (244, 165, 130), (214, 96, 77), (128, 0, 38)], np.float64
)


class Figure(NamedTuple):
    """A picture of the page; ``marks`` are x, y of the near, x, y of the far point, and a score."""

    title: str
    caption: str
    uri: str
    size: tuple[int, int]
    marks: Sequence[tuple[Any, ...]] = ()


class Gallery:
    """Collects pictures from :func:`~pearl_data.depth_eval.evaluate.evaluate`, ``most`` at most."""

    def __init__(self, most: int = 40) -> None:
        self.most = most
        self.dropped = 0
        self.maps: list[tuple[str, list[Figure]]] = []
        self.points: list[tuple[str, list[Figure]]] = []

    def look(self, place: Path, seen: Seen, rows: Sequence[Row]) -> None:
        """Add a picture, or count it as dropped."""
        title = f"{place}: {seen.name}"
        if len(self.maps) + len(self.points) >= self.most:
            self.dropped += 1
        elif seen.truth:
            inverse_m = np.asarray(1 / seen.truth.depth_m, np.float32)
            self.maps.append((title, list(_map_figures(seen, rows, inverse_m))))
        else:
            self.points.append((title, list(_point_figures(seen, rows))))


def colour_error(inverse: Map, truth: Map, known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """|predicted depth - depth| / depth as colours, white to dark red; unknown is grey."""
    with np.errstate(invalid="ignore", divide="ignore"):
        wrong = np.where(known, np.abs(truth / inverse - 1) / WORST, 0)
    stops = np.linspace(0, 1, len(ERRORS))
    channels = [np.interp(wrong, stops, channel) for channel in ERRORS.T]
    colours = np.asarray(np.rint(np.stack(channels, axis=-1)), np.uint8)
    colours[~known] = UNKNOWN
    return colours


def _map_figures(seen: Seen, rows: Sequence[Row], truth: Map) -> Iterator[Figure]:
    """The picture, its truth, and the prediction and error of every method on one scale."""
    limits, known = limits_of(truth), np.isfinite(truth)

    def depth(inverse: Map) -> Image.Image:
        small = _reduced(colour_depth(inverse, limits), MAP_WIDTH)
        return mark_ends(small, ends_of(inverse), 22)

    yield _figure("picture", "", _reduced(seen.image, MAP_WIDTH))
    yield _figure("truth", f"{1 / limits.near:.3g} to {1 / limits.far:.3g} m", depth(truth))
    for row, aligned in zip(rows, seen.maps, strict=True):
        scores = {"ordinal": row.ordinal, "Spearman": row.spearman}
        caption = ", ".join(f"{name} {one.value:.3f}" for name, one in scores.items() if one)
        caption += "; opposite to the truth, shown flat" if row.flipped else ""
        yield _figure(row.method, caption, depth(aligned))
        # without AbsRel every map is right after alignment
        error = colour_error(aligned, truth, known & (row.abs_rel is not None))
        caption = f"AbsRel {row.abs_rel.value:.3f}" if row.abs_rel else ""
        yield _figure("its error", caption, _reduced(error, MAP_WIDTH))


def _point_figures(seen: Seen, rows: Sequence[Row]) -> Iterator[Figure]:
    """The picture, and every prediction, with the annotated pairs."""
    points = np.array([(*pair.near, *pair.far) for pair in seen.pairs[:DRAWN]])
    drawn = np.round((np.floor(points) + 0.5) * POINTS_WIDTH / seen.image.shape[1], 1).tolist()

    def marks(scores: Sequence[float | None]) -> list[tuple[Any, ...]]:  # wrong ones on top
        judged = sorted(zip(drawn, scores, strict=False), key=lambda one: -(one[1] or 0))
        return [(*point, score) for point, score in judged]

    count = f"{len(seen.pairs)} pair{'s' if len(seen.pairs) > 1 else ''}"
    count += f", the first {DRAWN} drawn" if len(seen.pairs) > DRAWN else ""
    yield _figure("picture", count, _reduced(seen.image, POINTS_WIDTH), marks([None] * DRAWN))
    for row, map_, scores in zip(rows, seen.maps, seen.scores, strict=True):
        right, wrong, ties = (int((scores == score).sum()) for score in (1, 0, 0.5))
        caption = f"{right} right, {wrong} wrong" + (f", {ties} alike" if ties else "")
        picture = _reduced(colour_depth(map_), POINTS_WIDTH)
        yield _figure(row.method, caption, picture, marks(scores.tolist()))


def _reduced(pixels: NDArray[np.uint8], width: int) -> Image.Image:
    height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX)


def _figure(
    title: str, caption: str, picture: Image.Image, marks: Sequence[tuple[Any, ...]] = ()
) -> Figure:
    uri = data_uri(encode(picture, "JPEG", quality=85, subsampling=0), "image/jpeg")
    return Figure(title, caption, uri, picture.size, marks)
