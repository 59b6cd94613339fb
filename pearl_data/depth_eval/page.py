"""An evaluation of depth as one self-contained page: tables, and for every picture the input, the
truth, each method's prediction and its error, side by side on one scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pearl_data.depth_eval.evaluate import Seen
from pearl_data.depth_eval.records import DepthReport, Row, SetReport
from pearl_data.depth_eval.text import HEADS, cell, count_words, figures
from pearl_data.html import Markup, data_uri, page, tag
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

WIDTH: Final = 320
"""Pixels to which pictures of the page are reduced."""
LEAST: Final = 140
"""How narrow one is shown at least: eight fill the page, more are reached by scrolling."""
LETTERS: Final = 22
"""Size of "near" and "far" in pictures of that width, which are shown at about half of it."""
WORST: Final = 0.5
"""Relative error of depth that gets the last colour."""
_ERRORS: Final = np.array(
    [(247, 247, 247), (253, 219, 199), (244, 165, 130), (214, 96, 77), (128, 0, 38)], np.float64
)


class Gallery:
    """Collects what :func:`~pearl_data.depth_eval.evaluate.evaluate` shows, as small pictures."""

    def __init__(self, most: int = 40) -> None:
        self.most = most
        self.left_out = 0
        self.cards: list[Markup] = []

    def look(self, seen: Seen) -> None:
        """Take one picture in, unless there are ``most`` already."""
        if len(self.cards) < self.most:
            self.cards.append(_card(seen))
        else:
            self.left_out += 1


def depth_page(report: DepthReport, gallery: Gallery) -> str:
    """The whole document."""
    models = ", ".join(method.name for method in report.methods[:-1])
    parts = [
        tag("h1", "Depth models beside the truth"),
        tag("p", f"{models} and the rule of thumb. Made by pearl-data tools eval depth.",
            class_="soft"),
        *(_table(found, found.rows, "h2") for found in report.sets),
        _notes(report),
    ]  # fmt: skip
    if gallery.cards:
        rest = f" {gallery.left_out} more are not shown." if gallery.left_out else ""
        parts += [
            tag("h2", "Pictures"),
            tag("p", "Depth is coloured on the scale of the truth, by the logarithm of inverse "
                "depth; predictions are aligned to it by one scale and shift. Grey: depth not "
                "known." + rest, class_="soft"),
            _legends(),
            *gallery.cards,
        ]  # fmt: skip
    by_picture = [found for found in report.sets if len(found.pictures) > 1]
    if by_picture:
        parts.append(tag("h2", "By picture"))
        for found in by_picture:
            parts += [_table(found, picture.rows, "h3", picture.name) for picture in found.pictures]
    return page("Depth models beside the truth", *parts)


def _table(found: SetReport, rows: Sequence[Row], head: str, name: str = "") -> Markup:
    alone = f"; {found.alone} without depth left out" if found.alone else ""
    lines = [tag("tr", *(tag("th", h) for h in ("", *HEADS)))]
    for row in rows:
        cells = [tag("td", row.method), *(tag("td", text) for text in figures(row))]
        lines.append(tag("tr", *cells))
    return tag(
        "section",
        tag(head, name or found.name),
        tag("p", count_words(rows[0]) + ("" if name else alone), class_="soft small"),
        tag("div", tag("table", *lines), class_="scroll"),
    )


def _notes(report: DepthReport) -> Markup:
    methods = [
        f"{m.name}: {m.model_id}, {m.output}, weights {m.weights_sha256[:12]}"
        for m in report.methods[:-1]
    ]
    ordinal = (
        f"ordinal: share of pixel pairs in the right order, ties half, where depths differ by more "
        f"than {report.ratio:g}; up to {report.pairs_drawn:,} pairs drawn a picture, seed "
        f"{report.seed}."
    )
    aligned = (
        "AbsRel and delta-1: depth after one scale and shift of inverse depth per picture, least "
        "squares; means over pictures. Spearman: with true inverse depth."
    )
    notes = [ordinal, aligned, report.interval + ".", *methods]
    told = (tag("p", note, class_="soft small") for note in notes)
    return tag("div", *told, style="margin-top:28px")


def _legends() -> Markup:
    depth = data_uri(encode(depth_bar(420, 15, log=True), "PNG"), "image/png")
    error = data_uri(encode(_error_bar(420, 15), "PNG"), "image/png")
    return tag(
        "p",
        tag("img", src=depth, alt="colours from far to near"),
        tag("img", src=error, alt="colours of errors"),
        style="display:flex;flex-wrap:wrap;gap:8px 40px",
    )


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
        error = Image.fromarray(colour_error(aligned, seen.inverse_m, known))
        ordinal, spearman, abs_rel = (
            cell(estimate).split(" ")[0] for estimate in (row.ordinal, row.spearman, row.abs_rel)
        )
        ranks = f"ordinal {ordinal}, Spearman {spearman}"
        cells += [
            _depth(row.method, ranks, aligned, limits),
            _cell("its error", f"AbsRel {abs_rel}", error),
        ]
    columns = f"grid-template-columns:repeat({len(cells)},minmax({LEAST}px,1fr))"
    row_ = tag("div", *cells, style=f"display:grid;gap:4px 8px;{columns}")
    head = tag("h3", f"{seen.place}: {seen.name}")
    return tag("section", head, tag("div", row_, class_="scroll"))


def _depth(title: str, words: str, inverse: NDArray[np.float32], limits: Limits) -> Markup:
    return _cell(title, words, Image.fromarray(colour_depth(inverse, limits)), ends=inverse)


def _cell(
    title: str, words: str, picture: Image.Image, ends: NDArray[np.float32] | None = None
) -> Markup:
    """A picture under its title and figures; pictures of a row begin at one height."""
    scale = WIDTH / picture.width
    small = picture.resize((WIDTH, max(1, round(picture.height * scale))), Image.Resampling.BOX)
    if ends is not None:
        small = mark_ends(small, ends_of(ends), LETTERS)
    uri = data_uri(encode(small, "JPEG", quality=85), "image/jpeg")
    return tag(
        "figure",
        tag("figcaption", tag("b", title), tag("br"), words, class_="small"),
        tag("img", src=uri, alt=title, style="width:100%;display:block;border-radius:3px"),
        style="margin:0;display:grid;grid-template-rows:1fr auto;gap:4px;line-height:1.3;"
        "overflow-wrap:anywhere",
    )


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
    from PIL import ImageDraw

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
