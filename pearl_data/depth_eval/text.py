"""An evaluation of depth as aligned tables for a terminal, about 100 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Final

from pearl_data.depth_eval.frames import first_names
from pearl_data.depth_eval.measures import FEWEST_PIXELS
from pearl_data.depth_eval.records import DepthReport, Estimate, Row, SetReport

HEADS: Final = ("ordinal", "less the rule's", "Spearman", "AbsRel", "delta-1")
_NAME: Final = 24
_REASONS: Final = 20
_ORDINAL: Final = (
    "ordinal: pairs in the right order, ties half; where depth is known, those whose depths differ "
    "by more than {ratio:g}"
)
_ALIGNED: Final = (
    "AbsRel, delta-1: after one scale and shift of inverse depth per picture; means over pictures"
)
_UNALIGNED: Final = "no AbsRel or delta-1, every map would be right after alignment"


def tell_depth(report: DepthReport, *, by_picture: bool = False) -> str:
    """All sets, one table each; ``by_picture`` adds a table per picture."""
    lines = []
    for found in report.sets:
        lines += [*_set(found, by_picture=by_picture), ""]
    notes = (
        _ORDINAL.format(ratio=report.ratio),
        _ALIGNED,
        report.interval,
    )
    return "\n".join(lines + [line for note in notes for line in textwrap.wrap(note, 98)])


def count_words(row: Row) -> str:
    """How much a row rests on: ``5 pictures, 61,234 pairs``."""
    counts = [_count(row.images, "picture"), _count(row.pairs, "pair")]
    return ", ".join(counts + ([_count(row.pixels, "pixel")] if row.pixels else []))


def set_words(found: SetReport) -> str:
    """How much a set rests on, what was not measured and why no order: ``5 pictures, 61,234 pairs;
    1 without depth left out``.
    """
    return (count_words(found.rows[0]) if found.rows else "none measured") + _left_out_words(found)


def _left_out_words(found: SetReport) -> str:
    alone = f"; {found.alone} without depth left out" if found.alone else ""
    if found.truths_alone:
        files = f"{_count(len(found.truths_alone), 'file')} of depth without a picture"
        alone += f"; {files} ({first_names(found.truths_alone)})"
    if found.left_out:
        alone += f"; {len(found.left_out)} that cannot be used left out"
    if not found.rows:
        return alone
    row = found.rows[0]
    if found.one_depth:
        alone += f"; {found.one_depth} of one true depth: {_UNALIGNED}"
    if found.few_pixels:
        alone += f"; {found.few_pixels} of fewer than {FEWEST_PIXELS} known pixels: {_UNALIGNED}"
    if row.pixels and not row.pairs and found.one_depth < row.images:
        alone += "; no pair of pixels is further apart than --ratio: lower it, or raise --pairs"
    pixels = _count(found.below_0, "pixel")
    below = f"; {pixels} of depth or disparity below 0 taken as unknown" if found.below_0 else ""
    return alone + below


def left_out_lines(found: SetReport) -> list[str]:
    """Why pictures were left out, what looks wrong and which methods say the opposite, one a line;
    of very many the first ones.
    """
    reasons = [left.reason for left in found.left_out]
    flipped = [
        f"{row.method}: on {row.flipped} of {_count(row.images, 'picture')} the opposite of the "
        "truth, there taken for one depth"
        for row in found.rows
        if row.flipped
    ]
    return [
        *_first("left out", reasons),
        *_first("warning", found.doubts),
        *_first("note", flipped),
    ]


def _first(what: str, reasons: list[str]) -> list[str]:
    lines = [f"{what}: {reason}" for reason in reasons[:_REASONS]]
    more = len(reasons) - _REASONS
    return [*lines, f"{what}: {more} more, see --json"] if more > 0 else lines


def figures(row: Row) -> list[str]:
    """The cells of a row, in the order of `HEADS`."""
    return [
        cell(row.ordinal),
        cell(row.over_rule, signed=True),
        cell(row.spearman),
        cell(row.abs_rel),
        cell(row.delta_1),
    ]


def cell(estimate: Estimate | None, *, signed: bool = False) -> str:
    """``.843 [.80, .88]``, ``-.046 [-.09, +.01]`` for differences, a dash for what was not
    measured, ``1.000 [.34, 1.00]*`` with Wilson's interval, ``.843 [-]`` without any.
    """
    if estimate is None:
        return "-"
    sign = "+" if signed else ""
    value = _short(f"{estimate.value:{sign}.3f}")
    if estimate.low is None or estimate.high is None:
        return f"{value} [-]"
    low, high = (_short(f"{v:{sign}.2f}") for v in (estimate.low, estimate.high))
    return f"{value} [{low}, {high}]{'*' if estimate.interval == 'wilson' else ''}"


def _set(found: SetReport, *, by_picture: bool) -> Iterator[str]:
    yield f"{found.name}: {set_words(found)}"
    yield from (f"  {line}" for line in left_out_lines(found))
    if found.rows:
        yield from _table(found.rows)
    for picture in found.pictures if by_picture and len(found.pictures) > 1 else []:
        yield f"  {picture.name}: {count_words(picture.rows[0])}"
        yield from _table(picture.rows)


def _table(rows: list[Row]) -> Iterator[str]:
    names = _cut([row.method for row in rows])
    lines = ([name, *figures(row)] for name, row in zip(names, rows, strict=True))
    cells = [["", *HEADS], *lines]
    shown = [n for n in range(len(HEADS) + 1) if n < 2 or any(line[n] != "-" for line in cells[1:])]
    widths = {n: max(len(line[n]) for line in cells) for n in shown}
    for line in cells:
        yield "  " + "  ".join(line[n].ljust(widths[n]) for n in shown).rstrip()


def _count(number: int, of: str) -> str:
    return f"{number:,} {of}{'' if number == 1 else 's'}"


def _cut(names: list[str]) -> list[str]:
    """Long names without their middle, since versions differ at the end; whole where two would then
    be alike.
    """
    half = _NAME // 2
    short = [n if len(n) <= _NAME else f"{n[: half - 1]}…{n[-half:]}" for n in names]
    return [s if short.count(s) == 1 else n for s, n in zip(short, names, strict=True)]


def _short(number: str) -> str:
    """Without the zero before the point."""
    return number.replace("0.", ".", 1) if number.lstrip("+-").startswith("0.") else number
