"""A depth evaluation as text tables, and as one self-contained page of tables and pictures."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import jinja2

from pearl_data.depth_eval.figures import ERRORS, WORST, Gallery
from pearl_data.depth_eval.measures import FEWEST_PIXELS
from pearl_data.depth_eval.records import DepthReport, Estimate, Row, SetReport
from pearl_data.html import Markup, data_uri, page
from pearl_data.report.depth_colours import depth_bar
from pearl_data.report.pictures import encode
from pearl_tools.depth.outputs import DESCRIBED
from pearl_tools.errors import listed

HEADS: Final = ("ordinal", "less the rule's", "Spearman", "AbsRel", "delta-1")
MOST_REMARKS: Final = 20
"""Remarks of one kind on a set; the JSON holds all."""
#: Score of a pair -> colour of its mark, none of which depth has.
COLOURS: Final = {1: "#35d0ff", 0: "#ff4fd8", 0.5: "#7dff6a", None: "white"}


class Table(NamedTuple):
    """The results of a set, or of a picture of it; a row is a method and its cells."""

    title: str
    summary: str
    remarks: list[str]
    rows: list[list[str]]


def depth_text(report: DepthReport, *, by_picture: bool = False) -> str:
    """A table per set for a terminal; ``by_picture`` adds one per picture."""
    lines: list[str] = []
    for found in report.sets:
        for table in _tables(found)[: None if by_picture else 1]:
            lines += [f"{table.title}: {table.summary}", *(f"  {line}" for line in table.remarks)]
            lines += _aligned(table.rows)
        lines.append("")
    return "\n".join(lines + [line for note in _notes(report) for line in textwrap.wrap(note, 98)])


def depth_page(report: DepthReport, gallery: Gallery) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    source = Path(__file__).with_name("page.html.jinja").read_text("utf-8")
    models = report.methods[:-1]
    weights = [
        f"{m.name}: {m.model_id}, {DESCRIBED[m.output]}, weights {m.weights_sha256[:12]}"
        for m in models
    ]
    body = environment.from_string(source).render(
        models=", ".join(model.name for model in models),
        heads=HEADS,
        tables=[_tables(found)[0] for found in report.sets],
        picture_tables=[table for found in report.sets for table in _tables(found)[1:]],
        notes=[*_notes(report), *weights],
        gallery=gallery,
        depth_bar=data_uri(encode(depth_bar(420, 15, log=True), "PNG"), "image/png"),
        errors=", ".join(f"rgb{tuple(map(int, colour))}" for colour in ERRORS),
        worst=f"{WORST:.0%}",
        colours=COLOURS,
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


def _tables(found: SetReport) -> list[Table]:
    """The table of a set, then those of its pictures, if there are several."""
    pictures = found.pictures if len(found.pictures) > 1 else []
    return [
        Table(found.name, _summary(found), list(_remarks(found)), _cells(found.rows)),
        *(Table(p.name, _counts(p.rows[0]), [], _cells(p.rows)) for p in pictures),
    ]


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
    columns = list(zip(["", *HEADS], *rows, strict=True)) if rows else []
    shown = [c for n, c in enumerate(columns) if n < 2 or set(c[1:]) != {"-"}]
    padded = [[text.ljust(max(map(len, column))) for text in column] for column in shown]
    for line in zip(*padded, strict=True):
        yield "  " + "  ".join(line).rstrip()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _counts(row: Row) -> str:
    pixels = f", {_count(row.pixels, 'pixel')}" if row.pixels else ""
    return f"{_count(row.images, 'picture')}, {_count(row.pairs, 'pair')}{pixels}"


def _summary(found: SetReport) -> str:
    """The extent of a set, and its pictures, files and pixels that were not measured."""
    row = found.rows[0] if found.rows else None
    no_pairs = row and row.pixels and not row.pairs and found.one_depth < row.images
    files = f"{_count(len(found.truths_alone), 'file')} of depth without a picture"
    unscored = "without AbsRel and delta-1"
    parts = (
        (True, _counts(row) if row else "no picture measured"),
        (found.alone, f"{found.alone} without depth"),
        (found.truths_alone, f"{files} ({listed(found.truths_alone)})"),
        (found.left_out, f"{len(found.left_out)} dropped"),
        (found.one_depth, f"{found.one_depth} of constant depth, {unscored}"),
        (
            found.few_pixels,
            f"{found.few_pixels} with under {FEWEST_PIXELS} known pixels, {unscored}",
        ),
        (no_pairs, "no pair of pixels differs by --ratio: lower it, or raise --pairs"),
        (found.below_0, f"{_count(found.below_0, 'pixel')} below 0, read as unknown"),
    )
    return "; ".join(text for holds, text in parts if holds)


def _remarks(found: SetReport) -> Iterator[str]:
    flipped = [
        f"{row.method}: opposite to the truth on {row.flipped} of {_count(row.images, 'picture')}, "
        "aligned there to a constant"
        for row in found.rows
        if row.flipped
    ]
    reasons = [dropped.reason for dropped in found.left_out]
    for kind, lines in (("dropped", reasons), ("warning", found.doubts), ("note", flipped)):
        yield from (f"{kind}: {line}" for line in lines[:MOST_REMARKS])
        if len(lines) > MOST_REMARKS:
            yield f"{kind}: {len(lines) - MOST_REMARKS} more, see --json"


def _notes(report: DepthReport) -> list[str]:
    ordinal = (
        f"ordinal: share of pairs in the right order, ties half; of up to {report.pairs_drawn:,} "
        f"random pixel pairs a picture (seed {report.seed}) whose depths differ by more than "
        f"{report.ratio:g}, or of annotated pairs"
    )
    others = (
        "Spearman: with true inverse depth; AbsRel, delta-1: of depth, after one scale of at least "
        "0 and one shift of inverse depth per picture; means over pictures"
    )
    return [ordinal, others, report.interval]
