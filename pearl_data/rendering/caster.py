"""Which part every pixel sees, and how far away it is: primary rays and shadow rays.

Each solid is tried only inside its projected rectangle, and each shadow ray only against solids
whose bounding sphere it passes. Leaves out colours (`shading.py`).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pearl_data.rendering.camera import Rect
from pearl_data.rendering.scene import Light, Part, Scene
from pearl_data.rendering.solids import Bools, Floats

_NEAR_M = np.float32(0.05)


@dataclass(frozen=True, eq=False)
class Hits:
    """What the primary rays hit.

    Attributes:
        rays: (3, H, W) world directions, length one along the optical axis.
        depth_m: (H, W) z-depth, metres.
        part: (H, W) index into `scene.parts`.
        rects: per part, the pixels its projection can touch.
        full_px: per object id, pixels that its parts would cover with nothing in front.
        plate_px: per object id, pixels that its label plate would cover with nothing in front.

    """

    rays: Floats
    depth_m: Floats
    part: npt.NDArray[np.int16]
    rects: tuple[Rect, ...]
    full_px: dict[int, int]
    plate_px: dict[int, int]


def cast(scene: Scene, width: int, height: int) -> Hits:
    """Send one ray through the middle of every pixel of a `width` x `height` picture."""
    camera = scene.camera
    rays = camera.rays(width, height)
    depth = np.full((height, width), np.inf, np.float32)
    part_map = np.zeros((height, width), np.int16)
    alone: dict[int, Bools] = {}
    plate_px: dict[int, int] = {}
    rects = []
    origin = camera.position[:, None, None]
    for index, part in enumerate(scene.parts):
        rect = (
            Rect(0, 0, width, height)
            if part.shell
            else camera.rect(part.solid.corners, width, height)
        )
        rects.append(rect)
        if not rect.area:
            continue
        window = np.s_[rect.y0 : rect.y1, rect.x0 : rect.x1]
        enter, leave = part.solid.span(origin, rays[:, *window])
        if part.shell:
            hit, distance = leave > _NEAR_M, leave
        else:
            hit, distance = (enter <= leave) & (enter > _NEAR_M), enter
        if part.owner:
            shape = alone.setdefault(part.owner, np.zeros((height, width), np.bool_))
            shape[window] |= hit
            if part.plate:
                plate_px[part.owner] = plate_px.get(part.owner, 0) + int(hit.sum())
        nearer = hit & (distance < depth[window])
        depth[window] = np.where(nearer, distance, depth[window])
        part_map[window] = np.where(nearer, np.int16(index), part_map[window])
    full_px = {owner: int(shape.sum()) for owner, shape in alone.items()}
    return Hits(rays, depth, part_map, tuple(rects), full_px, plate_px)


def lit(
    scene: Scene, light: Light, points: Floats, facing: Bools, own_part: npt.NDArray[np.int16]
) -> Bools:
    """Which points see the light.

    Args:
        scene: whose parts may stand in the way.
        light: where the rays go.
        points: (3, N) surface points, metres.
        facing: (N) whether the surface is turned to the light; other points are left False.
        own_part: (N) index of the part each point lies on; a convex part never shadows itself.

    Returns:
        (N) True where nothing stands between the point and the light.

    """
    result = facing.copy()
    candidates = np.flatnonzero(facing)
    place = np.asarray(light.place, np.float32)[:, None]
    for index, part in enumerate(scene.parts):
        if part.shell or part.plate:
            continue
        chosen = candidates[_may_shadow(part, light, points, candidates)]
        chosen = chosen[result[chosen] & (own_part[chosen] != index)]
        if not chosen.size:
            continue
        origin = points[:, chosen]
        direction = np.broadcast_to(place, origin.shape) if light.distant else place - origin
        enter, leave = part.solid.span(origin, direction)
        reach = np.float32(np.inf if light.distant else 1.0)
        blocked = (enter <= leave) & (leave > np.float32(1e-3)) & (enter < reach)
        result[chosen[blocked]] = False
    return result


def _may_shadow(
    part: Part, light: Light, points: Floats, candidates: npt.NDArray[np.intp]
) -> Bools:
    """(len(candidates)) whether the ray to the light passes the part's bounding sphere; never
    wrongly False.
    """
    corners = part.solid.corners
    centre = corners.mean(axis=0)
    radius2 = np.float32(1.02 * float(((corners - centre) ** 2).sum(axis=1).max()) + 1e-4)
    passes: Bools
    px, py, pz = (points[i, candidates] for i in range(3))
    cx, cy, cz = centre[0] - px, centre[1] - py, centre[2] - pz
    gap2 = cx * cx + cy * cy + cz * cz
    if light.distant:
        lx, ly, lz = (np.float32(value) for value in light.place)
        along = cx * lx + cy * ly + cz * lz
        passes = (gap2 - along * along < radius2) & (along > -np.sqrt(radius2))
        return passes
    lx, ly, lz = (np.float32(light.place[i]) - p for i, p in enumerate((px, py, pz)))
    along = cx * lx + cy * ly + cz * lz
    length2 = lx * lx + ly * ly + lz * lz
    beside: Bools = (gap2 * length2 - along * along) < radius2 * length2
    passes = beside & ((along > 0) | (gap2 < radius2))
    return passes
