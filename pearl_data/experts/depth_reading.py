"""Reading a depth map at a box, and whether two readings are far enough apart to decide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pearl_tools.types import Box

#: Two readings closer than this share of the map's range decide nothing.
DECISIVE_SHARE = 0.02
#: Only the middle of a box is read: its rim often shows what is behind.
_MIDDLE = 0.6


def reading(depth: NDArray[np.float32], box: Box) -> float:
    """Median inverse depth in the middle of ``box`` (fractions of the map); larger = nearer."""
    height, width = depth.shape
    cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half_w, half_h = (box[2] - box[0]) / 2 * _MIDDLE, (box[3] - box[1]) / 2 * _MIDDLE
    x0 = min(width - 1, max(0, int((cx - half_w) * width)))
    y0 = min(height - 1, max(0, int((cy - half_h) * height)))
    x1 = max(x0 + 1, min(width, int(np.ceil((cx + half_w) * width))))
    y1 = max(y0 + 1, min(height, int(np.ceil((cy + half_h) * height))))
    return float(np.median(depth[y0:y1, x0:x1]))


def place_in_range(depth: NDArray[np.float32], value: float) -> float:
    """``value`` as a share 0..1 of the map's range: 0 its farthest, 1 its nearest place.

    Relative inverse depth has no unit, so only its place within one map can be told in words.
    """
    low, high = float(depth.min()), float(depth.max())
    return (value - low) / (high - low) if high > low else 0.0


def margin_share(depth: NDArray[np.float32], nearer: float, farther: float) -> float:
    """How much larger ``nearer`` is, as a share of the map's range; negative if it is smaller."""
    span = float(depth.max() - depth.min())
    return (nearer - farther) / span if span > 0 else 0.0
