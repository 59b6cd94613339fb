"""People and animals as they are photographed: close, often cut by the frame, others behind them.

The people of `things.py` are small figures in the middle distance. Most photographs are of somebody
who fills half the picture, whose feet are not in it, in front of other people or a wall. Then
neither the position in the picture nor what things stand on tells much; that heads and shoulders
are one thing, and nearer than what they hide, does. Leaves out rooms and streets (`worlds.py`).
"""

from collections.abc import Sequence

import numpy as np
from things import Maker, Spot, chair, crate, house, lamp, plant, post, shelf, table, tree, trinket
from worlds import aim, by_wall, daylight, draw_worth_seeing, lamps, on_walls, shell

from pearl_data.rendering import Rendered, Scene, TextureBank
from pearl_data.rendering.scene import Rgb, Surface
from pearl_data.rendering.shapes import upright_axes

INDOORS = 0.6
"""Share of pictures that are taken in a room."""
KINDS = ("portrait", "portrait", "group", "group", "crowd", "table", "animal")
"""What is photographed, one drawn per picture."""


def draw_company(seed: int, bank: TextureBank, width: int, height: int) -> Rendered:
    """The picture and truth of company number `seed`; tries again until something is seen."""
    return draw_worth_seeing(sample_company, 17, seed, bank, width, height)


def sample_company(
    rng: np.random.Generator, seed: int, bank: TextureBank, width: int, height: int
) -> Scene:
    """Somebody before a camera, in a room or out of doors."""
    make = Maker(rng, bank)
    kind = KINDS[make.count(0, len(KINDS) - 1)]
    indoors = kind == "table" or make.chance(INDOORS)
    if indoors:
        wide, deep, tall = (float(rng.uniform(*ends)) for ends in ((3, 9), (3, 11), (2.4, 4.0)))
        low, high = (-wide / 2, -1.0, 0.0), (wide / 2, deep, tall)
        on_walls(make, wide, deep, tall)
        taken: list[tuple[float, float, float]] = [(0.0, 0.0, 1.0)]
        for _ in range(make.count(2, 12)):
            by_wall(make, (shelf, shelf, table, lamp, crate, plant, chair), taken, wide, deep)
        lights, air = lamps(rng, low, high)
    else:
        far = float(np.exp(rng.uniform(np.log(30), np.log(200))))
        low, high = (-far, -20.0, 0.0), (far, far, 0.9 * far)
        for _ in range(make.count(2, 9)):
            away = float(np.exp(rng.uniform(np.log(7), np.log(0.8 * far))))
            at = Spot(float(rng.uniform(-0.8, 0.8) * away), away, 0.0, float(rng.normal(0, 0.3)))
            (house, house, tree, tree, post, plant)[make.count(0, 5)](make, at)
        lights, air = daylight(rng, high[1])
    reach = 0.85 * high[1] if indoors else 14.0
    eye, away = float(np.clip(rng.normal(1.45, 0.3), 0.5, 2.2)), _cast(make, kind, reach)
    # The camera looks at a height on the nearest: mostly the chest or the face, at times lower.
    looked_at = 0.35 if kind == "animal" else float(rng.uniform(0.8, 1.6))
    eye = eye * 0.6 if kind == "animal" else eye
    pitch = float(np.degrees(np.arctan2(looked_at - eye, away)) + rng.normal(0, 5))
    return Scene(
        seed=seed,
        setting="room",
        width=width,
        height=height,
        camera=aim(rng, (0.0, 0.0, min(eye, 0.9 * high[2])), float(rng.normal(0, 0.15)), pitch),
        parts=(shell(make, low, high, outdoors=not indoors), *make.parts),
        objects=(),
        lights=lights,
        atmosphere=air,
    )


def _cast(make: Maker, kind: str, reach: float) -> float:
    """Places those who are photographed, up to `reach` metres away; how far the nearest is."""
    rng = make.rng
    nearest = float(np.exp(rng.uniform(*np.log({
        "portrait": (0.55, 1.5), "group": (1.0, 2.6), "crowd": (1.2, 3.0), "table": (1.3, 2.4),
        "animal": (0.5, 2.0),
    }[kind]))))  # fmt: skip
    nearest = min(nearest, 0.6 * reach)
    if kind == "animal":
        animal(make, _before(make, nearest))
        others = make.count(0, 2)
    elif kind == "table":
        spot = Spot(float(rng.normal(0, 0.3)), nearest + 0.6, 0.0, float(rng.normal(0, 0.3)))
        half = table(make, spot)
        for _ in range(make.count(1, 4)):
            trinket(make, spot._replace(
                x=spot.x + float(rng.uniform(-0.5, 0.5)), z=0.74), make.near(0.2))  # fmt: skip
        for turn in rng.permutation(4)[: make.count(1, 4)]:
            angle = spot.yaw + float(turn) * np.pi / 2
            at = spot.x + np.sin(angle) * (half + 0.15), spot.y + np.cos(angle) * (half + 0.15)
            figure(make, Spot(float(at[0]), float(at[1]), 0.0, -angle), seated=True)
        others = make.count(0, 3)
    else:
        figure(make, _before(make, nearest))
        others = {"portrait": make.count(0, 3), "group": make.count(2, 5), "crowd": 9}[kind]
    for _ in range(others):
        furthest = reach if kind != "group" else min(reach, nearest + 2.5)
        away = float(np.exp(rng.uniform(np.log(nearest + 0.3), np.log(max(furthest, nearest + 1)))))
        figure(make, _before(make, away, spread=0.6), seated=make.chance(0.1))
    return nearest


def _before(make: Maker, away: float, *, spread: float = 0.28) -> Spot:
    """A spot `away` metres before the camera, turned mostly towards it."""
    turn = make.rng.normal(0, 0.7) if make.chance(0.7) else make.rng.uniform(0, 6.28)
    return Spot(float(make.rng.normal(0, spread) * away), away, 0.0, float(turn))


def _skin(make: Maker) -> Surface:
    level = make.rng.uniform(0.3, 1.0)
    r, g, b = (
        float(np.clip(v * level * make.rng.uniform(0.92, 1.08), 0.03, 1)) for v in (0.92, 0.7, 0.58)
    )
    colour: Rgb = (r, g, b)
    second: Rgb = (0.85 * r, 0.8 * g, 0.8 * b)
    return Surface(
        texture=("flat", "clouds", "gradient")[make.count(0, 2)], colour=colour, second=second,
        tile_m=float(make.rng.uniform(0.05, 0.3)), gloss=float(make.rng.choice([0.0, 0.1])),
    )  # fmt: skip


def figure(make: Maker, spot: Spot, *, seated: bool = False) -> float:
    """Somebody with head, hair, shoulders, arms in some pose, clothes and shoes, facing -y; half
    the shoulders' width.
    """
    make.new_thing()
    rng = make.rng
    tall, broad = make.near(1.7, 0.12), make.near(1.0, 0.18)
    skin, shirt = _skin(make), make.paint(0.5)
    trousers = make.paint(0.5)
    dark = make.paint(0.3, high=0.35, photo=0.05)
    sink = 0.5 * tall - 0.5 if seated else 0.0
    body = spot._replace(z=spot.z - sink)
    axes, base = upright_axes(spot.yaw), np.array(body[:3])

    def place(x: float, y: float, z: float) -> np.ndarray:
        return np.asarray(base + np.array([x, y, 0.0]) @ axes + [0, 0, z])

    nod, lean = float(rng.normal(0, 0.025)), float(rng.normal(0, 0.03))
    # Trunk: hips, belly, chest, shoulders.
    make.ball(body, (0, 0, 0.5 * tall), (0.17 * broad, 0.13 * broad, 0.1 * tall), trousers)
    make.ball(body, (0, 0, 0.6 * tall), (0.165 * broad, 0.125 * broad, 0.12 * tall), shirt)
    make.ball(body, (lean, 0, 0.72 * tall), (0.19 * broad, 0.13 * broad, 0.12 * tall), shirt)
    for side in (-1, 1):
        make.ball(
            body,
            (lean + side * 0.15 * broad, 0.01, 0.79 * tall),
            (0.09, 0.085, 0.055 * tall),
            shirt,
        )
    if make.chance(0.3):  # a tie, a bib, a badge
        make.ball(
            body, (lean, -0.115 * broad, 0.72 * tall), (0.03, 0.02, 0.09 * tall), make.paint(0.1)
        )
    make.rod(place(lean, 0, 0.8 * tall), place(lean + nod, 0, 0.88 * tall), 0.055, skin)
    _head(make, body, (lean + nod, -0.01, 0.93 * tall), skin, dark)
    sleeve = shirt if make.chance(0.7) else skin
    for side in (-1, 1):
        shoulder = place(lean + side * 0.2 * broad, 0, 0.79 * tall)
        swing = rng.normal((side * 0.06, -0.03), (0.08, 0.1))
        elbow = shoulder + np.array([*swing, 0]) @ axes - [0, 0, 0.17 * tall]
        bent = make.chance(0.45)
        rise = rng.uniform(-0.05, 0.3) if bent else -0.15
        ahead = -rng.uniform(0.05, 0.24) if bent else -0.03
        hand = elbow + np.array([-side * rng.uniform(-0.05, 0.15), ahead, 0]) @ axes
        hand = hand + np.array([0, 0, rise * tall])
        make.rod(shoulder, elbow, 0.055 * broad, shirt)
        make.rod(elbow, hand, 0.042 * broad, sleeve)
        _knob(make, hand, 0.05, skin)
        if make.chance(0.12):
            _held(make, hand, spot.yaw)
    for side in (-1, 1):
        hip = place(side * 0.09, 0, 0.5 * tall)
        if seated:
            knee = place(side * 0.11, -0.42, 0.5 * tall)
            foot = place(side * 0.11, -0.42, sink)
        else:
            step = rng.normal(0, 0.1)
            knee = place(side * 0.1, step, 0.27 * tall)
            foot = place(side * 0.1, step + abs(rng.normal(0, 0.06)), 0.03)
        make.rod(hip, knee, 0.085 * broad, trousers)
        make.rod(knee, foot, 0.06 * broad, trousers)
        _knob(make, foot, 0.07, dark)
    if seated:
        chair(make, spot)
    return 0.2 * broad


def _knob(make: Maker, at: np.ndarray, radius: float, surface: Surface) -> None:
    """A ball about a point of the world."""
    make.ball(Spot(*(float(v) for v in at), 0.0), (0, 0, 0), (radius,) * 3, surface)


def _head(make: Maker, spot: Spot, at: Sequence[float], skin: Surface, dark: Surface) -> None:
    """A face with a nose; hair, a cap, a hat or nothing on it; at times glasses."""
    x, y, z = at
    make.ball(spot, at, (0.078, 0.098, 0.118), skin)
    make.ball(spot, (x, y - 0.1, z - 0.01), (0.015, 0.022, 0.025), skin)
    worn = make.count(0, 7)
    if worn <= 4:
        hair = dark if make.chance(0.7) else make.paint(0.1, high=0.8, photo=0.05)
        long = float(make.rng.uniform(0, 0.16)) if make.chance(0.4) else 0.0
        make.ball(
            spot, (x, y + 0.022, z + 0.035 - long / 2), (0.088, 0.098, 0.105 + long / 2), hair
        )
    elif worn == 5:
        make.ball(spot, (x, y, z + 0.05), (0.1, 0.12, 0.09), make.paint(0.2))
        make.ball(spot, (x, y - 0.07, z + 0.035), (0.09, 0.1, 0.012), make.paint(0.2))
    elif worn == 6:
        make.pillar(spot, (x, y, z + 0.05), 0.1, 0.095, 0.085, make.paint(0.2))
        make.pillar(spot, (x, y, z + 0.05), 0.012, 0.16, 0.16, make.paint(0.2))
    if make.chance(0.2):
        for side in (-1, 1):
            make.ball(spot, (x + side * 0.035, y - 0.085, z + 0.02), (0.028, 0.015, 0.02), dark)


def _held(make: Maker, hand: np.ndarray, yaw: float) -> None:
    """A paper, a sign, a cup or a bag in a hand."""
    spot = Spot(float(hand[0]), float(hand[1]), float(hand[2]), yaw)
    kind = make.count(0, 3)
    if kind == 0:
        make.block(spot, (0, -0.03, -0.1), (0.21, 0.01, 0.3), make.paint(0.2, low=0.6))
    elif kind == 1:
        size = (make.near(0.6, 0.3), 0.02, make.near(0.45, 0.3))
        make.pillar(spot, (0, 0, 0), 0.6, 0.012, 0.012, make.paint(0.2))
        make.block(spot, (0, 0, 0.35), size, make.paint(0.3, low=0.4))
    elif kind == 2:
        make.pillar(spot, (0, -0.02, -0.05), 0.12, 0.03, 0.04, make.paint(0.1))
    else:
        make.block(spot, (0, 0, -0.35), (0.3, 0.12, 0.28), make.paint(0.3))


def animal(make: Maker, spot: Spot) -> float:
    """A cat, a dog or a goat: barrel, neck, head with a muzzle and ears, four legs, a tail."""
    make.new_thing()
    rng = make.rng
    size = float(np.exp(rng.uniform(np.log(0.28), np.log(0.9))))  # height at the shoulder
    first = make.paint(0.3 * size, textures=("carpet", "speckle", "clouds", "flat", "grass"))
    second = first if make.chance(0.6) else make.paint(0.3 * size, photo=0.1)
    axes, base = upright_axes(spot.yaw), np.array([spot.x, spot.y, spot.z])
    long = make.near(1.25, 0.15) * size
    thick = make.near(0.26, 0.25) * size
    make.ball(spot, (0, 0, 0.75 * size), (1.05 * thick, long / 2, thick), first)
    make.ball(spot, (0, -0.35 * long, 0.8 * size), (thick, 0.3 * long, 1.1 * thick), first)
    neck = base + np.array([0, -0.42 * long, 0]) @ axes + [0, 0, 0.9 * size]
    turn = rng.normal(0, 0.15)
    ahead = np.array([turn * size, -rng.uniform(0.5, 0.75) * long, 0]) @ axes
    head = base + ahead + [0, 0, rng.uniform(0.85, 1.3) * size]
    make.rod(neck, head, 0.55 * thick, first)
    skull = make.near(0.2, 0.2) * size
    at = Spot(float(head[0]), float(head[1]), float(head[2]), spot.yaw + float(rng.normal(0, 0.4)))
    make.ball(at, (0, 0, 0), (0.8 * skull, skull, 0.85 * skull), first)
    muzzle = rng.uniform(0.3, 0.9) * skull
    make.ball(
        at,
        (0, -0.7 * skull - muzzle / 2, -0.2 * skull),
        (0.4 * skull, muzzle, 0.35 * skull),
        second,
    )
    for side in (-1, 1):
        make.ball(at, (side * 0.6 * skull, 0.1 * skull, 0.85 * skull),
                  (0.25 * skull, 0.12 * skull, make.near(0.45, 0.3) * skull), second)  # fmt: skip
        for y in (-0.36, 0.36):
            top = base + np.array([side * 0.7 * thick, y * long, 0]) @ axes + [0, 0, 0.7 * size]
            foot = (
                base
                + np.array([side * 0.7 * thick, y * long + rng.normal(0, 0.06) * size, 0]) @ axes
            )
            make.rod(top, foot, 0.28 * thick, first)
    tail = base + np.array([0, long / 2, 0]) @ axes + [0, 0, 0.8 * size]
    make.rod(tail, tail + rng.normal(0, 0.25, 3) * size, 0.12 * thick, second)
    return long / 2
