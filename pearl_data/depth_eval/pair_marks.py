"""Pairs of points drawn into a picture: near and far told apart by filling, right and wrong by
shape and colour. Left out: which pairs, and what is said beside the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageDraw

from pearl_data.depth_eval.point_pairs import PointPair
from pearl_data.report.type_setting import face

#: Score of a pair -> colour, none of which depth has.
_MARKS: Final[dict[float | None, str]] = {
    1: "#35d0ff",
    0: "#ff4fd8",
    0.5: "#7dff6a",
    None: "white",
}


def mark_pairs(
    picture: Image.Image,
    pairs: Sequence[PointPair],
    scores: Sequence[float | None],
    fit: tuple[float, float],
) -> Image.Image:
    """A copy with every pair as a line from a filled mark (near) to an open one (far).

    Args:
        picture: RGB, of any size.
        pairs: in pixels of the upright picture.
        scores: 1 right: circles; 0 wrong: crosses; 0.5 alike: squares; None not judged: white
            circles. The colours are none of depth's.
        fit: pixels of ``picture`` per pixel of the upright one, across and down.

    """
    out = picture.copy()
    draw = ImageDraw.Draw(out)
    judged = zip(pairs, scores, strict=True)
    for pair, score in sorted(judged, key=lambda one: -(one[1] or 0)):  # wrong ones on top
        near, far = (
            ((int(x) + 0.5) * fit[0], (int(y) + 0.5) * fit[1]) for x, y in (pair.near, pair.far)
        )
        for width, ink in ((4, "black"), (2, _MARKS[score])):
            draw.line([near, far], ink, width)
        _mark(draw, near, score, filled=True)
        _mark(draw, far, score, filled=False)
    return out


def _mark(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], score: float | None, *, filled: bool
) -> None:
    x, y = at
    colour = _MARKS[score]
    if score == 0:
        strokes = [(x - 7, y - 7, x + 7, y + 7), (x - 7, y + 7, x + 7, y - 7)]
        for width, ink in ((9, "black"), (5, colour)) if filled else ((6, "black"), (3, colour)):
            for stroke in strokes:
                draw.line(stroke, ink, width)
        return
    shape = draw.rectangle if score == 0.5 else draw.ellipse
    shape((x - 7, y - 7, x + 7, y + 7), fill="black")
    shape((x - 6, y - 6, x + 6, y + 6), fill=colour if filled else "black", outline=colour, width=2)


def mark_bar(width: int, size: int) -> Image.Image:
    """What the marks of pairs mean, in a strip ``width`` pixels wide."""
    out = Image.new("RGB", (width, size), "white")
    font = face(15)
    left, middle = 8, size // 2
    for score, word in ((1, "right order"), (0, "wrong order"), (0.5, "alike")):
        pair = PointPair((left, middle), (left + 26, middle), "")
        out = mark_pairs(out, [pair], [score], (1, 1))
        ImageDraw.Draw(out).text((left + 42, middle), word, "#555555", font, anchor="lm")
        left += 42 + round(font.getlength(word)) + 26
    return out
