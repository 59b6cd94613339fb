"""A depth map as a grey picture that a vision-language model can look at.

Leaves out colour maps: grey has one order that nobody has to learn. The numbers stay in the float32
map.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LOW_PERCENT = 1.0
HIGH_PERCENT = 99.0


def depth_picture(inverse_depth: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A grey picture of a map of relative inverse depth: brighter is nearer.

    Args:
        inverse_depth: float32 (h, w), finite, larger = nearer.

    Returns:
        uint8 (h, w, 3) with three equal channels. The 1st percentile becomes 0 and the 99th 255, so
        that a few extreme pixels do not flatten the rest; values beyond are clipped. A constant map
        becomes mid-grey, 128.

    Raises:
        ValueError: not two-dimensional, empty, or not finite.

    Example:
        >>> depth_picture(np.array([[0.0, 1.0]], np.float32))[0, :, 0].tolist()
        [0, 255]

    """
    if inverse_depth.ndim != 2 or inverse_depth.size == 0:
        raise ValueError(f"inverse_depth: expected a map (h, w), got shape {inverse_depth.shape}")
    if not np.isfinite(inverse_depth).all():
        raise ValueError("inverse_depth: expected finite values, got nan or infinity")
    values = inverse_depth.astype(np.float64)
    low, high = np.percentile(values, (LOW_PERCENT, HIGH_PERCENT))
    span = high - low
    if span <= 1e-12 * max(abs(low), abs(high), 1e-300):
        grey = np.full(values.shape, 128, np.uint8)
    else:
        grey = np.rint(np.clip((values - low) / span, 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
