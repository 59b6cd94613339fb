"""A pinhole camera: its pose, its rays and where points of the world fall in its picture.

Rays have length one along the optical axis, so the parameter of a hit *is* its z-depth. Leaves out
lens distortion.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pearl_data.rendering.solids import Floats, cross

_NEAR_M = 0.02


class Rect(NamedTuple):
    """A half-open rectangle of pixels."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def area(self) -> int:
        """Number of pixels, 0 for an empty rectangle."""
        return max(self.x1 - self.x0, 0) * max(self.y1 - self.y0, 0)

    def overlap(self, other: "Rect") -> int:
        """Number of pixels in both rectangles."""
        return Rect(
            max(self.x0, other.x0),
            max(self.y0, other.y0),
            min(self.x1, other.x1),
            min(self.y1, other.y1),
        ).area


@dataclass(frozen=True, eq=False)
class Camera:
    """Where the camera stands and looks.

    Attributes:
        position: (3) metres.
        axes: (3, 3) rows right, down, forward in world axes, orthonormal.
        hfov_deg: horizontal field of view, degrees.

    """

    position: Floats
    axes: Floats
    hfov_deg: float

    def focal_px(self, width: int) -> float:
        """Focal length in pixels of a picture `width` pixels wide (pixels are square)."""
        return float(width / 2 / np.tan(np.radians(self.hfov_deg) / 2))

    def rays(self, width: int, height: int) -> Floats:
        """World directions (3, height, width) through the pixel centres, of length one along the
        optical axis.
        """
        focal = self.focal_px(width)
        x = ((np.arange(width) + 0.5 - width / 2) / focal).astype(np.float32)[None, :]
        y = ((np.arange(height) + 0.5 - height / 2) / focal).astype(np.float32)[:, None]
        right, down, forward = self.axes
        return np.stack([x * right[i] + y * down[i] + forward[i] for i in range(3)])

    def at(
        self, x_px: float, y_px: float, depth_m: float, width: int, height: int
    ) -> npt.NDArray[np.float64]:
        """The world point (3) seen at this continuous pixel position and z-depth."""
        focal = self.focal_px(width)
        inside = np.array([(x_px - width / 2) / focal, (y_px - height / 2) / focal, 1.0])
        return self.position.astype(np.float64) + depth_m * (inside @ self.axes.astype(np.float64))

    def project(self, points: npt.ArrayLike, width: int, height: int) -> npt.NDArray[np.float64]:
        """Continuous pixel position and z-depth (N, 3) of world points (N, 3); the position means
        nothing where z <= 0.
        """
        seen = (np.asarray(points, np.float64) - self.position) @ self.axes.T.astype(np.float64)
        scale = self.focal_px(width) / np.where(np.abs(seen[:, 2]) < 1e-9, 1e-9, seen[:, 2])
        return np.stack(
            [seen[:, 0] * scale + width / 2, seen[:, 1] * scale + height / 2, seen[:, 2]], axis=1
        )

    def rect(self, corners: npt.ArrayLike, width: int, height: int) -> Rect:
        """Pixels that the convex hull of `corners` (N, 3) can touch: the whole picture if the hull
        reaches the camera plane.
        """
        seen = self.project(corners, width, height)
        if (seen[:, 2] <= _NEAR_M).all():
            return Rect(0, 0, 0, 0)
        if (seen[:, 2] <= _NEAR_M).any():
            return Rect(0, 0, width, height)
        low, high = np.floor(seen.min(axis=0)), np.ceil(seen.max(axis=0))
        x0, x1 = (int(np.clip(value, 0, width)) for value in (low[0], high[0]))
        y0, y1 = (int(np.clip(value, 0, height)) for value in (low[1], high[1]))
        return Rect(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else Rect(0, 0, 0, 0)


def look(
    position: npt.ArrayLike, target: npt.ArrayLike, *, roll_deg: float = 0.0, hfov_deg: float = 60.0
) -> Camera:
    """A camera at `position` (3) that looks at `target` (3), turned about its axis by
    `roll_deg`.
    """
    start = np.asarray(position, np.float64)
    forward = np.asarray(target, np.float64) - start
    forward /= np.linalg.norm(forward)
    right = cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = cross(forward, right)
    turn = np.radians(roll_deg)
    axes = np.stack(
        [
            right * np.cos(turn) + down * np.sin(turn),
            down * np.cos(turn) - right * np.sin(turn),
            forward,
        ]
    )
    return Camera(start.astype(np.float32), axes.astype(np.float32), hfov_deg)
