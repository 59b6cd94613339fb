"""Worlds as photographers meet them: rooms, tables, workshops, streets, meadows, from a drone.

Unlike the scenes of the data toolkit, where "lower is nearer" is made useless on purpose, things
here stand on the ground, and cameras are held where people (and drones) hold them: so the network
learns how much the position in the picture is worth, and when it is not. Leaves out the things
themselves (`things.py`) and what a lens and a file do to a picture (`augment.py`).
"""

from collections.abc import Callable, Sequence

import numpy as np
from things import (
    Maker,
    Spot,
    car,
    chair,
    contraption,
    crate,
    house,
    lamp,
    person,
    plant,
    post,
    rock,
    shelf,
    sofa,
    table,
    tree,
    trinket,
)

from pearl_data.rendering import Rendered, Scene, TextureBank, render
from pearl_data.rendering.camera import Camera, look
from pearl_data.rendering.scene import Atmosphere, Light, Part, Surface
from pearl_data.rendering.solids import box, unit

Thing = Callable[[Maker, Spot], float]

KINDS = ("room", "room", "room", "tabletop", "workshop", "street", "street", "meadow", "drone")
"""Kinds of world, one drawn per scene: indoor pictures are most common in what tools see."""

ATTEMPTS = 20


Sampler = Callable[[np.random.Generator, int, TextureBank, int, int], Scene]


def draw_world(seed: int, bank: TextureBank, width: int, height: int) -> Rendered:
    """The picture and truth of world number `seed`; tries again until something is to be seen."""
    return draw_worth_seeing(sample_world, 7, seed, bank, width, height)


def draw_worth_seeing(
    sample: Sampler, kind: int, seed: int, bank: TextureBank, width: int, height: int
) -> Rendered:
    """The picture and truth of `scene_worth_seeing`."""
    return scene_worth_seeing(sample, kind, seed, bank, width, height)[1]


def scene_worth_seeing(
    sample: Sampler, kind: int, seed: int, bank: TextureBank, width: int, height: int
) -> tuple[Scene, Rendered]:
    """The first scene of `sample` in which something is to be seen, or the last one tried; `kind`
    keeps the random numbers of different samplers apart.
    """
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng((seed, attempt, kind))
        scene = sample(rng, seed, bank, width, height)
        drawn = render(scene, bank=bank)
        if _worth_seeing(drawn):
            break
    return scene, drawn


def _worth_seeing(drawn: Rendered) -> bool:
    """No thing hides most of the view, and not all is equally far."""
    log_depth = np.log(drawn.depth_m)
    largest = np.bincount(drawn.instance.ravel())[1:].max(initial=0) / drawn.instance.size
    return bool(largest < 0.6 and log_depth.std() > 0.12 and drawn.depth_m.min() > 0.12)


def sample_world(
    rng: np.random.Generator, seed: int, bank: TextureBank, width: int, height: int
) -> Scene:
    """A world of a random kind."""
    make = Maker(rng, bank)
    kind = KINDS[int(rng.integers(len(KINDS)))]
    if kind in ("room", "tabletop", "workshop"):
        camera, low, high = _indoors(make, kind)
        lights, air = lamps(rng, low, high)
    else:
        camera, low, high = _outdoors(make, kind)
        lights, air = daylight(rng, high[1])
    structure = shell(make, low, high, outdoors=kind in ("street", "meadow", "drone"))
    return Scene(
        seed=seed,
        setting="room",
        width=width,
        height=height,
        camera=camera,
        parts=(structure, *make.parts),
        objects=(),
        lights=lights,
        atmosphere=air,
    )


def _lens(rng: np.random.Generator) -> float:
    """Horizontal field of view in degrees, from a short telephoto lens to a wide one."""
    return float(np.clip(rng.normal(58, 13), 32, 92))


def aim(rng: np.random.Generator, eye: Sequence[float], yaw: float, pitch_deg: float) -> Camera:
    """A camera at `eye` that looks along `yaw` (0: towards +y), `pitch_deg` upwards."""
    pitch = np.radians(np.clip(pitch_deg, -85, 60))
    ahead = (np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), np.sin(pitch))
    roll = float(rng.normal(0, 2.0) if rng.random() < 0.9 else rng.normal(0, 8.0))
    return look(eye, np.add(eye, ahead), roll_deg=roll, hfov_deg=_lens(rng))


def _indoors(
    make: Maker, kind: str
) -> tuple[Camera, tuple[float, float, float], tuple[float, float, float]]:
    rng = make.rng
    scale = 1.6 if kind == "workshop" else 1.0
    wide, deep = (float(rng.uniform(2.6, 7.5) * scale) for _ in range(2))
    tall = float(rng.uniform(2.3, 3.4) * scale)
    low, high = (-wide / 2, 0.0, 0.0), (wide / 2, deep, tall)
    x = rng.uniform(-0.4, 0.4) * wide
    y = rng.uniform(0.06, 0.35) * deep
    z = float(
        rng.choice(
            [rng.uniform(1.2, 1.8), rng.uniform(0.35, 1.2), rng.uniform(1.8, 2.2)],
            p=(0.6, 0.25, 0.15),
        )
    )
    # Mostly towards the far side of the room, often into a corner.
    yaw = float(np.arctan2(-x, deep / 2) + rng.normal(0, 0.55))
    pitch = rng.normal(-9, 11)
    if kind == "tabletop":
        return _tabletop(make, (x, y), yaw), low, high
    if kind == "workshop":
        centre = np.array([x, y]) + rng.uniform(1.6, 3.5) * np.array([np.sin(yaw), np.cos(yaw)])
        thing: Thing = contraption if make.chance(0.7) else (car, sofa, table)[make.count(0, 2)]
        thing(
            make, Spot(float(centre[0]), float(centre[1]), 0.0, float(rng.uniform(-0.7, 0.7) - yaw))
        )
        taken = [(*centre, 1.1)]
        pitch = rng.normal(-6, 6)
        z = float(rng.uniform(0.5, 1.7))
    else:
        taken = []
    taken.append((x, y, 0.7))
    against: tuple[Thing, ...] = (shelf, shelf, sofa, table, lamp, crate, plant)
    free: tuple[Thing, ...] = (table, chair, chair, crate, plant, lamp, person, contraption, sofa)
    for _ in range(make.count(3, 12)):
        by_wall(make, against, taken, wide, deep)
    for _ in range(make.count(1, 8)):
        spot = (rng.uniform(-0.42, 0.42) * wide, rng.uniform(0.1, 0.9) * deep)
        _place(make, free, taken, spot, float(rng.uniform(0, 2 * np.pi)))
    on_walls(make, wide, deep, tall)
    return aim(rng, (x, y, min(z, 0.9 * tall)), yaw, pitch), low, high


def _place(
    make: Maker,
    choice: Sequence[Thing],
    taken: list[tuple[float, float, float]],
    at: tuple[float, float],
    yaw: float,
    *,
    gap_m: float = 0.55,
) -> None:
    """Put a thing there unless something stands closer than `gap_m`."""
    if any(np.hypot(at[0] - x, at[1] - y) < radius + gap_m for x, y, radius in taken):
        return
    thing = choice[make.count(0, len(choice) - 1)]
    taken.append((*at, 0.6 * thing(make, Spot(*at, 0.0, yaw))))


def by_wall(
    make: Maker,
    choice: Sequence[Thing],
    taken: list[tuple[float, float, float]],
    wide: float,
    deep: float,
) -> None:
    """One of these things against a wall, its back to it."""
    wall, along = make.count(0, 3), make.rng.uniform(0.1, 0.9)
    off = make.rng.uniform(0.25, 0.5)
    # A thing's back is its +y side, so it is turned until that faces the wall.
    at, yaw = (
        (
            ((along - 0.5) * wide, deep - off, 0.0),
            (wide / 2 - off, along * deep, -np.pi / 2),
            (off - wide / 2, along * deep, np.pi / 2),
            ((along - 0.5) * wide, off, np.pi),
        )[wall][:2],
        (0.0, -np.pi / 2, np.pi / 2, np.pi)[wall],
    )
    _place(make, choice, taken, (float(at[0]), float(at[1])), float(yaw))


def on_walls(make: Maker, wide: float, deep: float, tall: float) -> None:
    """Pictures, windows, doors, beams and hanging lamps."""
    rng = make.rng
    for _ in range(make.count(0, 6)):
        make.new_thing()
        size = make.near(0.8, 0.6)
        high = min(make.near(0.8, 0.6), tall * 0.8)
        z = 0.0 if make.chance(0.25) else float(rng.uniform(0.1, 0.9) * (tall - high))
        paint = make.paint(size, textures=("panels", "flat", "gradient"), photo=0.7)
        wall, along = make.count(0, 2), rng.uniform(0.05, 0.95)
        if wall == 0:
            make.block(
                Spot((along - 0.5) * wide, deep, z, 0.0), (0, 0, 0), (size, 0.06, high), paint
            )
        else:
            side = wide / 2 * (1 if wall == 1 else -1)
            make.block(Spot(side, along * deep, z, 0.0), (0, 0, 0), (0.06, size, high), paint)
    for _ in range(make.count(0, 2)):
        make.new_thing()
        spot = Spot(rng.uniform(-0.4, 0.4) * wide, rng.uniform(0.4, 0.9) * deep, 0.0, 0.0)
        drop = float(rng.uniform(0.1, 0.8))
        make.pillar(spot, (0, 0, tall - drop), drop, 0.01, 0.01, make.paint(0.3))
        make.pillar(spot, (0, 0, tall - drop - 0.2), 0.2, 0.2, 0.05, make.paint(0.3))


def _tabletop(make: Maker, at: tuple[float, float], yaw: float) -> Camera:
    """A camera above a table or counter full of small things."""
    rng = make.rng
    top = make.near(0.75, 0.3)
    ahead = np.array([np.sin(yaw), np.cos(yaw)])
    middle = np.array(at) + 0.75 * ahead
    desk = Spot(float(middle[0]), float(middle[1]), 0.0, -yaw)
    make.new_thing()
    make.block(
        desk, (0, 0, top - 0.05), (make.near(1.8, 0.4), make.near(1.2, 0.3), 0.05), make.paint(0.6)
    )
    typical = make.near(0.14, 0.7)
    for _ in range(make.count(4, 12)):
        across, away = rng.uniform(-0.6, 0.6), rng.uniform(-0.35, 0.55)
        right = np.array([ahead[1], -ahead[0]])
        x, y = middle + across * right + away * ahead
        trinket(make, Spot(float(x), float(y), top, 0.0), make.near(typical, 0.5))
    for _ in range(make.count(0, 5)):
        x, y = (
            middle
            + rng.uniform(-2, 2) * np.array([ahead[1], -ahead[0]])
            + rng.uniform(1, 3) * ahead
        )
        (shelf, chair, plant, person, lamp)[make.count(0, 4)](
            make, Spot(float(x), float(y), 0.0, float(rng.uniform(0, 6.28)))
        )
    eye = (*at, top + rng.uniform(0.15, 0.75))
    return aim(rng, eye, yaw + rng.normal(0, 0.15), rng.uniform(-50, -8))


def _outdoors(
    make: Maker, kind: str
) -> tuple[Camera, tuple[float, float, float], tuple[float, float, float]]:
    rng = make.rng
    far = float(np.exp(rng.uniform(np.log(40), np.log(250))))
    low, high = (-far, -20.0, 0.0), (far, far, 0.9 * far)
    yaw = float(rng.normal(0, 0.25))
    if kind == "drone":
        eye_z = float(np.exp(rng.uniform(np.log(8), np.log(70))))
        _scatter(
            make,
            (house, tree, tree, car, plant, crate, house),
            make.count(10, 30),
            1.6 * eye_z + 20,
            4.0,
        )
        make_road(make, float(rng.uniform(-10, 10)))
        return aim(rng, (0.0, 0.0, eye_z), yaw, rng.uniform(-75, -12)), low, high
    eye_z = float(np.exp(rng.uniform(np.log(0.5), np.log(3.5))))
    pitch = rng.normal(-4, 8) - 2 * eye_z
    if kind == "street":
        shift = float(rng.uniform(-4, 4))
        make_road(make, shift)
        gap = float(rng.uniform(5, 12))
        for side in (-1, 1):
            y = float(rng.uniform(0, 10))
            for _ in range(make.count(0, 5)):
                house(make, Spot(shift + side * (gap + 5), y, 0.0, float(rng.normal(0, 0.05))))
                y += float(rng.uniform(9, 22))
            for _ in range(make.count(1, 5)):
                at = shift + side * rng.uniform(3, gap - 0.5), float(np.exp(rng.uniform(1.0, 3.6)))
                (tree, post, person, plant, person, post)[make.count(0, 5)](
                    make, Spot(*at, 0.0, 0.0)
                )
        for _ in range(make.count(0, 6)):
            at = (
                shift + rng.choice([-1, 1]) * rng.uniform(1.2, 3.2),
                float(np.exp(rng.uniform(1.5, 3.7))),
            )
            car(make, Spot(*at, 0.0, float(np.pi / 2 + rng.normal(0, 0.1))))
        return aim(rng, (0.0, 0.0, eye_z), yaw, pitch), low, high
    reach = float(np.exp(rng.uniform(np.log(6), np.log(40))))
    things = (tree, plant, rock, person, rock, plant, crate, chair, contraption, car)
    _scatter(make, things, make.count(5, 18), reach, 0.8)
    for _ in range(make.count(0, 4)):
        make.new_thing()
        away = far * rng.uniform(0.5, 0.9)
        hill = (rng.uniform(0.2, 0.7) * far, 0.2 * far, far * rng.uniform(0.03, 0.2))
        make.ball(
            Spot(rng.uniform(-1, 1) * far, away, 0.0, 0.0), (0, 0, 0), hill, make.leaves(far / 4)
        )
    return aim(rng, (0.0, 0.0, eye_z), yaw, pitch), low, high


def make_road(make: Maker, shift: float) -> None:
    """A road away from the camera, with walks beside it."""
    make.new_thing()
    wide = make.near(7, 0.3)
    make.block(
        Spot(shift, 100.0, 0.0, 0.0),
        (0, 0, 0),
        (wide, 240.0, 0.02),
        make.paint(3.0, low=0.15, high=0.6),
    )
    if make.chance(0.6):
        for side in (-1, 1):
            at = Spot(shift + side * (wide / 2 + 1.2), 100.0, 0.0, 0.0)
            make.block(at, (0, 0, 0), (2.4, 240.0, 0.14), make.paint(1.5, low=0.3, high=0.8))


def _scatter(
    make: Maker, choice: Sequence[Thing], count: int, reach: float, nearest: float
) -> None:
    """Things on open ground, evenly over the logarithm of the distance."""
    taken: list[tuple[float, float, float]] = []
    for _ in range(count):
        away = float(np.exp(make.rng.uniform(np.log(nearest + 0.7), np.log(reach))))
        at = float(make.rng.uniform(-0.75, 0.75) * away), away
        _place(make, choice, taken, at, float(make.rng.uniform(0, 6.28)), gap_m=0.06 * away)


def shell(
    make: Maker,
    low: tuple[float, float, float],
    high: tuple[float, float, float],
    *,
    outdoors: bool,
) -> Part:
    """Four walls, floor and ceiling; outdoors all but the floor is sky."""
    rng = make.rng
    middle, half = np.add(high, low) / 2, np.subtract(high, low) / 2
    if not outdoors:
        size = float(half[0])
        wall = make.paint(size, low=0.3, photo=0.15)
        walls = [wall if make.chance(0.7) else make.paint(size, low=0.2) for _ in range(4)]
        floor = make.paint(
            size,
            low=0.1,
            high=0.8,
            textures=("planks", "tiles", "carpet", "flat", "wood"),
            photo=0.3,
        )
        ceiling = make.paint(size, low=0.5, photo=0.05)
        return Part(solid=box(middle, half), surfaces=(*walls, floor, ceiling), shell=True)  # noqa: S604  no process
    blue = rng.uniform(0.45, 1.0)
    red, green = np.sort(rng.uniform(0.45, 1.0, 2)) if make.chance(0.7) else (1.0, 1.0)
    top = (float(blue * red), float(blue * green), float(blue))
    share = rng.uniform(0.1, 0.9)
    r, g, b = (float(v + (0.97 - v) * share) for v in top)
    sky = Surface(
        texture="clouds" if make.chance(0.7) else "gradient",
        colour=top, second=(r, g, b), tile_m=float(half[1] * rng.uniform(0.4, 2)),
        offset=(float(rng.random()), float(rng.random())), glow=1.0,
    )  # fmt: skip
    ground = (
        make.leaves(2.0)
        if make.chance(0.5)
        else make.paint(4.0, high=0.7, textures=("grass", "clouds", "carpet", "tiles"))
    )
    return Part(solid=box(middle, half), surfaces=(sky, sky, sky, sky, ground, sky), shell=True)  # noqa: S604  no process


def lamps(
    rng: np.random.Generator, low: Sequence[float], high: Sequence[float]
) -> tuple[tuple[Light, ...], Atmosphere]:
    """One or two lamps under the ceiling of a room, and its air."""
    lights = []
    for _ in range(1 if rng.random() < 0.7 else 2):
        place = [
            float(rng.uniform(0.85 * a + 0.15 * b, 0.15 * a + 0.85 * b))
            for a, b in zip(low, high, strict=True)
        ]
        place[2] = float(high[2] * rng.uniform(0.6, 0.97))
        lights.append(
            Light(
                place=(place[0], place[1], place[2]),
                distant=False,
                colour=_white(rng, 0.3, 0.9),
                reach_m=float(high[1] * 0.6),
                softness_px=float(rng.uniform(2, 12)),
            )
        )
    return tuple(lights), Atmosphere(
        ambient=_white(rng, 0.25, 0.7),
        exposure=float(rng.uniform(0.7, 1.5)),
        grain=float(rng.uniform(0, 0.015)),
        vignette=float(rng.uniform(0, 0.35)),
    )


def daylight(rng: np.random.Generator, reach_m: float) -> tuple[tuple[Light, ...], Atmosphere]:
    """Sun or an overcast sky, at times with haze up to `reach_m`."""
    sun = unit((rng.uniform(-1.5, 1.5), rng.uniform(-1.2, 1.0), rng.uniform(0.4, 1.6)))
    overcast = rng.random() < 0.35
    strength = (0.05, 0.2) if overcast else (0.4, 1.0)
    light = Light(
        place=(float(sun[0]), float(sun[1]), float(sun[2])),
        distant=True,
        colour=_white(rng, *strength),
        softness_px=float(rng.uniform(0, 4)),
    )
    return (light,), Atmosphere(
        ambient=_white(rng, 0.6, 0.9) if overcast else _white(rng, 0.25, 0.5),
        fog=_white(rng, 0.65, 0.95),
        fog_m=float(reach_m * rng.uniform(0.4, 3.0)) if rng.random() < 0.6 else 0.0,
        exposure=float(rng.uniform(0.7, 1.4)),
        grain=float(rng.uniform(0, 0.015)),
        vignette=float(rng.uniform(0, 0.35)),
    )


def _white(rng: np.random.Generator, low: float, high: float) -> tuple[float, float, float]:
    r, g, b = rng.uniform(low, high) * (1 + rng.normal(0, 0.06, 3).clip(-0.15, 0.15))
    return (float(r), float(g), float(b))
