"""Things that only furnish: posters and doors on walls, cabinets, columns, beams, stray blocks.

They carry no name and belong to the structure. They never cover an object. Leaves out what objects
stand on.
"""

import numpy as np

from pearl_data.rendering.materials import Painter
from pearl_data.rendering.placement import Layout
from pearl_data.rendering.scene import Part
from pearl_data.rendering.shapes import build, upright_axes
from pearl_data.rendering.solids import Frustum, Solid, box
from pearl_data.rendering.vocabulary import SHAPES


def furnish(
    rng: np.random.Generator, layout: Layout, painter: Painter, *, wild: bool
) -> list[Part]:
    """Structure parts that fit into the layout without covering its objects."""
    room = layout.place.setting == "room"
    wishes: list[tuple[Solid, str]] = []
    if room:
        wishes += [_poster(rng, layout) for _ in range(int(rng.integers(0, 5)))]
        wishes += [_cabinet(rng, layout) for _ in range(int(rng.integers(0, 4)))]
        if rng.random() < 0.3:
            wishes.append(_column(rng, layout))
    wishes += [
        _clutter(rng, layout, wild=wild)
        for _ in range(int(rng.integers(0, 7 if wild or not room else 3)))
    ]
    parts = []
    for solid, kind in wishes:
        if _disturbs(layout, solid):
            continue
        size = float(np.ptp(solid.corners, axis=0).max())
        surface = painter.poster(size) if kind == "poster" else painter.furniture()
        parts.append(Part(solid=solid, surfaces=(surface,)))
    return parts


def _poster(rng: np.random.Generator, layout: Layout) -> tuple[Solid, str]:
    (x0, y0, _), (x1, y1, height) = layout.place.low, layout.place.high
    half_w, half_h = rng.uniform(0.07, 0.22) * (x1 - x0), rng.uniform(0.12, 0.36) * height
    z = rng.uniform(half_h + 0.02, height - half_h - 0.02) if rng.random() < 0.7 else half_h + 0.01
    wall = int(rng.integers(3))
    if wall == 0:
        return box(
            (rng.uniform(x0 + half_w, x1 - half_w), y1 - 0.02, z), (half_w, 0.02, half_h)
        ), "poster"
    x = x0 + 0.02 if wall == 1 else x1 - 0.02
    return box(
        (x, rng.uniform(y0 + 0.3 * (y1 - y0), y1 - half_w), z), (0.02, half_w, half_h)
    ), "poster"


def _cabinet(rng: np.random.Generator, layout: Layout) -> tuple[Solid, str]:
    (x0, y0, _), (x1, y1, height) = layout.place.low, layout.place.high
    half = np.array([rng.uniform(0.06, 0.16), rng.uniform(0.04, 0.08), 0]) * (x1 - x0)
    half[2] = rng.uniform(0.08, 0.42) * height
    wall = int(rng.integers(3))
    if wall == 0:
        return box(
            (rng.uniform(x0 + half[0], x1 - half[0]), y1 - half[1], half[2]), half
        ), "furniture"
    half[:2] = half[1::-1]
    x = x0 + half[0] if wall == 1 else x1 - half[0]
    return box((x, rng.uniform(y0 + 0.35 * (y1 - y0), y1 - half[1]), half[2]), half), "furniture"


def _column(rng: np.random.Generator, layout: Layout) -> tuple[Solid, str]:
    (x0, y0, _), (x1, y1, height) = layout.place.low, layout.place.high
    x, y = rng.uniform(x0, x1), rng.uniform(y0 + 0.35 * (y1 - y0), y1)
    wide = rng.uniform(0.015, 0.045) * (x1 - x0)
    if rng.random() < 0.5:
        return box((x, y, height / 2), (wide, wide, height / 2)), "furniture"
    return Frustum(
        np.array([x, y, 0], np.float32), np.eye(3, dtype=np.float32), height, wide, wide
    ), "furniture"


def _clutter(rng: np.random.Generator, layout: Layout, *, wild: bool) -> tuple[Solid, str]:
    place = layout.place
    depth = np.exp(rng.uniform(np.log(0.25), 0)) * place.reach_m
    spot = place.camera.at(
        rng.uniform(0, layout.width),
        rng.uniform(0.2, 1) * layout.height,
        depth,
        layout.width,
        layout.height,
    )
    x, y = (
        np.clip(spot[0], place.low[0] + 0.1, place.high[0] - 0.1),
        np.clip(spot[1], 0.1, place.high[1] - 0.1),
    )
    size = depth * rng.uniform(0.05, 0.3)
    # In a clean scene clutter is flat or long boxes only: nothing that a shape word could mean.
    if not wild or rng.random() < 0.6:
        half = size * rng.permutation([rng.uniform(0.1, 0.22), rng.uniform(0.35, 0.7), 0.45])
        return box((x, y, half[2]), half, upright_axes(rng.uniform(0, np.pi))), "furniture"
    shape = SHAPES[int(rng.integers(len(SHAPES)))]
    return build(shape, (x, y, size / 2), size, float(rng.uniform(0, np.pi))), "furniture"


def _disturbs(layout: Layout, solid: Solid) -> bool:
    camera, width, height = layout.place.camera, layout.width, layout.height
    low, high = solid.corners.min(axis=0), solid.corners.max(axis=0)
    near = np.maximum(np.abs(camera.position - (low + high) / 2) - (high - low) / 2, 0)
    if float(np.hypot(near[0], near[1])) < 0.5:
        return True
    rect = camera.rect(solid.corners, width, height)
    if rect.area > 0.3 * width * height:
        return True
    depth = float(camera.project(solid.corners, width, height)[:, 2].min())
    for item in layout.placed:
        reach = np.array([item.radius_m, item.radius_m, item.size_m / 2])
        if ((low < item.centre + reach) & (high > item.centre - reach)).all():
            return True
        if depth < item.depth_m + item.radius_m and rect.overlap(item.rect) > 0.08 * item.rect.area:
            return True
        for support in item.supports:
            first, last = support.corners.min(axis=0), support.corners.max(axis=0)
            if ((low < last) & (high > first)).all():
                return True
    return False
