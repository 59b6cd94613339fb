"""One trajectory as one picture, told from left to right along a line: what was given, each call
with why it was made and what it showed, the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw

from pearl_data.report.depth_colours import depth_bar, mark_ends
from pearl_data.report.pictures import Shown, draw_boxes, show_medium, size_of_parent
from pearl_data.report.story import numbers
from pearl_data.report.type_setting import Paragraph, face
from pearl_data.report.view import CallView, TrajectoryView, view_of
from pearl_data.shards import Sample
from pearl_tools.types import MediaRecord

WIDTH = 1600
MARGIN = 48
GAP = 40
#: Columns a row holds at most; the picture that was given takes two.
UNITS = 6
TITLE, TEXT, SMALL = 32.0, 21.0, 16.0
INK, GREY, FAINT, GOOD, BAD = "#1c2024", "#5b646d", "#c9ced3", "#2f7d4f", "#b0344a"
MAX_THOUGHT_LINES = 12


class Block(NamedTuple):
    """One piece of a column: a paragraph or a picture, and the space under it."""

    content: Paragraph | Image.Image
    colour: str
    space: float


class Column(NamedTuple):
    """One station: its mark on the line, its title, then text, pictures and small print."""

    units: int
    width: float
    mark: str
    title: str
    colour: str
    text: list[Block]
    picture: list[Block]


def draw_trajectory(sample: Sample) -> Image.Image:
    """The figure of ``sample``: RGB, 1600 px wide, as high as it needs."""
    view = view_of(sample.trajectory)
    task = sample.trajectory.task
    question = Paragraph(task.question, WIDTH - 2 * MARGIN, TITLE, bold=True)
    choices = Paragraph("   /   ".join(task.choices), WIDTH - 2 * MARGIN, TEXT)
    rows = _rows(view, sample.members)
    heights = [_row_height(row) for row in rows]
    height = MARGIN + question.height + 6 + choices.height + 30 + sum(heights) + MARGIN / 2
    figure = Image.new("RGB", (WIDTH, round(height)), "white")
    draw = ImageDraw.Draw(figure)
    y = question.draw(draw, MARGIN, MARGIN, INK) + 6
    y = choices.draw(draw, MARGIN, y, GREY) + 30
    for number, (row, row_height) in enumerate(zip(rows, heights, strict=True)):
        _draw_row(figure, draw, row, y, goes_on=number + 1 < len(rows))
        y += row_height
    return figure


def _rows(view: TrajectoryView, members: Mapping[str, bytes]) -> list[list[Column]]:
    """The columns, in as many rows as they need, filled evenly."""
    stations = sum(max(1, len(step.calls)) for step in view.steps)
    units = 2 * max(1, len(view.roots)) + stations + 1
    per_row = -(-units // -(-units // UNITS))
    width = _unit_width(per_row)
    rows: list[list[Column]] = [[]]
    for column in _columns(view, members, width):
        if rows[-1] and sum(c.units for c in rows[-1]) + column.units > per_row:
            rows.append([])
        rows[-1].append(column)
    return rows


def _unit_width(per_row: int) -> float:
    return (WIDTH - 2 * MARGIN - (per_row - 1) * GAP) / per_row


def _columns(view: TrajectoryView, members: Mapping[str, bytes], unit: float) -> Iterator[Column]:
    for root in view.roots:
        yield _given(view, root, members, 2 * unit + GAP)
    for step in view.steps:
        if not step.calls:
            yield Column(1, unit, "", "thought", GREY, [_text(step.thought, unit)], [])
        for call in step.calls:
            yield _called(call, view.trajectory.media, members, unit)
    yield _answered(view, unit)


def _given(
    view: TrajectoryView, root: MediaRecord, members: Mapping[str, bytes], width: float
) -> Column:
    shown = show_medium(root, members)
    picture = _fit(shown.image, width, 620)
    if not shown.problem:
        picture = draw_boxes(picture, (root.width, root.height), view.boxes_on(root.id), size=20)
    name = "given" if len(view.roots) == 1 else f"given: {root.id}"
    small = _small(_caption(shown, f"{root.width} x {root.height} px"), width)
    return Column(2, width, "", name, GREY, [], [Block(picture, "", 8), small])


def _called(
    view: CallView, media: Sequence[MediaRecord], members: Mapping[str, bytes], width: float
) -> Column:
    call = view.call
    text = [_text(view.thought, width)] if view.thought else []
    below: list[Block] = []
    if call.result.error:
        error = call.result.error
        below.append(Block(Paragraph(error.code, width, TEXT, bold=True), BAD, 4))
        told = f"expected {error.expected}, got {error.got}"
        below.append(Block(Paragraph(told, width, SMALL, max_lines=6), BAD, 8))
    for medium in view.observations:
        shown = show_medium(medium, members, of=size_of_parent(medium, media))
        picture = mark_ends(_fit(shown.image, width - 6, 420), shown.ends, round(SMALL))
        picture = _framed(picture, view.colour)
        below.append(Block(picture, "", 8))
        if medium.kind == "depth" and not shown.problem:
            below.append(Block(depth_bar(picture.width, round(SMALL), log=shown.log), "", 4))
        size = f"{medium.width} x {medium.height} px"
        told = f"{size}; {shown.scale}" if shown.scale else size
        below.append(_small(_caption(shown, told), width))
    if view.box_root:
        below.append(_small(f"box {numbers([round(v) for v in view.box_root])}", width))
    return Column(1, width, str(view.number), call.tool, view.colour, text, below)


def _answered(view: TrajectoryView, width: float) -> Column:
    task, final = view.trajectory.task, view.trajectory.final
    right = final.answer == task.answer
    colour = GOOD if right else BAD
    agrees = "agrees with" if right else f"but {task.answer!r} says"
    told = f"{agrees} the {task.answer_source}"
    if final.verdict == "unverified":
        told = f"unverified: the {task.answer_source} alone says so"
    told += "" if task.needs_tool else "; needs no tool"
    below = [
        Block(Paragraph(final.answer, width, TITLE, max_lines=4, bold=True), colour, 4),
        _small(told, width),
    ]
    return Column(
        1, width, "+" if right else "-", "answer", colour, [_text(final.thought, width)], below
    )


def _text(text: str, width: float) -> Block:
    return Block(Paragraph(text, width, TEXT, max_lines=MAX_THOUGHT_LINES), INK, 16)


def _small(text: str, width: float) -> Block:
    return Block(Paragraph(text, width, SMALL, max_lines=4), GREY, 2)


def _caption(shown: Shown, text: str) -> str:
    return f"{text}: {shown.problem}" if shown.problem else text


def _fit(picture: Image.Image, width: float, max_height: float) -> Image.Image:
    """``picture`` scaled to ``width`` or ``max_height``, whichever is reached first."""
    scale = min(width / picture.width, max_height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS)


def _framed(picture: Image.Image, colour: str) -> Image.Image:
    out = Image.new("RGB", (picture.width + 6, picture.height + 6), colour)
    out.paste(picture, (3, 3))
    return out


_HEADER = 64.0


def _height(blocks: Sequence[Block]) -> float:
    return sum(block.content.height + block.space for block in blocks)


def _row_height(row: Sequence[Column]) -> float:
    return _HEADER + max(_picture_top(row, c) + _height(c.picture) for c in row) + 34


def _picture_top(row: Sequence[Column], column: Column) -> float:
    """Pictures of calls start at one height, under the longest thought; the given one at once."""
    return max(_height(c.text) for c in row) if column.text or column.mark else 0.0


def _draw_row(
    figure: Image.Image,
    draw: ImageDraw.ImageDraw,
    row: Sequence[Column],
    top: float,
    *,
    goes_on: bool,
) -> None:
    x = float(MARGIN)
    middle = top + 18
    for place, column in enumerate(row):
        last = place + 1 == len(row)
        _draw_mark(figure, draw, column, x, middle)
        title_end = x + 46 + face(TEXT).getlength(column.title) + 14
        line_end = x + column.width + GAP - 8
        if not last or goes_on:
            _draw_arrow(draw, title_end, min(line_end, WIDTH - 10), middle)
        y = top + _HEADER
        for block in column.text:
            y = _draw_block(figure, draw, block, x, y)
        y = top + _HEADER + _picture_top(row, column)
        for block in column.picture:
            y = _draw_block(figure, draw, block, x, y)
        x += column.width + GAP


def _draw_block(
    figure: Image.Image, draw: ImageDraw.ImageDraw, block: Block, x: float, y: float
) -> float:
    if isinstance(block.content, Paragraph):
        return block.content.draw(draw, x, y, block.colour) + block.space
    figure.paste(block.content, (round(x), round(y)))
    return y + block.content.height + block.space


def _draw_mark(
    figure: Image.Image, draw: ImageDraw.ImageDraw, column: Column, x: float, y: float
) -> None:
    """The dot on the line with its number, or a tick or cross at the answer, then the title."""
    # Drawn four times as large and reduced, because Pillow's shapes have hard edges.
    radius = 68
    dot = Image.new("RGB", (2 * radius, 2 * radius), "white")
    pen = ImageDraw.Draw(dot)
    pen.ellipse([0, 0, 2 * radius - 1, 2 * radius - 1], fill=column.colour)
    if column.mark == "+":
        pen.line([(36, 68), (60, 94), (102, 42)], "white", 15, joint="curve")
    elif column.mark == "-":
        pen.line([(42, 42), (94, 94)], "white", 15)
        pen.line([(42, 94), (94, 42)], "white", 15)
    elif column.mark:
        pen.text((radius, radius), column.mark, "white", face(84), anchor="mm", stroke_width=2)
    figure.paste(dot.resize((34, 34), Image.Resampling.LANCZOS), (round(x), round(y - 17)))
    draw.text((x + 46, y), column.title, column.colour, face(TEXT), anchor="lm", stroke_width=0.4)


def _draw_arrow(draw: ImageDraw.ImageDraw, start: float, end: float, y: float) -> None:
    if end - start < 12:
        return
    draw.line([(start, y), (end, y)], FAINT, 3)
    draw.line([(end - 9, y - 8), (end, y), (end - 9, y + 8)], FAINT, 3, joint="curve")
