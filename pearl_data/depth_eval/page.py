"""An evaluation of depth as one self-contained page: tables, and for every picture the input, the
truth, each method's prediction and its error, side by side on one scale; or, where pairs of points
are annotated, each prediction with the pairs that it orders right and wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pearl_data.depth_eval.evaluate import Seen, SeenPoints
from pearl_data.depth_eval.pair_marks import mark_bar, mark_pairs
from pearl_data.depth_eval.records import DepthReport, Row, SetReport
from pearl_data.depth_eval.text import (
    HEADS,
    cell,
    count_words,
    figures,
    left_out_lines,
    set_words,
)
from pearl_data.html import Markup, data_uri, join, page, tag
from pearl_data.report.depth_colours import (
    UNKNOWN,
    Limits,
    colour_depth,
    depth_bar,
    ends_of,
    limits_of,
    mark_ends,
)
from pearl_data.report.pictures import encode
from pearl_data.report.type_setting import face
from pearl_tools.depth.outputs import DESCRIBED

WIDTH: Final = 320
"""Pixels to which pictures of the page are reduced."""
LEAST: Final = 140
"""How narrow one is shown at least: eight fill the page, more are reached by scrolling."""
LETTERS: Final = 22
"""Size of "near" and "far" in pictures of that width, which are shown at about half of it."""
WORST: Final = 0.5
"""Relative error of depth that gets the last colour."""
POINTS_WIDTH: Final = 480
"""The same where pairs are drawn, of which more must be told apart."""
POINTS_LEAST: Final = 240
DRAWN: Final = 30
"""How many pairs are drawn into a picture: more hide it and one another."""
_STYLE: Final = """
h1, h2, h3, p { overflow-wrap: anywhere; }
.scroll td { white-space: nowrap; }
.scroll td:first-child { white-space: normal; min-width: 13em; }
.legends { display: flex; flex-wrap: wrap; gap: 8px 40px; }
.legends img { max-width: 100%; height: auto; }
"""
_ERRORS: Final = np.array(
    [(247, 247, 247), (253, 219, 199), (244, 165, 130), (214, 96, 77), (128, 0, 38)], np.float64
)


class Gallery:
    """Collects what :func:`~pearl_data.depth_eval.evaluate.evaluate` shows, as small pictures."""

    def __init__(self, most: int = 40) -> None:
        self.most = most
        self.left_out = 0
        self.maps: list[Markup] = []
        self.points: list[Markup] = []

    def look(self, seen: Seen | SeenPoints) -> None:
        """Take one picture in, unless there are ``most`` already."""
        if len(self.maps) + len(self.points) >= self.most:
            self.left_out += 1
        elif isinstance(seen, SeenPoints):
            self.points.append(_points_card(seen))
        else:
            self.maps.append(_card(seen))


def depth_page(report: DepthReport, gallery: Gallery) -> str:
    """The whole document."""
    models = ", ".join(method.name for method in report.methods[:-1])
    parts = [
        tag("h1", "Depth models beside the truth"),
        tag("p", f"{models} and the rule of thumb. Made by pearl-data tools eval depth.",
            class_="soft"),
        *(_table(found, found.rows, "h2") for found in report.sets),
        _notes(report),
        *_pictures(gallery),
    ]  # fmt: skip
    by_picture = [found for found in report.sets if len(found.pictures) > 1]
    if by_picture:
        parts.append(tag("h2", "By picture"))
        for found in by_picture:
            parts += [_table(found, picture.rows, "h3", picture.name) for picture in found.pictures]
    return page("Depth models beside the truth", *parts, style=_STYLE)


def _pictures(gallery: Gallery) -> Iterator[Markup]:
    yield from _shown(
        "Pictures",
        "Depth is coloured on the scale of the truth, by the logarithm of inverse depth; "
        "predictions are aligned to it by one scale and shift. One that is the opposite of the "
        "truth is shown flat. Grey: depth not known or all alike, error not to be told.",
        (_error_bar(420, 15), "colours of errors"),
        gallery.maps,
    )
    yield from _shown(
        "Pictures with pairs of points",
        "Every line leads from the nearer point, a filled mark, to the farther one, an open one. "
        "Each prediction is coloured in its own range, by the logarithm of inverse depth.",
        (mark_bar(420, 22), "marks of pairs"),
        gallery.points,
    )
    if gallery.left_out:
        more = "1 more picture is" if gallery.left_out == 1 else f"{gallery.left_out} more are"
        yield tag("p", f"{more} not shown: a page holds {gallery.most}.", class_="soft")


def _shown(
    title: str, words: str, legend: tuple[Image.Image, str], cards: Sequence[Markup]
) -> Iterator[Markup]:
    """A section of ``cards``, if there are any, under what their colours and marks mean."""
    if cards:
        yield tag("h2", title)
        yield tag("p", words, class_="soft")
        yield _legends((depth_bar(420, 15, log=True), "colours from far to near"), legend)
        yield from cards


def _table(found: SetReport, rows: Sequence[Row], head: str, name: str = "") -> Markup:
    lines = [tag("tr", *(tag("th", h) for h in ("", *HEADS)))] if rows else []
    for row in rows:
        cells = [tag("td", _breakable(row.method)), *(tag("td", text) for text in figures(row))]
        lines.append(tag("tr", *cells))
    return tag(
        "section",
        tag(head, name or found.name),
        tag("p", count_words(rows[0]) if name else set_words(found), class_="soft small"),
        *(tag("p", line, class_="bad small") for line in ([] if name else left_out_lines(found))),
        tag("div", tag("table", *lines), class_="scroll"),
    )


def _notes(report: DepthReport) -> Markup:
    methods = [
        f"{m.name}: {m.model_id}, {DESCRIBED[m.output]}, weights {m.weights_sha256[:12]}"
        for m in report.methods[:-1]
    ]
    ordinal = (
        f"ordinal: share of pixel pairs in the right order, ties half, where depths differ by more "
        f"than {report.ratio:g}; up to {report.pairs_drawn:,} pairs drawn a picture, seed "
        f"{report.seed}."
    )
    aligned = (
        "AbsRel and delta-1: depth after one scale and shift of inverse depth per picture, least "
        "squares; means over pictures. No scale is below 0: a map that is the opposite of the "
        "truth is taken for one depth. Spearman: with true inverse depth."
    )
    notes = [ordinal, aligned, report.interval + ".", *methods]
    told = (tag("p", note, class_="soft small") for note in notes)
    return tag("div", *told, style="margin-top:28px")


def _legends(*bars: tuple[Image.Image, str]) -> Markup:
    shown = [
        tag("img", src=data_uri(encode(bar, "PNG"), "image/png"), alt=words) for bar, words in bars
    ]
    return tag("p", *shown, class_="legends")


def _card(seen: Seen) -> Markup:
    """One row: the picture, its truth, and of every method its prediction and its error."""
    limits = limits_of(seen.inverse_m)
    known = np.isfinite(seen.inverse_m)
    span = f"{1 / limits.near:.3g} to {1 / limits.far:.3g} m"
    cells = [
        _cell("picture", "", Image.fromarray(seen.image)),
        _depth("truth", span, seen.inverse_m, limits),
    ]
    for row, aligned in zip(seen.rows, seen.aligned, strict=True):
        told = known & (row.abs_rel is not None)  # else every map is right after alignment
        error = Image.fromarray(colour_error(aligned, seen.inverse_m, told))
        ordinal, spearman, abs_rel = (
            cell(estimate).split(" ")[0] for estimate in (row.ordinal, row.spearman, row.abs_rel)
        )
        words = f"ordinal {ordinal}, Spearman {spearman}"
        words += "; the opposite of the truth, shown flat" if row.flipped else ""
        cells += [
            _depth(row.method, words, aligned, limits),
            _cell("its error", f"AbsRel {abs_rel}", error),
        ]
    return _row(f"{seen.place}: {seen.name}", cells, LEAST)


def _points_card(seen: SeenPoints) -> Markup:
    """One row: the picture with its pairs, and every prediction with those right and wrong."""
    height, width = seen.image.shape[:2]
    size = _reduced(height, width, POINTS_WIDTH)
    fit = (size[0] / width, size[1] / height)
    drawn = seen.pairs[:DRAWN]

    def marked(pixels: NDArray[np.uint8], scores: Sequence[float | None]) -> Image.Image:
        small = Image.fromarray(pixels).resize(size, Image.Resampling.BOX)
        return mark_pairs(small, drawn, scores[:DRAWN], fit)

    count = f"{len(seen.pairs)} pair{'s' if len(seen.pairs) != 1 else ''}"
    count += f", the first {DRAWN} drawn" if len(seen.pairs) > DRAWN else ""
    cells = [_figure("picture", count, marked(seen.image, [None] * len(seen.pairs)))]
    for row, map_, scores in zip(seen.rows, seen.maps, seen.scores, strict=True):
        right, wrong = int((scores == 1).sum()), int((scores == 0).sum())
        alike = len(scores) - right - wrong
        words = f"{right} right, {wrong} wrong" + (f", {alike} alike" if alike else "")
        cells.append(_figure(row.method, words, marked(colour_depth(map_), scores.tolist())))
    return _row(f"{seen.place}: {seen.name}", cells, POINTS_LEAST)


def _row(head: str, cells: Sequence[Markup], least: int) -> Markup:
    columns = f"grid-template-columns:repeat({len(cells)},minmax({least}px,1fr))"
    row = tag("div", *cells, style=f"display:grid;gap:4px 8px;{columns}")
    return tag("section", tag("h3", head), tag("div", row, class_="scroll"))


def _depth(title: str, words: str, inverse: NDArray[np.float32], limits: Limits) -> Markup:
    return _cell(title, words, Image.fromarray(colour_depth(inverse, limits)), ends=inverse)


def _cell(
    title: str, words: str, picture: Image.Image, ends: NDArray[np.float32] | None = None
) -> Markup:
    """A picture reduced, under its title and figures, with the ends of a map marked."""
    size = _reduced(picture.height, picture.width, WIDTH)
    small = picture.resize(size, Image.Resampling.BOX)
    if ends is not None:
        small = mark_ends(small, ends_of(ends), LETTERS)
    return _figure(title, words, small)


def _figure(title: str, words: str, picture: Image.Image) -> Markup:
    """A picture under its title and figures; pictures of a row begin at one height."""
    uri = data_uri(encode(picture, "JPEG", quality=85, subsampling=0), "image/jpeg")
    return tag(
        "figure",
        tag("figcaption", tag("b", _breakable(title)), tag("br"), words, class_="small"),
        tag("img", src=uri, alt=title, style="width:100%;display:block;border-radius:3px"),
        style="margin:0;display:grid;grid-template-rows:1fr auto;gap:4px;line-height:1.3;"
        "overflow-wrap:anywhere",
    )


def _breakable(name: str) -> Markup:
    """A method's name that breaks between its parts, and inside of one only where it must."""
    return Markup(tag("wbr").join(join(part) for part in re.split(r"(?<=[_./-])", name) if part))


def _reduced(height: int, width: int, to: int) -> tuple[int, int]:
    """Width and height of a picture that becomes ``to`` pixels wide."""
    return to, max(1, round(height * to / width))


def colour_error(
    inverse: NDArray[np.float32], truth: NDArray[np.float32], known: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """|predicted depth - depth| / depth as colours from white (0) to dark red (:data:`WORST`); grey
    where depth is not known.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        wrong = np.abs(truth / inverse - 1)
    colours = _error_colours(np.where(known, wrong, 0))
    colours[~known] = UNKNOWN
    return colours


def _error_colours(wrong: NDArray[np.floating]) -> NDArray[np.uint8]:
    place = np.clip(wrong / WORST, 0, 1)
    stops = np.linspace(0, 1, len(_ERRORS))
    channels = [np.interp(place, stops, _ERRORS[:, channel]) for channel in range(3)]
    return np.asarray(np.rint(np.stack(channels, axis=-1)), np.uint8)


def _error_bar(width: int, size: int) -> Image.Image:
    out = Image.new("RGB", (width, round(1.3 * size)), "white")
    draw = ImageDraw.Draw(out)
    font = face(size)
    left, right = "right depth", f"{WORST:.0%} off"
    start, end = font.getlength(f"{left} "), width - font.getlength(f" {right}")
    ramp = np.linspace(0, WORST, max(8, round(end - start)))[None]
    strip = cv2.resize(_error_colours(ramp), None, fx=1, fy=size // 2)
    out.paste(Image.fromarray(strip), (round(start), round(0.65 * size) - strip.shape[0] // 2))
    draw.text((0, round(0.65 * size)), left, "#555555", font, anchor="lm")
    draw.text((width, round(0.65 * size)), right, "#555555", font, anchor="rm")
    return out
