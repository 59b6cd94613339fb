"""Furnished interiors: rooms in which every wall is lined, and garages around one bulky machine.

The rooms of `worlds.py` are sparse, and their paint is often wild. Photographs taken indoors are
mostly close, plain and full: cupboards shoulder to shoulder, beds, curtains, rugs, windows that
glare. Machines here are bundles dense enough to be one solid thing. Leaves out outdoor scenes and
table tops (`worlds.py`), small things (`things.py`) and what a lens does (`augment.py`).
"""

from collections.abc import Sequence

import numpy as np
from things import Maker, Spot, chair, crate, lamp, person, plant, shelf, sofa, table, trinket
from worlds import aim, draw_worth_seeing, lamps

from pearl_data.rendering import Rendered, Scene, TextureBank
from pearl_data.rendering.camera import Camera
from pearl_data.rendering.scene import Part, Rgb, Surface
from pearl_data.rendering.shapes import upright_axes
from pearl_data.rendering.solids import box

GARAGES = 0.35
"""Share of scenes that are a garage or workshop around a machine."""


def draw_interior(seed: int, bank: TextureBank, width: int, height: int) -> Rendered:
    """The picture and truth of interior number `seed`; tries again until something is seen."""
    return draw_worth_seeing(sample_interior, 11, seed, bank, width, height)


def sample_interior(
    rng: np.random.Generator, seed: int, bank: TextureBank, width: int, height: int
) -> Scene:
    """A furnished room or a garage."""
    make = Maker(rng, bank)
    garage = make.chance(GARAGES)
    scale = 1.3 if garage else 1.0
    wide, deep = (float(rng.uniform(2.8, 6.5) * scale) for _ in range(2))
    room = (wide, deep, float(rng.uniform(2.3, 3.0) * scale))
    camera = _machine_view(make, room) if garage else _room_view(make, room)
    _line_walls(make, room, garage=garage)
    _on_walls(make, room)
    low, high = (-wide / 2, 0.0, 0.0), (wide / 2, deep, room[2])
    lights, air = lamps(rng, low, high)
    return Scene(
        seed=seed,
        setting="room",
        width=width,
        height=height,
        camera=camera,
        parts=(_shell(make, low, high), *make.parts),
        objects=(),
        lights=lights,
        atmosphere=air,
    )


def _shell(make: Maker, low: Sequence[float], high: Sequence[float]) -> Part:
    """Walls of one quiet paint, a floor of wood, tiles or carpet, a light ceiling."""
    middle, half = np.add(high, low) / 2, np.subtract(high, low) / 2
    wall = _quiet(make, 0.35, 0.95)
    walls = [wall if make.chance(0.85) else make.paint(2.0, low=0.2, photo=0.1) for _ in range(4)]
    floor = make.paint(
        1.5, low=0.1, high=0.8, textures=("planks", "tiles", "carpet", "wood", "flat"), photo=0.1
    )
    return Part(  # noqa: S604  no process
        solid=box(middle, half), surfaces=(*walls, floor, _quiet(make, 0.6, 0.97)), shell=True
    )


def _quiet(make: Maker, low: float, high: float) -> Surface:
    """Paint with next to no pattern."""
    first = make.colour(low, high)
    share = make.rng.uniform(0.9, 1.0)
    second: Rgb = (first[0] * share, first[1] * share, first[2] * share)
    name = ("flat", "flat", "clouds", "gradient", "carpet")[make.count(0, 4)]
    return Surface(
        texture=name, colour=first, second=second, tile_m=float(make.rng.uniform(0.5, 3)),
        offset=(float(make.rng.random()), float(make.rng.random())),
    )  # fmt: skip


def _height(make: Maker) -> float:
    """How high a camera is held: at the eye, at the hip, above the head."""
    ranges = ((1.2, 1.75), (0.5, 1.2), (1.75, 2.2))
    low, high = ranges[int(make.rng.choice(3, p=(0.6, 0.3, 0.1)))]
    return float(make.rng.uniform(low, high))


def _room_view(make: Maker, room: Sequence[float]) -> Camera:
    """Furnishes the middle of the room, and looks across it from near one wall."""
    rng = make.rng
    wide, deep, tall = room
    x, y = rng.uniform(-0.4, 0.4) * wide, rng.uniform(0.05, 0.3) * deep
    # Mostly across the room, often into a corner, at times along the wall beside.
    yaw = float(np.arctan2(-x, deep / 2) + rng.normal(0, 0.7))
    rug = Spot(float(rng.uniform(-0.2, 0.2) * wide), float(rng.uniform(0.4, 0.7) * deep), 0.0,
               float(rng.uniform(-0.2, 0.2)))  # fmt: skip
    if make.chance(0.5):
        make.new_thing()
        make.block(rug, (0, 0, 0), (make.near(2.2), make.near(1.6), 0.015), make.paint(0.8))
    kind = make.count(0, 3)
    if kind == 0:
        bed(make, rug._replace(yaw=float(rng.choice([0, np.pi / 2, np.pi, -np.pi / 2]))))
    elif kind == 1:
        reach = table(make, rug)
        for side in range(make.count(2, 5)):
            turn = rug.yaw + side * np.pi / 2
            at = rug.x + np.sin(-turn) * (reach + 0.2), rug.y + np.cos(turn) * (reach + 0.2)
            chair(make, Spot(float(at[0]), float(at[1]), 0.0, float(turn + rng.normal(0, 0.2))))
    elif kind == 2:
        sofa(make, rug._replace(yaw=float(rng.uniform(0, 6.28))))
        low_table = rug._replace(x=rug.x + make.near(0.9), y=rug.y - make.near(0.7))
        make.new_thing()
        make.block(low_table, (0, 0, 0.3), (make.near(0.9), make.near(0.5), 0.08), make.paint(0.6))
    for _ in range(make.count(1, 6)):
        at = float(rng.uniform(-0.45, 0.45) * wide), float(rng.uniform(0.25, 0.95) * deep)
        if np.hypot(at[0] - x, at[1] - y) > 0.9:
            thing = (chair, crate, plant, lamp, person, crate, sofa)[make.count(0, 6)]
            thing(make, Spot(*at, 0.0, float(rng.uniform(0, 6.28))))
    pitch = float(rng.normal(-10, 11))
    return aim(rng, (x, y, min(_height(make), 0.9 * tall)), yaw, pitch)


def _machine_view(make: Maker, room: Sequence[float]) -> Camera:
    """A machine in the middle that fills a good part of the picture."""
    rng = make.rng
    wide, deep, tall = room
    middle = Spot(float(rng.uniform(-0.2, 0.2) * wide), float(rng.uniform(0.45, 0.7) * deep), 0.0,
                  float(rng.uniform(-0.8, 0.8)))  # fmt: skip
    reach = machine(make, middle)
    away = float(rng.uniform(1.1, 2.4)) * reach + 0.4
    turn = float(rng.uniform(-0.8, 0.8))
    x = float(np.clip(middle.x + away * np.sin(turn), -0.46 * wide, 0.46 * wide))
    y = max(0.15, float(middle.y - away * np.cos(turn)))
    for _ in range(make.count(1, 6)):
        at = float(rng.uniform(-0.45, 0.45) * wide), float(rng.uniform(0.3, 0.95) * deep)
        near = np.hypot(at[0] - x, at[1] - y) < 1.0
        if not near and np.hypot(at[0] - middle.x, at[1] - middle.y) > reach:
            (crate, crate, lamp, plant, chair)[make.count(0, 4)](
                make, Spot(*at, 0.0, float(rng.uniform(0, 6.28)))
            )
    yaw = float(np.arctan2(middle.x - x, middle.y - y) + rng.normal(0, 0.12))
    eye = float(rng.uniform(0.5, 1.6))
    pitch = float(np.degrees(np.arctan2(0.5 - eye, max(away, 0.8))) * rng.uniform(0.2, 1.0))
    return aim(rng, (x, y, min(eye, 0.9 * tall)), yaw, pitch)


def machine(make: Maker, spot: Spot) -> float:
    """Something bulky of many parts, such as a motorcycle, a mower or a lathe; its reach."""
    make.new_thing()
    long, deep, high = make.near(1.9, 0.35), make.near(0.55, 0.4), make.near(1.05, 0.3)
    axes, base = upright_axes(spot.yaw), np.array([spot.x, spot.y, spot.z])
    dark, body = make.paint(0.4, high=0.35), make.paint(0.8, photo=0.1)
    if make.chance(0.8):
        radius = float(np.clip(make.near(0.3, 0.3), 0.12, 0.3 * long))
        for side in (-1, 1):
            hub = base + np.array([side * (long / 2 - radius), 0, radius]) @ axes
            half = np.array([0, make.near(0.07, 0.4), 0]) @ axes
            make.rod(hub - half, hub + half, radius, dark)
            make.rod(hub - 1.1 * half, hub + 1.1 * half, 0.7 * radius, make.paint(0.3, low=0.3))
    # The bulk: overlapping lumps from the wheels to the top, thick enough to hide what is behind.
    for _ in range(make.count(7, 14)):
        x = float(make.rng.uniform(-0.42, 0.42) * long)
        z = float(make.rng.uniform(0.15, 0.85) * high * (1 - 0.5 * abs(x) / long))
        size = make.rng.uniform((0.12, 0.35, 0.15), (0.45, 0.9, 0.45)) * (long, deep, high)
        paint = body if make.chance(0.4) else make.paint(0.3)
        if make.chance(0.5):
            make.ball(spot, (x, 0, z), size / 1.7, paint)
        else:
            make.block(spot, (x, 0, z - size[2] / 2), size, paint)
    extent = np.array([long / 2, deep / 2, high])
    for _ in range(make.count(5, 14)):
        ends = make.rng.uniform((-0.9, -1, 0.15), (0.9, 1, 1.1), (2, 3)) * extent
        make.rod(base + ends[0] @ axes, base + ends[1] @ axes, make.near(0.02, 0.6), dark)
    return long / 2


def bed(make: Maker, spot: Spot) -> float:
    """A bed with a headboard at +y, bedding and pillows."""
    make.new_thing()
    wide, long, high = make.near(1.4, 0.3), make.near(2.0, 0.1), make.near(0.45, 0.3)
    cloth, wood = make.paint(0.8), make.paint(0.8)
    make.block(spot, (0, 0, 0.08), (wide, long, high - 0.08), wood)
    make.block(spot, (0, -0.1 * long, high), (1.04 * wide, 0.8 * long, 0.1), cloth)
    make.block(spot, (0, long / 2, 0), (wide, 0.06, high * make.rng.uniform(1.6, 2.6)), wood)
    for side in (-1, 1):
        make.ball(
            spot, (side * wide / 4, 0.38 * long, high + 0.08), (wide / 5, 0.2, 0.1), make.paint(0.4)
        )
    return long / 2


def cupboard(make: Maker, spot: Spot) -> float:
    """A wardrobe, counter or chest with doors or drawers, things on top, its back to +y."""
    make.new_thing()
    wide, deep = make.near(0.9, 0.5), make.near(0.5, 0.2)
    high = float(make.rng.choice([make.near(0.85, 0.2), make.near(2.0, 0.15)]))
    wood = make.paint(1.0, photo=0.1)
    make.block(spot, (0, 0, 0), (wide, deep, high), wood)
    doors, rows = make.count(1, 3), make.count(1, 4)
    front = make.paint(0.6, photo=0.1) if make.chance(0.5) else wood
    for column in range(doors):
        for row in range(rows):
            at = ((column + 0.5) / doors - 0.5) * wide, -deep / 2, (row + 0.05) / rows * high
            make.block(spot, at, (0.9 * wide / doors, 0.03, 0.88 * high / rows), front)
    if high < 1.3:
        for _ in range(make.count(0, 4)):
            at = float(make.rng.uniform(-0.42, 0.42) * wide)
            turned = np.array([at, 0.0, 0.0]) @ upright_axes(spot.yaw)
            top = Spot(spot.x + float(turned[0]), spot.y + float(turned[1]), high, spot.yaw)
            trinket(make, top, make.near(0.22, 0.6))
    return wide / 2


def _line_walls(make: Maker, room: Sequence[float], *, garage: bool) -> None:
    """Furniture shoulder to shoulder along three walls; the one behind the camera stays free."""
    wide, deep, _ = room
    choice = (cupboard, shelf, cupboard, crate, table) if garage else (
        cupboard, cupboard, shelf, sofa, table, plant, lamp, bed
    )  # fmt: skip
    walls = (
        (wide, 0.0, lambda along: (along - wide / 2, deep - 0.3)),
        (deep, -np.pi / 2, lambda along: (wide / 2 - 0.3, along)),
        (deep, np.pi / 2, lambda along: (0.3 - wide / 2, along)),
    )
    for length, yaw, place in walls:
        along = float(make.rng.uniform(0.1, 1.0))
        crowded = make.rng.uniform(0.1, 1.2)
        while along < length - 0.5:
            x, y = place(along + 0.4)
            if y > 0.3 * deep or make.chance(0.3):
                reach = choice[make.count(0, len(choice) - 1)](make, Spot(x, y, 0.0, yaw))
            else:
                reach = 0.4
            along += 2 * reach + float(make.rng.exponential(crowded))


def _on_walls(make: Maker, room: Sequence[float]) -> None:
    """Windows that glare, curtains beside them, doors, pictures, beams and wall cupboards."""
    wide, deep, tall = room
    for _ in range(make.count(1, 7)):
        make.new_thing()
        wall, along = make.count(0, 2), float(make.rng.uniform(0.1, 0.9))
        side = (0, 1, -1)[wall]
        spot = (
            Spot((along - 0.5) * wide, deep, 0.0, 0.0)
            if wall == 0
            else Spot(side * wide / 2, along * deep, 0.0, -side * np.pi / 2)
        )
        kind = make.count(0, 4)
        if kind == 0:  # a window, perhaps between curtains
            across, high = make.near(1.1, 0.4), make.near(1.1, 0.3)
            sill = float(make.rng.uniform(0.3, 1.0))
            light = make.colour(0.75, 1.0)
            pane = Surface(texture="gradient", colour=light, second=make.colour(0.5, 1.0),
                           tile_m=high, glow=float(make.rng.uniform(0.5, 1.0)))  # fmt: skip
            make.block(spot, (0, 0, sill), (across, 0.02, high), pane)
            frame = _quiet(make, 0.5, 0.95)
            for at in (-0.5, 0.0, 0.5):
                make.block(spot, (at * across, 0, sill), (0.05, 0.06, high), frame)
            make.block(spot, (0, 0, sill - 0.05), (1.1 * across, 0.25, 0.05), frame)
            if make.chance(0.6):
                cloth, thick = make.paint(0.6), make.near(0.05, 0.3)
                for end in (-1, 1):
                    for fold in range(make.count(2, 5)):
                        at = end * (0.5 * across + fold * 1.6 * thick)
                        make.pillar(spot, (at, -0.08, 0.02), sill + high + 0.1, thick, thick, cloth)
        elif kind == 1:  # a door
            make.block(spot, (0, 0, 0), (make.near(0.85, 0.1), 0.08, 2.0), _quiet(make, 0.2, 0.95))
        elif kind == 2:  # a wall cupboard
            size = make.near(0.9, 0.4), 0.35, make.near(0.6, 0.2)
            make.block(spot, (0, -0.15, min(1.5, tall - 0.9)), size, make.paint(0.6))
        elif kind == 3:  # a beam under the ceiling
            thick = make.near(0.25, 0.4)
            size = 2 * wide + 2 * deep, 2 * thick, thick
            make.block(spot, (0, 0, tall - thick), size, _quiet(make, 0.3, 0.95))
        else:  # a picture
            edge, at = make.near(0.5, 0.6), make.near(1.4, 0.15)
            paint = make.paint(edge, textures=("panels", "flat", "gradient"), photo=0.8)
            make.block(spot, (0, 0, at), (edge, 0.05, edge), paint)
