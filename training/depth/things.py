"""Things that furnish a world: tables, chairs, shelves, cars, trees, people, contraptions.

Each function takes a `Maker` and a place on the ground and gives parts of a scene: boxes,
cylinders, cones and ellipsoids, at everyday sizes that vary by a third. One thing shares one owner
number, so the objective can order things. Leaves out where things go and who looks at them
(`worlds.py`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pearl_data.rendering import TextureBank
from pearl_data.rendering.scene import Part, Rgb, Surface
from pearl_data.rendering.shapes import upright_axes
from pearl_data.rendering.solids import Ellipsoid, Frustum, Solid, box
from pearl_data.rendering.textures import PROCEDURAL

QUIET = ("flat", "flat", "clouds", "carpet", "gradient", "wood", "planks")
LEAFY = ("grass", "speckle", "clouds", "carpet")
ANY = tuple(PROCEDURAL)


class Spot(NamedTuple):
    """Where a thing stands: metres, height of what it stands on, turn about the vertical."""

    x: float
    y: float
    z: float
    yaw: float


class Maker:
    """Draws surfaces and builds solids; counts owners.

    Args:
        rng: the scene's generator.
        bank: textures, with photographs if there are any.

    """

    def __init__(self, rng: np.random.Generator, bank: TextureBank) -> None:
        self.rng = rng
        self._photos = bank.photo_names
        self.owner = 0
        self.parts: list[Part] = []
        # How colourful and how patterned one world is: most real places are muted and plain.
        self._saturation = float(rng.choice([0.1, 0.25, 0.5, 1.0]))
        self._plain = float(rng.uniform(0.2, 0.8))

    def near(self, value: float, spread: float = 0.33) -> float:
        """`value` up to `spread` larger or smaller."""
        return float(value * np.exp(self.rng.uniform(-spread, spread)))

    def chance(self, share: float) -> bool:
        """True in `share` of all cases."""
        return bool(self.rng.random() < share)

    def count(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))

    def colour(self, low: float = 0.08, high: float = 0.95) -> Rgb:
        """A colour in the manner of this world."""
        grey = self.rng.uniform(low, high)
        r, g, b = np.clip(grey * (1 + self.rng.normal(0, self._saturation / 2, 3)), 0.02, 1)
        return (float(r), float(g), float(b))

    def paint(
        self,
        size_m: float,
        *,
        low: float = 0.08,
        high: float = 0.95,
        textures: Sequence[str] = QUIET,
        photo: float = 0.5,
    ) -> Surface:
        """A surface for something `size_m` large; `photo`: share of photographs where not plain."""
        rng = self.rng
        first = self.colour(low, high)
        plain = self.chance(self._plain)
        offset = (float(rng.random()), float(rng.random()))
        gloss = float(rng.choice([0.0, 0.0, 0.2, 0.5]))
        tile = float(size_m * np.exp(rng.uniform(np.log(0.3), np.log(3.0))))
        if not plain and self._photos and self.chance(photo):
            share = rng.uniform(0, 0.7)
            r, g, b = (float((1 - share) + share * value) for value in first)
            name = self._photos[int(rng.integers(len(self._photos)))]
            return Surface(
                texture=name, colour=(r, g, b), second=(r, g, b), tile_m=tile, offset=offset,
                gloss=gloss,
            )  # fmt: skip
        share = rng.uniform(0.02, 0.2) if plain else rng.uniform(0.15, 0.9)
        other = self.colour(low, high)
        r, g, b = (float(p + (q - p) * share) for p, q in zip(first, other, strict=True))
        choice = textures if plain or self.chance(0.5) else ANY
        return Surface(
            texture=choice[int(rng.integers(len(choice)))], colour=first, second=(r, g, b),
            tile_m=tile, offset=offset, gloss=gloss,
        )  # fmt: skip

    def leaves(self, size_m: float) -> Surface:
        """Green, yellow or dry."""
        rng = self.rng
        level = rng.uniform(0.12, 0.55)
        red, blue = rng.uniform(0.4, 1.1), rng.uniform(0.15, 0.6)
        first: Rgb = (float(level * red), float(level), float(level * blue))
        dark = rng.uniform(0.1, 0.6)
        name = LEAFY[int(rng.integers(len(LEAFY)))]
        second: Rgb = (first[0] * dark, first[1] * dark, first[2] * dark)
        return Surface(
            texture=name, colour=first, second=second, tile_m=size_m * rng.uniform(0.4, 1.5)
        )

    def new_thing(self) -> None:
        """The parts that follow belong to a new thing."""
        self.owner = min(self.owner + 1, 250)

    def add(self, solid: Solid, surface: Surface) -> None:
        """One more part of the present thing."""
        self.parts.append(Part(solid=solid, surfaces=(surface,), owner=self.owner))

    def block(
        self, spot: Spot, at: Sequence[float], size: Sequence[float], surface: Surface
    ) -> None:
        """A box; `at` is the middle of its bottom in the spot's own axes, `size` its edges."""
        axes = upright_axes(spot.yaw)
        middle = np.array([spot.x, spot.y, spot.z]) + np.array([at[0], at[1], 0.0]) @ axes
        middle[2] += at[2] + size[2] / 2
        self.add(box(middle, np.maximum(np.asarray(size) / 2, 1e-3), axes), surface)

    def pillar(
        self, spot: Spot, at: Sequence[float], height: float, bottom: float, top: float,
        surface: Surface,
    ) -> None:  # fmt: skip
        """An upright cylinder or cone; `at` is the middle of its bottom."""
        foot = np.array([spot.x, spot.y, spot.z + at[2]])
        foot += np.array([at[0], at[1], 0.0]) @ upright_axes(spot.yaw)
        self.add(
            Frustum(foot.astype(np.float32), np.eye(3, dtype=np.float32), height, bottom, top),
            surface,
        )

    def rod(self, start: np.ndarray, end: np.ndarray, radius: float, surface: Surface) -> None:
        """A cylinder between two points of the world."""
        along = np.asarray(end, float) - start
        length = float(np.linalg.norm(along))
        if length < 1e-3:
            return
        third = along / length
        first = np.cross(third, [1.0, 0, 0] if abs(third[0]) < 0.8 else [0, 1.0, 0])
        first /= np.linalg.norm(first)
        axes = np.stack([first, np.cross(third, first), third]).astype(np.float32)
        self.add(Frustum(np.asarray(start, np.float32), axes, length, radius, radius), surface)

    def ball(
        self, spot: Spot, at: Sequence[float], radii: Sequence[float], surface: Surface
    ) -> None:
        """An ellipsoid; `at` is its middle."""
        axes = upright_axes(spot.yaw)
        middle = np.array([spot.x, spot.y, spot.z]) + np.array([at[0], at[1], 0.0]) @ axes
        middle[2] += at[2]
        self.add(
            Ellipsoid(
                middle.astype(np.float32), np.asarray(radii, np.float32), axes.astype(np.float32)
            ),
            surface,
        )


def table(make: Maker, spot: Spot) -> float:
    """A table or desk with clutter on it; its reach in metres."""
    make.new_thing()
    wide, deep, high = make.near(1.4, 0.5), make.near(0.8), make.near(0.74, 0.25)
    wood = make.paint(1.0)
    make.block(spot, (0, 0, high - 0.04), (wide, deep, 0.04), wood)
    if make.chance(0.25):
        make.pillar(spot, (0, 0, 0), high, 0.12, 0.05, wood)
    else:
        leg = make.near(0.05)
        for x in (-1, 1):
            for y in (-1, 1):
                at = (x * (wide / 2 - leg), y * (deep / 2 - leg), 0)
                make.block(spot, at, (leg, leg, high - 0.04), wood)
    for _ in range(make.count(0, 5)):
        x, y = make.rng.uniform(-0.42, 0.42, 2) * (wide, deep)
        trinket(make, _on(spot, x, y, high), make.near(0.2, 0.7))
    return max(wide, deep) / 2


def _on(spot: Spot, x: float, y: float, z: float) -> Spot:
    turn = np.array([x, y, 0.0]) @ upright_axes(spot.yaw)
    return Spot(spot.x + turn[0], spot.y + turn[1], spot.z + z, spot.yaw)


def trinket(make: Maker, spot: Spot, size: float) -> float:
    """Something small that stands: book, bottle, bowl, ball, lamp, plant, screen."""
    make.new_thing()
    spot = spot._replace(yaw=float(make.rng.uniform(0, np.pi)))
    paint = make.paint(size)
    kind = make.count(0, 6)
    if kind == 0:
        for level in range(make.count(1, 4)):
            edge = size * make.rng.uniform(0.7, 1.0, 2)
            make.block(spot, (0, 0, level * 0.15 * size), (*edge, 0.15 * size), make.paint(size))
    elif kind == 1:
        make.pillar(spot, (0, 0, 0), 0.7 * size, 0.22 * size, 0.22 * size, paint)
        make.pillar(spot, (0, 0, 0.7 * size), 0.5 * size, 0.16 * size, 0.07 * size, paint)
    elif kind == 2:
        make.pillar(spot, (0, 0, 0), 0.4 * size, 0.25 * size, 0.5 * size, paint)
    elif kind == 3:
        make.ball(spot, (0, 0, 0.4 * size), (0.4 * size,) * 3, paint)
    elif kind == 4:
        make.pillar(spot, (0, 0, 0), size, 0.04 * size, 0.04 * size, paint)
        make.pillar(
            spot, (0, 0, 0.8 * size), 0.5 * size, 0.45 * size, 0.25 * size, make.paint(size)
        )
    elif kind == 5:
        make.pillar(spot, (0, 0, 0), 0.5 * size, 0.2 * size, 0.3 * size, paint)
        for _ in range(3):
            x, y = make.rng.normal(0, 0.18 * size, 2)
            make.ball(
                spot, (x, y, 0.8 * size), (0.28 * size, 0.28 * size, 0.4 * size), make.leaves(size)
            )
    else:
        make.block(spot, (0, 0, 0), (1.2 * size, 0.08 * size, 0.8 * size), paint)
    return size


def chair(make: Maker, spot: Spot) -> float:
    """A chair or stool."""
    make.new_thing()
    wide, high = make.near(0.45, 0.2), make.near(0.46, 0.2)
    paint = make.paint(0.5)
    make.block(spot, (0, 0, high), (wide, wide, 0.05), paint)
    for x in (-1, 1):
        for y in (-1, 1):
            make.block(spot, (x * wide * 0.45, y * wide * 0.45, 0), (0.04, 0.04, high), paint)
    if make.chance(0.8):
        make.block(spot, (0, wide * 0.47, high), (wide, 0.04, make.near(0.5)), paint)
    return wide


def sofa(make: Maker, spot: Spot) -> float:
    """A sofa, armchair or bed, its back to +y."""
    make.new_thing()
    wide, deep, high = make.near(1.6, 0.6), make.near(0.9), make.near(0.42)
    cloth = make.paint(1.0)
    make.block(spot, (0, 0, 0.05), (wide, deep, high), cloth)
    make.block(spot, (0, deep / 2, 0), (wide, 0.2, high * make.rng.uniform(1.5, 2.2)), cloth)
    if make.chance(0.7):
        for side in (-1, 1):
            make.block(spot, (side * wide / 2, 0, 0), (0.2, deep, high * 1.5), cloth)
    for _ in range(make.count(0, 3)):
        x = make.rng.uniform(-0.4, 0.4) * wide
        make.ball(spot, (x, 0.25 * deep, high + 0.2), (0.25, 0.1, 0.2), make.paint(0.4))
    return wide / 2


def shelf(make: Maker, spot: Spot) -> float:
    """A cabinet or an open shelf with things in it, its back to +y."""
    make.new_thing()
    wide, deep, high = make.near(1.0, 0.6), make.near(0.4), make.near(1.3, 0.6)
    wood = make.paint(1.0)
    if make.chance(0.5):
        make.block(spot, (0, 0, 0), (wide, deep, high), wood)
        for _ in range(make.count(0, 3)):
            trinket(
                make, _on(spot, make.rng.uniform(-0.4, 0.4) * wide, 0, high), make.near(0.25, 0.6)
            )
        return wide / 2
    make.block(spot, (0, deep / 2, 0), (wide, 0.02, high), wood)
    for side in (-1, 1):
        make.block(spot, (side * wide / 2, 0, 0), (0.03, deep, high), wood)
    boards = make.count(2, 5)
    for level in range(boards + 1):
        z = high * level / boards
        make.block(spot, (0, 0, z), (wide, deep, 0.03), wood)
        for _ in range(make.count(0, 2) if level < boards else 0):
            tall = high / boards * make.rng.uniform(0.4, 0.9)
            size = (make.near(0.25, 0.5) * wide, 0.6 * deep, tall)
            make.block(spot, (make.rng.uniform(-0.35, 0.35) * wide, 0, z), size, make.paint(0.3))
    return wide / 2


def lamp(make: Maker, spot: Spot) -> float:
    """A standing lamp, sign or post."""
    make.new_thing()
    high = make.near(1.6, 0.4)
    metal = make.paint(0.5)
    make.pillar(spot, (0, 0, 0), 0.04, 0.16, 0.16, metal)
    make.pillar(spot, (0, 0, 0), high, 0.025, 0.02, metal)
    make.pillar(spot, (0, 0, high), 0.3, 0.22, make.rng.uniform(0.08, 0.22), make.paint(0.4))
    return 0.3


def crate(make: Maker, spot: Spot) -> float:
    """Boxes, bags and cans on the ground, sometimes stacked."""
    make.new_thing()
    size, z = make.near(0.45, 0.6), 0.0
    for _ in range(make.count(1, 3)):
        tall = size * make.rng.uniform(0.4, 1.1)
        if make.chance(0.7):
            make.block(
                spot, (0, 0, z), (size, size * make.rng.uniform(0.5, 1), tall), make.paint(0.5)
            )
        else:
            make.pillar(spot, (0, 0, z), tall, size / 2, size / 2, make.paint(0.5))
        z, size = z + tall, size * make.rng.uniform(0.6, 1)
    return size


def plant(make: Maker, spot: Spot) -> float:
    """A bush or a pot plant: many small leafy lumps."""
    make.new_thing()
    size, leaf = make.near(0.6, 0.6), make.leaves(0.3)
    if make.chance(0.5):
        make.pillar(spot, (0, 0, 0), 0.5 * size, 0.2 * size, 0.28 * size, make.paint(0.4))
    for _ in range(make.count(4, 9)):
        x, y = make.rng.normal(0, 0.35 * size, 2)
        radii = size * make.rng.uniform(0.12, 0.4, 3)
        make.ball(spot, (x, y, make.rng.uniform(0.3, 1.5) * size), radii, leaf)
    return size


def person(make: Maker, spot: Spot) -> float:
    """Somebody who stands, walks or sits."""
    make.new_thing()
    tall = make.near(1.7, 0.12)
    skin: Rgb = tuple(float(v * make.rng.uniform(0.35, 1)) for v in (0.9, 0.68, 0.55))  # type: ignore[assignment]  # three values
    face = Surface(texture="flat", colour=skin, second=skin, tile_m=0.2)
    shirt, trousers = make.paint(0.5), make.paint(0.5)
    step = make.rng.uniform(0, 0.25)
    hip = np.array([spot.x, spot.y, spot.z + 0.5 * tall])
    axes = upright_axes(spot.yaw)
    for side in (-1, 1):
        foot = hip + np.array([side * 0.09, side * step, 0]) @ axes - [0, 0, 0.5 * tall]
        make.rod(foot, hip + np.array([side * 0.08, 0, 0]) @ axes, 0.075, trousers)
        shoulder = hip + np.array([side * 0.2, 0, 0]) @ axes + [0, 0, 0.3 * tall]
        hand = shoulder + make.rng.normal(0, 0.2, 3) - [0, 0, 0.33 * tall]
        make.rod(shoulder, hand, 0.05, shirt)
    make.ball(spot, (0, 0, 0.66 * tall), (0.2, 0.13, 0.19 * tall), shirt)
    make.ball(spot, (0, 0, 0.92 * tall), (0.09, 0.1, 0.08 * tall), face)
    return 0.4


def contraption(make: Maker, spot: Spot) -> float:
    """A machine: wheels, rods, tanks and boxes in one bundle, such as a bicycle or a lathe."""
    make.new_thing()
    wide, deep, high = make.near(1.8, 0.4), make.near(0.5, 0.5), make.near(1.0, 0.3)
    axes = upright_axes(spot.yaw)
    base = np.array([spot.x, spot.y, spot.z])
    dark = make.paint(0.4, high=0.4)
    if make.chance(0.7):
        radius = min(0.35 * high, 0.3 * wide)
        for side in (-1, 1):
            hub = base + np.array([side * (wide / 2 - radius), 0, 0]) @ axes + [0, 0, radius]
            half = np.array([0, make.near(0.06), 0]) @ axes
            make.rod(hub - half, hub + half, radius, dark)
            make.rod(hub - 1.1 * half, hub + 1.1 * half, 0.6 * radius, make.paint(0.3))
    extent = np.array([wide / 2, deep / 2, high])
    for _ in range(make.count(6, 16)):
        ends = make.rng.uniform((-1, -1, 0.1), 1, (2, 3)) * extent
        make.rod(
            base + ends[0] @ axes, base + ends[1] @ axes, make.near(0.025, 0.6), make.paint(0.3)
        )
    for _ in range(make.count(3, 8)):
        x, y, z = make.rng.uniform((-0.6, -0.5, 0.3), (0.6, 0.5, 0.9)) * extent
        size = make.rng.uniform(0.08, 0.3, 3) * (wide, deep, high)
        if make.chance(0.5):
            make.ball(spot, (x, y, z), size / 1.5, make.paint(0.3))
        else:
            make.block(spot, (x, y, z - size[2] / 2), size, make.paint(0.3))
    return wide / 2


def car(make: Maker, spot: Spot) -> float:
    """A car or van, along its own x."""
    make.new_thing()
    long, wide, high = make.near(4.2, 0.2), make.near(1.8, 0.1), make.near(0.8, 0.2)
    paint, glass, tyre = (
        make.paint(3.0, photo=0.1),
        make.paint(1.0, high=0.3),
        make.paint(0.5, high=0.2),
    )
    make.block(spot, (0, 0, 0.25), (long, wide, high), paint)
    cabin = make.rng.uniform(0.4, 0.95) * long
    make.block(
        spot,
        (make.rng.uniform(-0.1, 0.1) * long, 0, 0.25 + high),
        (cabin, 0.9 * wide, make.near(0.6)),
        glass,
    )
    axes = upright_axes(spot.yaw)
    for x in (-0.32, 0.32):
        for y in (-0.5, 0.5):
            hub = (
                np.array([spot.x, spot.y, spot.z + 0.32]) + np.array([x * long, y * wide, 0]) @ axes
            )
            half = np.array([0, 0.1, 0]) @ axes
            make.rod(hub - half, hub + half, 0.33, tyre)
    return long / 2


def tree(make: Maker, spot: Spot) -> float:
    """A trunk with a crown of lumps, or a conifer."""
    make.new_thing()
    tall, leaf = make.near(6, 0.6), make.leaves(1.5)
    trunk = make.paint(0.5, low=0.1, high=0.5, photo=0.2)
    make.pillar(spot, (0, 0, 0), 0.6 * tall, 0.035 * tall, 0.02 * tall, trunk)
    if make.chance(0.25):
        make.pillar(spot, (0, 0, 0.15 * tall), 0.85 * tall, 0.22 * tall, 0.0, leaf)
        return 0.2 * tall
    for _ in range(make.count(3, 8)):
        x, y = make.rng.normal(0, 0.14 * tall, 2)
        radii = tall * make.rng.uniform(0.08, 0.22, 3)
        make.ball(spot, (x, y, tall * make.rng.uniform(0.5, 0.95)), radii, leaf)
    return 0.25 * tall


def house(make: Maker, spot: Spot) -> float:
    """A building: a block with windows as texture and sometimes a roof."""
    make.new_thing()
    wide, deep, high = make.near(10, 0.5), make.near(9, 0.4), make.near(7, 0.7)
    make.block(
        spot, (0, 0, 0), (wide, deep, high), make.paint(5.0, low=0.25, textures=ANY, photo=0.35)
    )
    if make.chance(0.4):
        make.block(spot, (0, 0, high), (1.06 * wide, 1.06 * deep, 0.4), make.paint(2.0))
    if make.chance(0.3):
        make.pillar(spot, (0, 0, high), 0.4 * wide, 0.6 * min(wide, deep), 0.0, make.paint(2.0))
    return max(wide, deep) / 2


def post(make: Maker, spot: Spot) -> float:
    """A street lamp, sign or bollard."""
    make.new_thing()
    high, metal = make.near(3.0, 1.0), make.paint(0.5, high=0.6)
    make.pillar(spot, (0, 0, 0), high, 0.06, 0.05, metal)
    if make.chance(0.6):
        make.block(
            spot, (0, 0, high - 0.3), (make.near(0.5, 0.5), 0.05, make.near(0.5)), make.paint(0.5)
        )
    return 0.2


def rock(make: Maker, spot: Spot) -> float:
    """A stone, or a low mound."""
    make.new_thing()
    size = make.near(0.6, 1.0)
    radii = size * make.rng.uniform(0.4, 1.0, 3)
    make.ball(spot, (0, 0, 0.1 * size), radii, make.paint(size, low=0.15, high=0.7))
    return size
