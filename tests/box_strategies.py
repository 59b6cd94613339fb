"""Hypothesis strategies for sizes and boxes, shared by the tests of both packages."""

from __future__ import annotations

from hypothesis import strategies as st

sizes = st.integers(1, 5000)


@st.composite
def fraction_boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """Ordered fraction boxes inside the picture, of any positive area."""
    x0, x1 = sorted(draw(st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True)))
    y0, y1 = sorted(draw(st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True)))
    return (x0, y0, x1, y1)


@st.composite
def pixel_boxes(
    draw: st.DrawFn, width: int, height: int, least: int = 1
) -> tuple[int, int, int, int]:
    """Half-open pixel boxes inside a picture, at least ``least`` pixels a side."""
    x0 = draw(st.integers(0, width - least))
    y0 = draw(st.integers(0, height - least))
    x1 = draw(st.integers(x0 + least, width))
    y1 = draw(st.integers(y0 + least, height))
    return (x0, y0, x1, y1)
