"""A depth evaluation as text tables, and as one self-contained page of tables and pictures."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import jinja2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pearl_data.depth_eval.evaluate import Seen
from pearl_data.depth_eval.measures import FEWEST_PIXELS, Map
from pearl_data.depth_eval.records import DepthReport, Estimate, Row, SetReport
from pearl_data.html import Markup, data_uri, page
from pearl_data.report.depth_colours import (
    UNKNOWN,
    colour_depth,
    depth_bar,
    ends_of,
    limits_of,
    mark_ends,
)
from pearl_data.report.pictures import encode
from pearl_tools.depth.outputs import DESCRIBED
from pearl_tools.errors import listed

HEADS: Final = ("ordinal", "less the rule's", "Spearman", "AbsRel", "delta-1")
MAP_WIDTH, POINTS_WIDTH = 320, 480
"""Pixels to which pictures of the page are reduced."""
DRAWN: Final = 30
"""Point pairs drawn into a picture: more hide each other."""
MOST_REASONS: Final = 20
"""Remarks of one kind in a report; the JSON holds all."""
WORST: Final = 0.5
"""The relative error of depth with the last of `_ERRORS`, colours from right to wrong."""
_ERRORS: Final = np.array(
    [(247, 247, 247), (253, 219, 199), (244, 165, 130), (214, 96, 77), (128, 0, 38)], np.float64
)
#: Score of a pair -> colour, none of which depth has.
_MARKS: Final = {1: "#35d0ff", 0: "#ff4fd8", 0.5: "#7dff6a", None: "white"}


class Table(NamedTuple):
    """The results of a set, or of a picture of it."""

    title: str
    summary: str
    remarks: list[str]
    rows: list[list[str]]


class Figure(NamedTuple):
    """A picture of the page; ``marks`` are x, y of the near, x, y of the far point, and a score."""

    title: str
    caption: str
    uri: str
    size: tuple[int, int]
    marks: Sequence[tuple[float, float, float, float, float | None]] = ()


class Gallery:
    """Collects pictures for the page from :func:`~pearl_data.depth_eval.evaluate.evaluate`."""

    def __init__(self, most: int = 40) -> None:
        self.most = most
        self.dropped = 0
        self.maps: list[tuple[str, list[Figure]]] = []
        self.points: list[tuple[str, list[Figure]]] = []

    def look(self, place: Path, seen: Seen) -> None:
        """Add a picture, unless there are ``most`` already."""
        if len(self.maps) + len(self.points) >= self.most:
            self.dropped += 1
        elif seen.truth:
            inverse_m = np.asarray(1 / seen.truth.depth_m, np.float32)
            self.maps.append((f"{place}: {seen.name}", list(_map_figures(seen, inverse_m))))
        else:
            self.points.append((f"{place}: {seen.name}", list(_point_figures(seen))))


def depth_text(report: DepthReport, *, by_picture: bool = False) -> str:
    """A table per set for a terminal; ``by_picture`` adds one per picture."""
    lines: list[str] = []
    for found in report.sets:
        for table in [_table(found), *(_picture_tables(found) if by_picture else [])]:
            lines += [f"{table.title}: {table.summary}", *(f"  {line}" for line in table.remarks)]
            lines += _aligned(table.rows)
        lines.append("")
    return "\n".join(lines + [line for note in _notes(report) for line in textwrap.wrap(note, 98)])


def depth_page(report: DepthReport, gallery: Gallery) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(Path(__file__).with_name("page.html.jinja").read_text())
    methods = [
        f"{m.name}: {m.model_id}, {DESCRIBED[m.output]}, weights {m.weights_sha256[:12]}"
        for m in report.methods[:-1]
    ]
    body = template.render(
        models=", ".join(method.name for method in report.methods[:-1]),
        heads=HEADS,
        tables=[_table(found) for found in report.sets],
        picture_tables=[table for found in report.sets for table in _picture_tables(found)],
        notes=[*_notes(report), *methods],
        gallery=gallery,
        depth_bar=data_uri(encode(depth_bar(420, 15, log=True), "PNG"), "image/png"),
        errors=", ".join(f"rgb{tuple(map(int, colour))}" for colour in _ERRORS),
        worst=f"{WORST:.0%}",
        colours=_MARKS,
    )
    return page("Depth models beside the truth", Markup(body))


def cell(estimate: Estimate | None, *, signed: bool = False) -> str:
    """``.843 [.80, .88]``; ``[..]*`` is Wilson's interval, ``[-]`` none, ``-`` no value."""
    if estimate is None:
        return "-"
    sign = "+" if signed else ""
    text = f"{estimate.value:{sign}.3f} [-]"
    if estimate.low is not None and estimate.high is not None:
        mark = "*" if estimate.interval == "wilson" else ""
        text = f"{text[:-3]}[{estimate.low:{sign}.2f}, {estimate.high:{sign}.2f}]{mark}"
    return re.sub(r"\b0\.", ".", text)


def colour_error(inverse: Map, truth: Map, known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """|predicted depth - depth| / depth as colours, white to dark red; unknown is grey."""
    with np.errstate(invalid="ignore", divide="ignore"):
        wrong = np.where(known, np.abs(truth / inverse - 1) / WORST, 0)
    stops = np.linspace(0, 1, len(_ERRORS))
    channels = [np.interp(wrong, stops, channel) for channel in _ERRORS.T]
    colours = np.asarray(np.rint(np.stack(channels, axis=-1)), np.uint8)
    colours[~known] = UNKNOWN
    return colours


def _table(found: SetReport) -> Table:
    return Table(found.name, _summary(found), list(_remarks(found)), _cells(found.rows))


def _picture_tables(found: SetReport) -> list[Table]:
    pictures = found.pictures if len(found.pictures) > 1 else []
    return [Table(p.name, _counts(p.rows[0]), [], _cells(p.rows)) for p in pictures]


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    return [
        [
            row.method,
            cell(row.ordinal),
            cell(row.over_rule, signed=True),
            *(cell(value) for value in (row.spearman, row.abs_rel, row.delta_1)),
        ]
        for row in rows
    ]


def _aligned(rows: list[list[str]]) -> Iterator[str]:
    """Lines of a table without its empty columns."""
    shown = [n for n in range(len(HEADS) + 1) if n < 2 or any(row[n] != "-" for row in rows)]
    lines = [["", *HEADS], *rows] if rows else []
    widths = [max(len(line[n]) for line in lines) for n in shown] if rows else []
    for line in lines:
        cells = (line[n].ljust(width) for n, width in zip(shown, widths, strict=True))
        yield "  " + "  ".join(cells).rstrip()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _counts(row: Row) -> str:
    pixels = f", {_count(row.pixels, 'pixel')}" if row.pixels else ""
    return f"{_count(row.images, 'picture')}, {_count(row.pairs, 'pair')}{pixels}"


def _summary(found: SetReport) -> str:
    """The numbers of pictures, pairs and pixels of a set, and of those that were not measured."""
    parts = [_counts(found.rows[0]) if found.rows else "no picture measured"]
    if found.alone:
        parts.append(f"{found.alone} without depth")
    if found.truths_alone:
        files = _count(len(found.truths_alone), "file")
        parts.append(f"{files} of depth without a picture ({listed(found.truths_alone)})")
    if found.left_out:
        parts.append(f"{len(found.left_out)} dropped")
    if found.one_depth:
        parts.append(f"{found.one_depth} of constant depth, without AbsRel and delta-1")
    if found.few_pixels:
        few = f"{found.few_pixels} with fewer than {FEWEST_PIXELS} known pixels"
        parts.append(f"{few}, without AbsRel and delta-1")
    row = found.rows[0] if found.rows else None
    if row and row.pixels and not row.pairs and found.one_depth < row.images:
        parts.append("no pair of pixels differs by --ratio: lower it, or raise --pairs")
    if found.below_0:
        parts.append(f"{_count(found.below_0, 'pixel')} below 0, read as unknown")
    return "; ".join(parts)


def _remarks(found: SetReport) -> Iterator[str]:
    flipped = [
        f"{row.method}: opposite to the truth on {row.flipped} of {_count(row.images, 'picture')}, "
        "aligned there to a constant"
        for row in found.rows
        if row.flipped
    ]
    reasons = [dropped.reason for dropped in found.left_out]
    for kind, lines in (("dropped", reasons), ("warning", found.doubts), ("note", flipped)):
        yield from (f"{kind}: {line}" for line in lines[:MOST_REASONS])
        if len(lines) > MOST_REASONS:
            yield f"{kind}: {len(lines) - MOST_REASONS} more, see --json"


def _notes(report: DepthReport) -> tuple[str, str, str]:
    ordinal = (
        f"ordinal: share of pairs in the right order, ties half; of up to {report.pairs_drawn:,} "
        f"random pixel pairs a picture (seed {report.seed}) whose depths differ by more than "
        f"{report.ratio:g}, or of annotated pairs"
    )
    others = (
        "Spearman: with true inverse depth; AbsRel, delta-1: of depth, after one scale of at least "
        "0 and one shift of inverse depth per picture; means over pictures"
    )
    return ordinal, others, report.interval


def _figure(title: str, caption: str, picture: Image.Image, **more: Any) -> Figure:
    uri = data_uri(encode(picture, "JPEG", quality=85, subsampling=0), "image/jpeg")
    return Figure(title, caption, uri, picture.size, **more)


def _reduced(pixels: NDArray[np.uint8], width: int) -> Image.Image:
    height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX)


def _map_figures(seen: Seen, truth: Map) -> Iterator[Figure]:
    """The picture, its truth, and the prediction and error of every method on one scale."""
    limits, known = limits_of(truth), np.isfinite(truth)

    def depth(inverse: Map) -> Image.Image:
        small = _reduced(colour_depth(inverse, limits), MAP_WIDTH)
        return mark_ends(small, ends_of(inverse), 22)

    yield _figure("picture", "", _reduced(seen.image, MAP_WIDTH))
    yield _figure("truth", f"{1 / limits.near:.3g} to {1 / limits.far:.3g} m", depth(truth))
    for row, aligned in zip(seen.rows, seen.maps, strict=True):
        ordinal, spearman, abs_rel = (
            cell(value).split(" ")[0] for value in (row.ordinal, row.spearman, row.abs_rel)
        )
        words = f"ordinal {ordinal}, Spearman {spearman}"
        words += "; opposite to the truth, shown flat" if row.flipped else ""
        yield _figure(row.method, words, depth(aligned))
        # without AbsRel every map is right after alignment
        error = colour_error(aligned, truth, known & (row.abs_rel is not None))
        yield _figure("its error", f"AbsRel {abs_rel}", _reduced(error, MAP_WIDTH))


def _point_figures(seen: Seen) -> Iterator[Figure]:
    """The picture, and every prediction, with the annotated pairs."""
    fit = POINTS_WIDTH / seen.image.shape[1]

    def marks(scores: Sequence[float | None]) -> list[tuple[Any, ...]]:
        judged = list(zip(seen.pairs, scores, strict=True))[:DRAWN]
        judged.sort(key=lambda one: -(one[1] or 0))  # wrong ones on top
        return [
            (*(round((int(v) + 0.5) * fit, 1) for v in (*pair.near, *pair.far)), score)
            for pair, score in judged
        ]

    count = _count(len(seen.pairs), "pair")
    count += f", the first {DRAWN} drawn" if len(seen.pairs) > DRAWN else ""
    picture = _reduced(seen.image, POINTS_WIDTH)
    yield _figure("picture", count, picture, marks=marks([None] * len(seen.pairs)))
    for row, map_, scores in zip(seen.rows, seen.maps, seen.scores, strict=True):
        right, wrong, ties = (int((scores == score).sum()) for score in (1, 0, 0.5))
        words = f"{right} right, {wrong} wrong" + (f", {ties} alike" if ties else "")
        coloured = _reduced(colour_depth(map_), POINTS_WIDTH)
        yield _figure(row.method, words, coloured, marks=marks(scores.tolist()))
