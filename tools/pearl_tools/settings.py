"""Settings of an executor: box policy, zoom size, depth model, cache bound.

Not here: arguments of single calls, and the storage of results.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pearl_tools.errors import UsageError

OnPartlyOutside = Literal["refuse", "clamp"]


class ExecutorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a :class:`~pearl_tools.executor.ToolExecutor`; JSON-able, all problems at once.

    >>> ExecutorSettings(pad_share=0.1).min_side_px
    4
    """

    on_partly_outside: OnPartlyOutside = "refuse"
    """A box partly outside the picture is refused, or clamped with the adjustment recorded."""
    pad_share: float = 0.0
    """Padding on each side as a share of the box's own width and height (0..1), recorded."""
    min_side_px: int = 4
    """Smaller boxes are refused as ``geometry.too_small``."""
    whole_image: Literal["allow", "refuse"] = "allow"
    """Whether a box may be the whole picture."""
    zoom_long_side_px: int = 448
    """Long side of what ``zoom`` returns."""
    depth_model: str = "embedded"
    """Name or folder of the depth model; loaded once, at the first depth call."""
    device: str = "cpu"
    """Where the depth model runs."""
    seed: int = 0
    """Recorded with depth calls; the tools themselves draw no random numbers."""
    cache_bytes: int = 256 << 20
    """Bound of the result cache; 0 switches it off."""

    def __post_init__(self) -> None:
        rules = [
            (self.on_partly_outside in ("refuse", "clamp"), "on_partly_outside: refuse or clamp"),
            (0 <= self.pad_share <= 1, "pad_share: 0 to 1 (share of the box per side)"),
            (self.min_side_px >= 1, "min_side_px: at least 1"),
            (self.whole_image in ("allow", "refuse"), "whole_image: allow or refuse"),
            (16 <= self.zoom_long_side_px <= 4096, "zoom_long_side_px: 16 to 4096"),
            (self.cache_bytes >= 0, "cache_bytes: 0 (no cache) or more"),
        ]
        broken = [
            f"{text}, got {getattr(self, text.split(':')[0])!r}" for ok, text in rules if not ok
        ]
        if broken:
            raise UsageError("executor settings: expected " + "; ".join(broken))
