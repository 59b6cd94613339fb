from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pearl_data.validate.geometry import is_plainly_right
from pearl_tools.errors import ToolFailure
from pearl_tools.executor import ExecutorSettings
from pearl_tools.geometry import OWN_NAMING
from pearl_tools.registry import TOOLS
from pearl_tools.types import Effective, MediaRecord, Resampling

FRACTIONS = st.sampled_from([-0.1, 0.0, 0.25, 0.5, 0.5000001, 0.75, 1.0, 1.1]) | st.floats(
    -0.2, 1.2
)
BOXES = st.lists(FRACTIONS, min_size=4, max_size=4)
SETTINGS = st.sampled_from(
    [
        ExecutorSettings(min_side_px=1),
        ExecutorSettings(min_side_px=1, on_partly_outside="clamp"),
        ExecutorSettings(min_side_px=1, pad_share=0.1, zoom_long_side_px=32),
    ]
)
CHANGES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"box_px": (0, 0, 3, 3)},
        {"box_root": (0.0, 0.0, 3.0, 3.0)},
        {"resampling": None},
        {"resampling": Resampling(width=32, height=7, filter="lanczos")},
        {"resampling": Resampling(width=448, height=448, filter="nearest")},
        {"adjustments": []},
    ]
)


def medium(width: int, height: int) -> MediaRecord:
    return MediaRecord(
        id="i0",
        kind="image",
        width=width,
        height=height,
        pixel_sha256="0" * 64,
        box_root=(0.0, 0.0, float(width), float(height)),
    )


@given(
    st.sampled_from(["crop", "zoom"]), BOXES, st.integers(1, 40), st.integers(1, 40), SETTINGS,
    CHANGES,
)  # fmt: skip
def test_the_short_way_only_passes_what_the_full_check_passes(
    tool: str,
    bbox: list[float],
    width: int,
    height: int,
    settings: ExecutorSettings,
    change: dict[str, Any],
) -> None:
    source, arguments = medium(width, height), {"image": "i0", "bbox": bbox}
    try:
        true: Effective = TOOLS[tool].check(arguments, source, settings, OWN_NAMING)
    except ToolFailure:
        true = Effective(box_px=(0, 0, width, height), box_root=(0.0, 0.0, 1.0, 1.0))
    recorded = msgspec.structs.replace(true, **change)
    if not is_plainly_right(tool, arguments, recorded, source):
        return
    size = recorded.resampling
    lenient = ExecutorSettings(
        min_side_px=1, zoom_long_side_px=max(size.width, size.height) if size else 448
    )
    assert TOOLS[tool].check(arguments, source, lenient, OWN_NAMING) == recorded


def test_the_short_way_is_the_usual_one() -> None:
    source, arguments = medium(640, 480), {"image": "i0", "bbox": [0.1, 0.2, 0.4, 0.5]}
    for tool in ("crop", "zoom"):
        effective = TOOLS[tool].check(arguments, source, ExecutorSettings(), OWN_NAMING)
        assert is_plainly_right(tool, arguments, effective, source)
