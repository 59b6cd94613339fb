"""The closed sets of words that the renderer may use for an object: shapes, colours, patterns,
label characters.

Leaves out how a shape is built (`shapes.py`) and painted (`materials.py`).
"""

from typing import Final, Literal, get_args

Shape = Literal["cube", "ball", "cylinder", "cone", "pyramid", "egg", "wedge"]
Colour = Literal["red", "orange", "yellow", "green", "blue", "purple", "white", "black"]
Pattern = Literal["plain", "striped", "checked", "speckled"]

SHAPES: Final[tuple[Shape, ...]] = get_args(Shape)
COLOURS: Final[tuple[Colour, ...]] = get_args(Colour)
PATTERNS: Final[tuple[Pattern, ...]] = get_args(Pattern)

COLOUR_RGB: Final[dict[Colour, tuple[float, float, float]]] = {
    "red": (0.80, 0.07, 0.09),
    "orange": (0.98, 0.50, 0.05),
    "yellow": (0.97, 0.88, 0.12),
    "green": (0.10, 0.58, 0.18),
    "blue": (0.10, 0.26, 0.82),
    "purple": (0.50, 0.14, 0.62),
    "white": (0.95, 0.95, 0.94),
    "black": (0.09, 0.09, 0.10),
}
"""sRGB value, 0..1, of each colour word on a plain, fully lit surface."""

LABEL_CHARACTERS: Final[str] = "ACDEFGHJKLMNPQRTUVWXY34679"
"""Characters a label may carry: A-Z and 0-9 without the look-alikes O/0, I/1, S/5, B/8 and Z/2."""
