"""The common part of tools that show one region of one picture: crop and zoom.

The effective request is a :class:`~pearl_tools.types.Region`. Not here: boxes
(:mod:`pearl_tools.geometry`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from pearl_tools.errors import ToolError, tool_error
from pearl_tools.geometry import box_in_root, fraction_to_px
from pearl_tools.settings import ExecutorSettings
from pearl_tools.tool import CheckedCall, Output, Tool
from pearl_tools.types import (
    Adjustment,
    Box,
    BoxPx,
    Effective,
    MediaFacts,
    MediumKind,
    Region,
    Resampling,
)

#: Boxes in root pixels may differ by this much: they are computed in float64.
BOX_TOLERANCE_PX = 1e-6

BOX_ARGUMENT = {
    "type": "array",
    "items": {"type": "number"},
    "minItems": 4,
    "maxItems": 4,
    "description": (
        "Region [x0, y0, x1, y1] as fractions 0 to 1 of that picture's width and height: left, "
        "top, right, bottom. [0, 0, 1, 1] is the whole picture."
    ),
}


class RegionTool(Tool):
    """A tool whose one output shows the pixels of one region, resampled or not."""

    effects = Region
    shows = "view"
    kind: ClassVar[MediumKind]

    def resampling(self, box_px: BoxPx, long_side_px: int) -> Resampling | None:
        """The size of the output for a region and the long side that the settings ask for."""
        return None

    def outputs(self, effective: Effective, sources: Sequence[MediaFacts]) -> list[Output]:
        """One picture of the region."""
        region = region_of(effective)
        x0, y0, x1, y1 = region.box_px
        size = region.resampling
        width, height = (size.width, size.height) if size else (x1 - x0, y1 - y0)
        source = sources[0]
        return [Output(self.kind, source.id, region.box_root, width, height, source.frame)]

    def cache_key(self, call: CheckedCall) -> Hashable:
        """The pixels and the output size: equal regions share a result."""
        region = region_of(call.effective)
        size = region.resampling
        return region.box_px, size and (size.width, size.height)

    def settings_of(self, effective: Effective) -> ExecutorSettings:
        """Clamped, padded and resampled as the record says."""
        region = region_of(effective)
        kinds = {adjustment.kind for adjustment in region.adjustments}
        size = region.resampling
        return _settings(
            clamp="clamped" in kinds,
            pad_share=max(map(_pad_share, region.adjustments)) if "padded" in kinds else 0.0,
            zoom_px=max(size.width, size.height) if size else 448,
        )

    def check_record(
        self, arguments: dict[str, Any], sources: tuple[MediaFacts, ...], recorded: Effective
    ) -> Iterator[ToolError]:
        """See the base class; most records take a path that is three times as fast."""
        if not self.is_plainly_right(arguments, sources[0], recorded):
            yield from super().check_record(arguments, sources, recorded)

    def is_plainly_right(
        self, arguments: dict[str, Any], source: MediaFacts, recorded: Effective
    ) -> bool:
        """True if a box inside its picture was used unchanged; False requires the full check."""
        if not isinstance(recorded, Region) or recorded.adjustments:
            return False
        if "bbox" not in arguments or len(arguments) != 2:
            return False
        x0, y0, x1, y1 = bbox = arguments["bbox"]
        left, top, right, bottom = box_px = recorded.box_px
        size = recorded.resampling
        long_side = max(size.width, size.height) if size else 448
        return (
            0 <= x0 < x1 <= 1
            and 0 <= y0 < y1 <= 1
            and left < right
            and top < bottom
            and 16 <= long_side <= 4096
            and fraction_to_px(bbox, source.width, source.height) == box_px
            and box_in_root(box_px, source) == recorded.box_root
            and self.resampling(box_px, long_side) == size
        )

    def differences(self, computed: Effective, recorded: Effective) -> Iterator[ToolError]:
        """The fields of ``recorded`` that do not follow from the arguments."""
        computed, recorded = region_of(computed), region_of(recorded)
        if computed.box_px != recorded.box_px:
            yield _mismatch("effective.box_px", computed.box_px, recorded.box_px)
        if not near(computed.box_root, recorded.box_root):
            yield _mismatch("effective.box_root", computed.box_root, recorded.box_root)
        if computed.resampling != recorded.resampling:
            size, got = computed.resampling, recorded.resampling
            shown = [f"{each.width}x{each.height}" if each else "none" for each in (size, got)]
            yield tool_error("result.size_mismatch", "effective.resampling", *shown)
        kinds = [adjustment.kind for adjustment in computed.adjustments]
        got_kinds = [adjustment.kind for adjustment in recorded.adjustments]
        if kinds != got_kinds:
            expected = ", ".join(kinds) or "none"
            got_text = ", ".join(got_kinds) or "none"
            yield tool_error("result.box_mismatch", "effective.adjustments", expected, got_text)
            return
        pairs = zip(computed.adjustments, recorded.adjustments, strict=True)
        for index, (one, other) in enumerate(pairs):
            for field in ("requested", "effective"):
                box, got_box = getattr(one, field), getattr(other, field)
                if not near(box, got_box):
                    yield _mismatch(f"effective.adjustments[{index}].{field}", box, got_box)


def adjusted(effective: Region) -> str:
    """The changes to the requested box, as a clause; empty if there were none."""
    words = {"clamped": "clamped to the picture", "padded": "padded as the settings ask"}
    kinds = [words[a.kind] for a in effective.adjustments]
    return f" ({', '.join(kinds)})" if kinds else ""


def region_of(effective: Effective) -> Region:
    """The effective request of a region tool, which is always a region."""
    assert isinstance(effective, Region)
    return effective


def near(one: Box, other: Box) -> bool:
    """Equal boxes, apart from the rounding of float64."""
    return one == other or all(
        abs(a - b) <= BOX_TOLERANCE_PX for a, b in zip(one, other, strict=True)
    )


@lru_cache(maxsize=1024)
def _settings(*, clamp: bool, pad_share: float, zoom_px: int) -> ExecutorSettings:
    return ExecutorSettings(
        on_partly_outside="clamp" if clamp else "refuse",
        pad_share=pad_share,
        min_side_px=1,
        zoom_long_side_px=zoom_px,
    )


def _pad_share(adjustment: Adjustment) -> float:
    """The share of the box that was added per side: of the side that no edge has cut."""
    if adjustment.kind != "padded":
        return 0.0
    before, after = adjustment.requested, adjustment.effective
    width, height = before[2] - before[0], before[3] - before[1]
    if width <= 0 or height <= 0:
        return 0.0
    return max(
        (before[0] - after[0]) / width,
        (before[1] - after[1]) / height,
        (after[2] - before[2]) / width,
        (after[3] - before[3]) / height,
    )


def _mismatch(path: str, expected: Any, got: Any) -> ToolError:
    return tool_error("result.box_mismatch", path, str(list(expected)), list(got))
