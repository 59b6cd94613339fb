"""Analytic convex solids: where a ray enters and leaves one, and the normal and texture position of
a surface point.

Three solids cover the whole renderer: `Convex` (an intersection of half-spaces), `Ellipsoid` and
`Frustum` (a capped cylinder or cone). World axes: x right, y away, z up; metres. Arrays of rays
keep the coordinate axis first, so every step is one elementwise numpy operation; products of
matrices are avoided because BLAS may round differently from one number of threads to another, and
the same scene must give the same bytes. Leaves out materials, cameras and visibility.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Vector = Sequence[float] | npt.NDArray[Any]


_TINY: Final = np.float32(1e-12)
_MISS_IN: Final = np.float32(np.inf)
_MISS_OUT: Final = np.float32(-np.inf)


class Solid(Protocol):
    """A closed convex body in world space."""

    @property
    def corners(self) -> Floats:
        """(M, 3) points whose convex hull contains the solid, metres."""
        ...

    def span(self, origin: Floats, direction: Floats) -> tuple[Floats, Floats]:
        """Ray parameters at which rays enter and leave.

        Args:
            origin: (3, ...) start points, broadcastable against `direction`.
            direction: (3, ...) directions, any length above zero.

        Returns:
            (enter, leave), each of the broadcast shape without its first axis; enter > leave where
            the line misses.

        """
        ...

    def surface(self, points: Floats) -> tuple[Floats, Floats, npt.NDArray[np.int8]]:
        """Outward unit normals (3, N), texture positions in metres (2, N) and face numbers (N) of
        surface points (3, N).
        """
        ...


def dot(coefficients: npt.ArrayLike, vectors: Floats) -> Floats:
    """Scalar product of one 3-vector with (3, ...) vectors, skipping exact zeros (axis-aligned
    faces are the common case).
    """
    total: Floats | None = None
    for coefficient, component in zip(
        np.asarray(coefficients, dtype=np.float32), vectors, strict=True
    ):
        if coefficient != 0:
            term = component * coefficient
            total = term if total is None else total + term
    return np.zeros(vectors.shape[1:], np.float32) if total is None else total


def cross(first: Vector, second: Vector) -> npt.NDArray[np.float64]:
    """Vector product of two 3-vectors; numpy's own takes forty times as long for one pair."""
    (a, b, c), (x, y, z) = first, second
    return np.array([b * z - c * y, c * x - a * z, a * y - b * x], np.float64)


def unit(vector: npt.ArrayLike) -> Floats:
    """The float32 vector of length one in the direction of `vector`."""
    value = np.asarray(vector, dtype=np.float64)
    result: Floats = (value / np.linalg.norm(value)).astype(np.float32)
    return result


@dataclass(frozen=True, eq=False)
class Convex:
    """The points x with `normals @ x <= offsets`; `corners` are its vertices."""

    normals: Floats
    offsets: Floats
    corners: Floats

    def span(self, origin: Floats, direction: Floats) -> tuple[Floats, Floats]:
        """See `Solid.span`."""
        enter: Floats | None = None
        leave: Floats | None = None
        for normal, offset in zip(self.normals, self.offsets, strict=True):
            along = dot(normal, direction)
            along = np.where(np.abs(along) < _TINY, _TINY, along)
            crossing = (offset - dot(normal, origin)) / along
            inward = along < 0
            entering = np.where(inward, crossing, _MISS_OUT)
            leaving = np.where(inward, _MISS_IN, crossing)
            enter = entering if enter is None else np.maximum(enter, entering)
            leave = leaving if leave is None else np.minimum(leave, leaving)
        assert enter is not None  # a solid has at least four faces
        assert leave is not None
        return enter, leave

    def surface(self, points: Floats) -> tuple[Floats, Floats, npt.NDArray[np.int8]]:
        """See `Solid.surface`; a texture position is measured in the face, from the middle of the
        solid, right and down.
        """
        face = np.zeros(points.shape[1], np.int8)
        nearest = np.full(points.shape[1], np.inf, np.float32)
        for index, (normal, offset) in enumerate(zip(self.normals, self.offsets, strict=True)):
            gap = np.abs(dot(normal, points) - offset)
            closer = gap < nearest
            nearest = np.where(closer, gap, nearest)
            face[closer] = index
        normals = np.ascontiguousarray(self.normals[face].T)
        uv_m = np.empty((2, points.shape[1]), np.float32)
        middle = self.corners.mean(axis=0)
        for index, normal in enumerate(self.normals):
            chosen = np.flatnonzero(face == index)
            if chosen.size:
                right, down = face_axes(normal)
                part = points[:, chosen]
                uv_m[0, chosen] = dot(right, part) - np.float32(right @ middle)
                uv_m[1, chosen] = dot(down, part) - np.float32(down @ middle)
        return normals, uv_m, face


def face_axes(normal: Floats) -> tuple[Floats, Floats]:
    """Unit vectors to the right and down for somebody who looks straight at a face with this
    outward normal.
    """
    up = np.array([0.0, 1.0, 0.0]) if abs(normal[2]) > 0.95 else np.array([0.0, 0.0, 1.0])
    right = unit(cross(up, normal))
    return right, unit(-cross(normal, right))


def convex_from_faces(corners: npt.ArrayLike, faces: tuple[tuple[int, ...], ...]) -> Convex:
    """The convex polytope with these vertices (M, 3) and faces given by three or more vertex
    numbers each, in any winding.
    """
    points = np.asarray(corners, dtype=np.float64)
    middle = points.mean(axis=0)
    normals, offsets = [], []
    for face in faces:
        first, second, third = (points[index] for index in face[:3])
        normal = cross(second - first, third - first)
        normal /= np.sqrt(normal @ normal)
        if normal @ (middle - first) > 0:
            normal = -normal
        normal[np.abs(normal) < 1e-9] = 0.0
        normals.append(normal)
        offsets.append(normal @ first)
    return Convex(
        np.array(normals, np.float32), np.array(offsets, np.float32), points.astype(np.float32)
    )


def box(centre: npt.ArrayLike, half_m: npt.ArrayLike, axes: npt.ArrayLike | None = None) -> Convex:
    """A box with half-edges `half_m` (3) along `axes` (rows, orthonormal; world axes by default).

    Faces come in the order -x, +x, -y, +y, -z, +z of its own axes.
    """
    rows = np.eye(3) if axes is None else np.asarray(axes, dtype=np.float64)
    half, middle = np.asarray(half_m, np.float64), np.asarray(centre, np.float64)
    normals = np.repeat(rows, 2, axis=0) * np.tile([-1.0, 1.0], 3)[:, None]
    offsets = normals @ middle + np.repeat(half, 2)
    return Convex(
        normals.astype(np.float32), offsets.astype(np.float32), box_corners(middle, half, rows)
    )


_SIGNS: Final = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)


def box_corners(centre: npt.ArrayLike, half_m: npt.ArrayLike, axes: npt.ArrayLike) -> Floats:
    """The eight corners (8, 3) of a box given as for `box`."""
    corners = np.asarray(centre, np.float64) + (_SIGNS * np.asarray(half_m)) @ np.asarray(axes)
    result: Floats = corners.astype(np.float32)
    return result


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid with semi-axes `radii` (3) along the rows of `axes`."""

    centre: Floats
    radii: Floats
    axes: Floats

    @property
    def corners(self) -> Floats:
        """The eight corners of the oriented bounding box."""
        return box_corners(self.centre, self.radii, self.axes)

    def span(self, origin: Floats, direction: Floats) -> tuple[Floats, Floats]:
        """See `Solid.span`. Measured from the closest approach, which keeps float32 accurate for
        small, distant solids.
        """
        start = [
            (dot(axis, origin) - np.float32(axis @ self.centre)) / radius
            for axis, radius in self._frame()
        ]
        heading = [dot(axis, direction) / radius for axis, radius in self._frame()]
        length2 = heading[0] ** 2 + heading[1] ** 2 + heading[2] ** 2
        closest = -(start[0] * heading[0] + start[1] * heading[1] + start[2] * heading[2]) / length2
        depth2 = 1 - sum((s + closest * h) ** 2 for s, h in zip(start, heading, strict=True))
        half = np.sqrt(np.maximum(depth2, 0) / length2)
        missed = depth2 <= 0
        return np.where(missed, _MISS_IN, closest - half), np.where(
            missed, _MISS_OUT, closest + half
        )

    def surface(self, points: Floats) -> tuple[Floats, Floats, npt.NDArray[np.int8]]:
        """See `Solid.surface`; the texture runs round the third axis and along it."""
        local = [
            (dot(axis, points) - np.float32(axis @ self.centre)) / radius
            for axis, radius in self._frame()
        ]
        normals = np.zeros_like(points)
        for value, (axis, radius) in zip(local, self._frame(), strict=True):
            normals += (value / radius) * axis[:, None]
        normals /= np.sqrt((normals**2).sum(axis=0))
        around = np.arctan2(local[1], local[0]) * self.radii[0]
        along = np.arcsin(np.clip(local[2], -1, 1)) * self.radii[2]
        return normals, np.stack([around, -along]), np.zeros(points.shape[1], np.int8)

    def _frame(self) -> list[tuple[Floats, np.float32]]:
        return list(zip(self.axes, self.radii, strict=True))


@dataclass(frozen=True, eq=False)
class Frustum:
    """A capped cylinder (`bottom_m` = `top_m`) or cone (`top_m` = 0): radii at `base` and at `base
    + height_m * axes[2]`.
    """

    base: Floats
    axes: Floats
    height_m: float
    bottom_m: float
    top_m: float

    @property
    def corners(self) -> Floats:
        """The eight corners of the oriented bounding box."""
        widest = max(self.bottom_m, self.top_m)
        middle = self.base + self.axes[2] * np.float32(self.height_m / 2)
        return box_corners(middle, (widest, widest, self.height_m / 2), self.axes)

    @property
    def _slope(self) -> np.float32:
        return np.float32((self.top_m - self.bottom_m) / self.height_m)

    def span(self, origin: Floats, direction: Floats) -> tuple[Floats, Floats]:
        """See `Solid.span`: the part of the line between the caps that is also inside the (double)
        cone.
        """
        ox, oy, oz = (dot(axis, origin) - np.float32(axis @ self.base) for axis in self.axes)
        dx, dy, dz = (dot(axis, direction) for axis in self.axes)
        dz = np.where(np.abs(dz) < _TINY, _TINY, dz)
        to_bottom, to_top = -oz / dz, (np.float32(self.height_m) - oz) / dz
        enter, leave = np.minimum(to_bottom, to_top), np.maximum(to_bottom, to_top)
        slope = self._slope
        radius, growth = np.float32(self.bottom_m) + slope * oz, slope * dz
        a = dx * dx + dy * dy - growth * growth
        a = np.where(np.abs(a) < _TINY, _TINY, a)
        # Measured from the closest approach to the axis, for the same reason as in
        # `Ellipsoid.span`.
        shift = -(ox * dx + oy * dy - radius * growth) / a
        qx, qy, qr = ox + shift * dx, oy + shift * dy, radius + shift * growth
        c = qx * qx + qy * qy - qr * qr
        root2 = -c / a
        half = np.sqrt(np.maximum(root2, 0))
        first, second = shift - half, shift + half
        steep = (
            a < 0
        )  # the line lies inside one nappe at each end: keep the end where the radius is positive
        grows = growth > 0
        side_enter = np.where(steep, np.where(grows, second, _MISS_OUT), first)
        side_leave = np.where(steep, np.where(grows, _MISS_IN, first), second)
        missed = ~steep & (root2 <= 0)
        enter, leave = np.maximum(enter, side_enter), np.minimum(leave, side_leave)
        return np.where(missed, _MISS_IN, enter), np.where(missed, _MISS_OUT, leave)

    def surface(self, points: Floats) -> tuple[Floats, Floats, npt.NDArray[np.int8]]:
        """See `Solid.surface`; faces: 0 side, 1 bottom, 2 top."""
        x, y, z = (dot(axis, points) - np.float32(axis @ self.base) for axis in self.axes)
        radius = np.maximum(np.hypot(x, y), np.float32(1e-6))
        expected = np.maximum(np.float32(self.bottom_m) + self._slope * z, 0)
        off_side = np.abs(radius - expected)
        off_bottom, off_top = np.abs(z), np.abs(z - np.float32(self.height_m))
        face = np.zeros(points.shape[1], np.int8)
        face[(off_bottom < off_side) & (off_bottom <= off_top)] = 1
        face[(off_top < off_side) & (off_top < off_bottom)] = 2
        length = np.float32(1 / np.sqrt(1 + float(self._slope) ** 2))
        side = face == 0
        nx, ny = np.where(side, x / radius * length, 0), np.where(side, y / radius * length, 0)
        nz = np.where(
            side, -self._slope * length, np.where(face == 1, np.float32(-1), np.float32(1))
        )
        normals = (
            nx * self.axes[0][:, None] + ny * self.axes[1][:, None] + nz * self.axes[2][:, None]
        )
        widest = np.float32(max(self.bottom_m, self.top_m))
        u = np.where(side, np.arctan2(y, x) * widest, x)
        v = np.where(side, -z, y)
        return normals.astype(np.float32), np.stack([u, v]).astype(np.float32), face
