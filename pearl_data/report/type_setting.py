"""Text in pictures: wrapping to a width, measured in pixels.

Pillow's own face covers ASCII and little more, so other letters are written as their nearest ASCII
form (``é`` as ``e``) and what has none as ``?``. The JSON keeps the exact text; pages and terminals
show it. Not here: right-to-left and vertical scripts.
"""

from __future__ import annotations

import unicodedata

from PIL import ImageDraw, ImageFont

#: Only these types take a text size, so the default face is always the scalable one.
Font = ImageFont.FreeTypeFont
LINE_HEIGHT = 1.36
_NEAREST = str.maketrans(
    {
        "×": "x",
        "–": "-",
        "—": "-",
        "−": "-",
        "→": "->",
        "ß": "ss",
        "°": " deg",
        "•": "-",
        "…": "...",
    }
)


class Paragraph:
    """``text`` wrapped to ``width`` pixels in letters of ``size``; at most ``max_lines`` lines, the
    last one ending in dots where more was there.
    """

    def __init__(
        self, text: str, width: float, size: float, *, max_lines: int = 99, bold: bool = False
    ) -> None:
        self.font = face(size)
        self.bold = bold
        self.leading = size * LINE_HEIGHT
        self.lines = wrap(drawable(text), width, self.font)
        if len(self.lines) > max_lines:
            self.lines = self.lines[:max_lines]
            last = self.lines[-1]
            while last and self.font.getlength(last + " ...") > width:
                last = last[:-1]
            self.lines[-1] = last.rstrip() + " ..."

    @property
    def height(self) -> float:
        """The pixels that the lines take."""
        return len(self.lines) * self.leading

    def draw(self, draw: ImageDraw.ImageDraw, x: float, y: float, colour: str) -> float:
        """Draw with the left upper corner at ``x, y``; the y below the last line."""
        for line in self.lines:
            draw.text(
                (x, y + self.leading / 2),
                line,
                colour,
                self.font,
                anchor="lm",
                stroke_width=0.4 if self.bold else 0,
            )
            y += self.leading
        return y


def face(size: float) -> Font:
    """Pillow's own scalable face, so that figures look the same on every machine."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def wrap(text: str, width: float, font: Font) -> list[str]:
    """``text`` in lines that are at most ``width`` pixels wide; longer words are broken.

    A single letter wider than ``width`` still gets its line.
    """
    lines: list[str] = []
    line = ""
    for word in text.split():
        rest = word
        joined = f"{line} {rest}" if line else rest
        if font.getlength(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        while font.getlength(rest) > width and len(rest) > 1:
            cut = len(rest) - 1
            while cut > 1 and font.getlength(rest[:cut]) > width:
                cut -= 1
            lines.append(rest[:cut])
            rest = rest[cut:]
        line = rest
    return [*lines, line] if line else lines


def drawable(text: str) -> str:
    """``text`` in the letters that Pillow's face has.

    >>> drawable("café × 2")
    'cafe x 2'
    """
    plain = unicodedata.normalize("NFKD", text.translate(_NEAREST))
    kept = "".join(c for c in plain if not unicodedata.combining(c))
    return "".join(
        c if " " <= c <= "~" or c in "“”‘’" else " " if c.isspace() else "?" for c in kept
    )
