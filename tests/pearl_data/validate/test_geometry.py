from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pearl_tools.errors import ToolFailure
from pearl_tools.executor import ExecutorSettings
from pearl_tools.regions import RegionTool
from pearl_tools.registry import TOOLS
from pearl_tools.tool import Request
from pearl_tools.types import MediaRecord, Region, Resampling

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
        true = _check(tool, arguments, source, settings)
    except ToolFailure:
        true = Region(box_px=(0, 0, width, height), box_root=(0.0, 0.0, 1.0, 1.0))
    recorded = msgspec.structs.replace(true, **change)
    if not _tool(tool).is_plainly_right(arguments, source, recorded):
        return
    size = recorded.resampling
    lenient = ExecutorSettings(
        min_side_px=1, zoom_long_side_px=max(size.width, size.height) if size else 448
    )
    assert _check(tool, arguments, source, lenient) == recorded


def test_the_short_way_is_the_usual_one() -> None:
    source, arguments = medium(640, 480), {"image": "i0", "bbox": [0.1, 0.2, 0.4, 0.5]}
    for tool in ("crop", "zoom"):
        effective = _check(tool, arguments, source, ExecutorSettings())
        assert _tool(tool).is_plainly_right(arguments, source, effective)


def _tool(name: str) -> RegionTool:
    tool = TOOLS[name]
    assert isinstance(tool, RegionTool)
    return tool


def _check(
    tool: str, arguments: dict[str, Any], source: MediaRecord, settings: ExecutorSettings
) -> Region:
    request = Request(arguments=arguments, sources=(source,), settings=settings)
    effective = _tool(tool).check(request)
    assert isinstance(effective, Region)
    return effective
