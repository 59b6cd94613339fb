"""Where the objects go, and what holds them up.

Pixel position, depth and height *in the picture* are drawn independently of one another, so that
neither "bigger" nor "more central" tells which object is nearer; an object then gets whatever
support its position needs: floor, pedestal, table, pole, shelf, bracket or a rod from the ceiling.
Supports, contact, shadow, occlusion and perspective still tell. Leaves out decoration (`decor.py`)
and colours (`materials.py`).
"""

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from pearl_data.rendering.brief import ObjectBrief
from pearl_data.rendering.camera import Rect
from pearl_data.rendering.kit import Kit
from pearl_data.rendering.place import Place
from pearl_data.rendering.shapes import FOOTPRINT, upright_axes
from pearl_data.rendering.solids import Frustum, Solid, box
from pearl_data.rendering.vocabulary import Shape

SIZE_FRAC: Final = (0.07, 0.27)
"""Height of an object in fractions of the picture's height, drawn evenly on a logarithmic scale."""
LABELLED_SIZE_FRAC: Final = (0.15, 0.32)
_MAX_COVERED: Final = 0.35
_MAX_LABELLED_COVERED: Final = 0.04

Support = Literal["floor", "stand", "hang", "wall"]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """One object's place.

    Attributes:
        shape: its shape word.
        centre, size_m, yaw_rad: pose, metres and radians.
        depth_m: z-depth of the middle.
        rect: pixels of its bounding box.
        supports: solids that hold it.
        support_rects: their pixels.
        labelled: nothing may cover its middle.

    """

    shape: Shape
    centre: Vector
    size_m: float
    yaw_rad: float
    depth_m: float
    rect: Rect
    supports: tuple[Solid, ...]
    support_rects: tuple[Rect, ...]
    labelled: bool

    @property
    def radius_m(self) -> float:
        """Radius of the upright cylinder round it."""
        return FOOTPRINT[self.shape] * self.size_m


@dataclass(kw_only=True)
class Layout:
    """The objects placed so far in one place, for a picture of `width` x `height` pixels."""

    place: Place
    kit: Kit
    width: int
    height: int
    placed: list[Placed] = field(default_factory=list)

    def covered_too_much(self, rect: Rect, depth_m: float, *, of: Placed) -> bool:
        """Whether something at `rect` and `depth_m` would hide too much of an object."""
        if depth_m >= of.depth_m or not of.rect.area:
            return False
        allowed = _MAX_LABELLED_COVERED if of.labelled else _MAX_COVERED
        return rect.overlap(of.rect) > allowed * of.rect.area


def try_place(
    rng: np.random.Generator,
    layout: Layout,
    wish: ObjectBrief,
    shape: Shape,
    *,
    depth_range: tuple[float, float] | None = None,
    tries: int = 60,
) -> Placed | None:
    """A place for one more object, or None after `tries` candidates.

    Args:
        rng: the scene's generator.
        layout: what is there already; not changed.
        wish: region, size and label asked for.
        shape: its shape word.
        depth_range: allowed z-depth of its middle, metres.
        tries: candidates to draw.

    """
    for _ in range(tries):
        candidate = _candidate(rng, layout, wish, shape, depth_range)
        if candidate is not None and _fits(layout, candidate):
            return candidate
    return None


def _candidate(
    rng: np.random.Generator,
    layout: Layout,
    wish: ObjectBrief,
    shape: Shape,
    depth_range: tuple[float, float] | None,
) -> Placed | None:
    place, width, height = layout.place, layout.width, layout.height
    camera = place.camera
    x0, y0, x1, y1 = wish.region or (0.06, 0.08, 0.94, 0.92)
    x, y = rng.uniform(x0, x1) * width, rng.uniform(y0, y1) * height
    near, far = max(0.8, 0.1 * place.reach_m), 0.95 * place.reach_m
    depth = float(np.exp(rng.uniform(np.log(near), np.log(far))))
    if depth_range is not None and not depth_range[0] <= depth <= depth_range[1]:
        low, high = max(near, depth_range[0]), min(far, depth_range[1])
        if low >= high:
            return None
        depth = float(rng.uniform(low, high))
    labelled = bool(wish.label)
    low, high = wish.size_frac or (LABELLED_SIZE_FRAC if labelled else SIZE_FRAC)
    size_frac = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    size = size_frac * height * depth / camera.focal_px(width)
    centre = camera.at(x, y, depth, width, height)
    yaw = float(rng.uniform(0, 2 * np.pi))
    kinds: tuple[Support, ...] = (
        ("floor", "stand", "hang", "wall") if place.setting == "room" else ("floor", "stand")
    )
    shares = (0.34, 0.28, 0.2, 0.18) if place.setting == "room" else (0.45, 0.55)
    kind = kinds[int(rng.choice(len(kinds), p=shares))]
    half = size / 2
    if kind == "floor":
        landed = _land(layout, x, depth, half)
        if landed is None or not y0 * height <= landed[1] <= y1 * height:
            return None
        centre = landed[0]
    radius = FOOTPRINT[shape] * size
    if not _inside(place, centre, radius, half):
        return None
    bottom = float(centre[2]) - half
    if kind == "stand" and bottom < 0.08:
        return None
    if kind == "stand":
        below = bottom > place.camera.position[2]
        supports = _stand(rng, layout.kit, centre, radius, bottom, yaw, seen_from_below=below)
    elif kind == "hang":
        supports = _rod(layout.kit, centre, place.high[2])
    elif kind == "wall":
        found = _bracket(rng, layout.kit, place, centre, radius, bottom, size)
        if found is None:
            return None
        supports = found
    else:
        supports = ()
    rect = camera.rect(_hull(centre, radius, half), width, height)
    if rect.area < 0.3 * (size_frac * height) ** 2 * 0.6:
        return None
    rects = tuple(camera.rect(solid.corners, width, height) for solid in supports)
    return Placed(
        shape=shape,
        centre=centre,
        size_m=size,
        yaw_rad=yaw,
        depth_m=depth,
        rect=rect,
        supports=supports,
        support_rects=rects,
        labelled=labelled,
    )


def _land(layout: Layout, x: float, depth: float, half: float) -> tuple[Vector, float] | None:
    """The point in this pixel column and at this depth that stands on the floor, and its pixel
    row.
    """
    camera, width, height = layout.place.camera, layout.width, layout.height
    top = camera.at(x, 0.0, depth, width, height)
    bottom = camera.at(x, float(height), depth, width, height)
    fall = top[2] - bottom[2]
    if fall < 1e-6:
        return None
    share = (top[2] - half) / fall
    return top + (bottom - top) * share, float(share * height)


def _inside(place: Place, centre: Vector, radius: float, half: float) -> bool:
    low, high = place.low, place.high
    across = all(low[i] + radius <= centre[i] <= high[i] - radius for i in (0, 1))
    clear = float(np.hypot(*(centre[:2] - place.camera.position[:2]))) > radius + 0.25
    return across and clear and half - 1e-3 <= centre[2] <= high[2] - half - 0.05


def _hull(centre: Vector, radius: float, half: float) -> Vector:
    reach = np.array([radius * 0.9, radius * 0.9, half])
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners: Vector = centre + signs * reach
    return corners


def _stand(
    rng: np.random.Generator,
    kit: Kit,
    centre: Vector,
    radius: float,
    top: float,
    yaw: float,
    *,
    seen_from_below: bool,
) -> tuple[Solid, ...]:
    """A pedestal, a table or a pole with a plate, from the floor up to `top`.

    A table top above the eye would hide what stands on it, so only slim stands go up there.
    """
    draw = rng.uniform(0.7, 1.0) if seen_from_below else rng.random()
    x, y = float(centre[0]), float(centre[1])
    upright = np.eye(3, dtype=np.float32)
    board = min(kit.board_m, top / 4)
    if draw < 0.35:
        if rng.random() < 0.5:
            wide = radius * rng.uniform(0.75, 1.25)
            return (box((x, y, top / 2), (wide, wide, top / 2), upright_axes(yaw)),)
        wide = radius * rng.uniform(0.8, 1.3)
        return (Frustum(_f32((x, y, 0)), upright, top, wide * rng.uniform(0.8, 1.3), wide),)
    if draw < 0.7:
        leg = kit.leg_m
        half_x = max(radius * rng.uniform(1.1, 2.6), 3 * leg)
        half_y = max(radius * rng.uniform(1.1, 2.0), 3 * leg)
        axes = upright_axes(float(rng.choice([0.0, yaw])))
        under = (top - board) / 2
        solids: list[Solid] = [box((x, y, top - board), (half_x, half_y, board), axes)]
        for sx in (-1, 1):
            for sy in (-1, 1):
                at = np.array([sx * (half_x - leg), sy * (half_y - leg), 0]) @ axes
                solids.append(box((x + at[0], y + at[1], under), (leg, leg, under), axes))
        return tuple(solids)
    plate_m = max(0.7 * radius, 1.2 * kit.pole_m)
    plate = Frustum(_f32((x, y, top - board)), upright, board, plate_m, plate_m)
    pole = Frustum(_f32((x, y, 0)), upright, top - board, kit.pole_m, kit.pole_m)
    foot = Frustum(_f32((x, y, 0)), upright, board, kit.foot_m, kit.foot_m)
    return (plate, pole, foot)


def _rod(kit: Kit, centre: Vector, ceiling: float) -> tuple[Solid, ...]:
    """A rod from the ceiling into the object, whatever its shape, and the rose it hangs from."""
    bottom = float(centre[2])
    upright, thin = np.eye(3, dtype=np.float32), kit.rod_m
    rod = Frustum(_f32((centre[0], centre[1], bottom)), upright, ceiling - bottom, thin, thin)
    rose = Frustum(_f32((centre[0], centre[1], ceiling - 0.04)), upright, 0.04, 4 * thin, 4 * thin)
    return (rod, rose)


def _bracket(
    rng: np.random.Generator,
    kit: Kit,
    place: Place,
    centre: Vector,
    radius: float,
    bottom: float,
    size: float,
) -> tuple[Solid, ...] | None:
    """An arm or a shelf from the nearest side or back wall; None if the wall is too far."""
    x, y, z = (float(value) for value in centre)
    gaps = {(-1, 0): x - place.low[0], (1, 0): place.high[0] - x, (0, 1): place.high[1] - y}
    (dx, dy), gap = min(gaps.items(), key=lambda item: item[1])
    if gap > max(2.2 * size, 0.22 * place.reach_m) + radius:
        return None
    if rng.random() < 0.45:
        deep, wide = (gap + radius) / 2, radius * rng.uniform(1.1, 2.2)
        middle = (x + dx * (gap - deep), y + dy * (gap - deep), bottom - kit.board_m)
        half = (deep, wide, kit.board_m) if dx else (wide, deep, kit.board_m)
        return (box(middle, half),)
    arm = kit.arm_m
    middle = (x + dx * gap / 2, y + dy * gap / 2, z)
    half = (gap / 2, arm, arm) if dx else (arm, gap / 2, arm)
    plate = (x + dx * (gap - 0.015), y + dy * (gap - 0.015), z)
    plate_half = (0.015, 4 * arm, 4 * arm) if dx else (4 * arm, 0.015, 4 * arm)
    return (box(middle, half), box(plate, plate_half))


def _fits(layout: Layout, candidate: Placed) -> bool:
    for other in layout.placed:
        apart = candidate.centre - other.centre
        flat = float(np.hypot(apart[0], apart[1]))
        reach = candidate.radius_m + other.radius_m
        tall = (candidate.size_m + other.size_m) / 2
        if flat < reach * 1.05 and abs(float(apart[2])) < tall * 1.1:
            return False
        # One below the other: its stand or rod would run through the other.
        if flat < reach * 1.4 and (candidate.supports or other.supports):
            return False
        pairs = ((candidate, other), (other, candidate))
        for front, back in pairs:
            if any(
                layout.covered_too_much(rect, front.depth_m, of=back)
                for rect in (front.rect, *front.support_rects)
            ):
                return False
    return True


def _f32(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)
