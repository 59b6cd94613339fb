"""The solid behind each shape word, and the label plate fixed to it.

Leaves out where an object goes (`placement.py`) and what it is painted with (`materials.py`).
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from pearl_data.rendering.camera import Camera
from pearl_data.rendering.solids import (
    Convex,
    Ellipsoid,
    Frustum,
    Solid,
    box,
    convex_from_faces,
    cross,
    unit,
)
from pearl_data.rendering.vocabulary import Shape

FOOTPRINT: Final[dict[Shape, float]] = {
    "cube": 0.71,
    "ball": 0.50,
    "cylinder": 0.40,
    "cone": 0.46,
    "pyramid": 0.66,
    "egg": 0.38,
    "wedge": 0.75,
}
"""Radius of the upright cylinder round each shape, in heights of the shape."""


def upright_axes(yaw_rad: float) -> npt.NDArray[np.float64]:
    """Rows of a frame turned about the vertical."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])


def build(shape: Shape, centre: npt.ArrayLike, size_m: float, yaw_rad: float) -> Solid:
    """The solid of height `size_m` whose bounding box has its middle at `centre` (3), metres,
    standing upright.
    """
    middle = np.asarray(centre, np.float64)
    axes = upright_axes(yaw_rad)
    half = size_m / 2
    base = (middle - [0, 0, half]).astype(np.float32)
    rows = axes.astype(np.float32)
    if shape == "cube":
        return box(middle, (half, half, half), axes)
    if shape == "ball":
        return Ellipsoid(middle.astype(np.float32), np.full(3, half, np.float32), rows)
    if shape == "egg":
        radii = np.array([0.37 * size_m, 0.37 * size_m, half], np.float32)
        return Ellipsoid(middle.astype(np.float32), radii, rows)
    if shape == "cylinder":
        return Frustum(base, rows, size_m, 0.39 * size_m, 0.39 * size_m)
    if shape == "cone":
        return Frustum(base, rows, size_m, 0.45 * size_m, 0.0)
    if shape == "pyramid":
        w = 0.46 * size_m
        local = [[-w, -w, -half], [w, -w, -half], [w, w, -half], [-w, w, -half], [0, 0, half]]
        return convex_from_faces(
            middle + np.array(local) @ axes,
            ((0, 1, 2, 3), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)),
        )
    w, d = 0.62 * size_m, 0.42 * size_m
    local = [
        [-w, -d, -half],
        [w, -d, -half],
        [w, d, -half],
        [-w, d, -half],
        [-w, -d, half],
        [-w, d, half],
    ]
    return convex_from_faces(
        middle + np.array(local) @ axes,
        ((0, 1, 2, 3), (0, 3, 5, 4), (0, 1, 4), (3, 2, 5), (1, 2, 5, 4)),
    )


_LABEL_HEIGHT: Final[dict[Shape, float]] = {"cone": -0.22, "pyramid": -0.22, "wedge": -0.2}


def label_plate(
    solid: Solid, shape: Shape, centre: npt.ArrayLike, size_m: float, edge_m: float, camera: Camera
) -> Convex:
    """A thin square plate with edge `edge_m` that faces the camera and touches the object at its
    nearest point.

    It sits in the middle of the object, or lower on shapes that narrow towards the top.
    """
    lift = np.array([0, 0, _LABEL_HEIGHT.get(shape, 0.0) * size_m])
    middle = np.asarray(centre, np.float64) + lift
    eye = camera.position.astype(np.float64)
    towards = unit(eye - middle).astype(np.float64)
    right = unit(cross([0.0, 0.0, 1.0], towards)).astype(np.float64)
    up = cross(towards, right)
    half = edge_m / 2
    steps = (-1.0, -0.5, 0.0, 0.5, 1.0)
    probes = np.array([middle + half * (i * right + j * up) for i in steps for j in steps])
    directions = (probes - eye).T.astype(np.float32)
    enter, leave = solid.span(eye.astype(np.float32)[:, None], directions)
    hit = enter <= leave
    reached = (eye[:, None] + directions * np.where(hit, enter, 1)).T
    ahead = ((reached - middle) @ towards)[hit]
    thickness = 0.03 * edge_m
    front = float(ahead.max()) if ahead.size else 0.0
    return box(
        middle + towards * (front + thickness),
        (half, thickness, half),
        np.stack([right, towards, up]),
    )
