"""What things are painted with: surfaces for objects, walls, floors, furniture and labels.

Leaves out the textures themselves (`textures.py`) and the shape of things.
"""

import numpy as np

from pearl_data.rendering.kit import Kit
from pearl_data.rendering.scene import Rgb, Surface
from pearl_data.rendering.textures import PROCEDURAL, TextureBank
from pearl_data.rendering.vocabulary import COLOUR_RGB, Colour, Pattern

_PATTERN_TEXTURE: dict[Pattern, tuple[str, ...]] = {
    "plain": ("flat", "clouds"),
    "striped": ("stripes", "thin_stripes"),
    "checked": ("checks",),
    "speckled": ("speckle", "dots"),
}
_FLOORS = ("planks", "tiles", "carpet", "checks", "wood", "flat", "clouds", "bricks")
_WALLS = ("flat", "flat", "clouds", "thin_stripes", "bricks", "panels", "gradient", "tiles")
_GROUNDS = ("grass", "clouds", "carpet", "tiles", "speckle", "bricks")
_WOODS = ("wood", "planks", "flat", "clouds")
_ANY = tuple(PROCEDURAL)
_FURNITURE: tuple[Rgb, ...] = (
    (0.58, 0.42, 0.26),
    (0.44, 0.31, 0.20),
    (0.66, 0.54, 0.38),
    (0.52, 0.52, 0.54),
    (0.42, 0.44, 0.47),
)


def mixed(first: Rgb, second: Rgb, share: float) -> Rgb:
    """`first` with `share` (0..1) of `second`."""
    r, g, b = (float(p + (q - p) * share) for p, q in zip(first, second, strict=True))
    return (r, g, b)


def muted(
    rng: np.random.Generator, low: float = 0.35, high: float = 0.9, saturation: float = 0.16
) -> Rgb:
    """A pale or greyish colour."""
    grey = rng.uniform(low, high)
    r, g, b = np.clip(grey + rng.normal(0, saturation * grey / 2, 3), 0.03, 1)
    return (float(r), float(g), float(b))


class Painter:
    """Draws surfaces at random.

    Args:
        rng: the scene's generator.
        bank: which photographs there are.
        kit: the grain of materials.
        wild: any texture anywhere.

    """

    def __init__(
        self, rng: np.random.Generator, bank: TextureBank, kit: Kit, *, wild: bool
    ) -> None:
        self._rng = rng
        self._photos = bank.photo_names
        self._grain_m = kit.grain_m
        self._wild = wild

    def object(self, colour: Colour) -> tuple[Surface, Pattern]:
        """The surface of an object described as `colour`, and the word for its pattern."""
        rng = self._rng
        pattern: Pattern = ("plain", "plain", "plain", "striped", "checked", "speckled")[
            int(rng.integers(6))
        ]
        base = COLOUR_RGB[colour]
        if self._wild and rng.random() < 0.5:
            return self._any(self._grain_m * 2), pattern
        other: Rgb = (1.0, 1.0, 1.0) if sum(base) < 1.2 else (0.0, 0.0, 0.0)
        texture = _pick(rng, _PATTERN_TEXTURE[pattern])
        surface = Surface(
            texture=texture,
            colour=base,
            second=mixed(base, other, 0.22 if pattern != "plain" else 0.12),
            tile_m=self._grain_m,
            offset=self._offset(),
            gloss=float(rng.choice([0.0, 0.15, 0.4])),
        )
        return surface, pattern

    def floor(self, *, outdoors: bool, scale_m: float) -> Surface:
        """A floor or ground; `scale_m` is a typical length of the place."""
        tile_m = scale_m * self._rng.uniform(0.12, 0.45)
        return self._structure(_GROUNDS if outdoors else _FLOORS, tile_m, 0.25, 0.75, 0.25)

    def wall(self, scale_m: float) -> Surface:
        """A wall or ceiling."""
        return self._structure(_WALLS, scale_m * self._rng.uniform(0.1, 0.4), 0.5, 0.95, 0.14)

    def furniture(self) -> Surface:
        """A table, pedestal, shelf, cabinet or column.

        In a clean scene it is brown or grey, which are no colour words of objects, so that a dark
        pedestal is never taken for one more black cylinder.
        """
        if self._wild:
            return self._structure(_WOODS, self._grain_m, 0.2, 0.8, 0.3)
        rng = self._rng
        base = _FURNITURE[int(rng.integers(len(_FURNITURE)))]
        shade = float(rng.uniform(0.8, 1.15))
        first: Rgb = (base[0] * shade, base[1] * shade, base[2] * shade)
        return Surface(
            texture=_pick(rng, _WOODS),
            colour=first,
            second=mixed(first, (0.15, 0.12, 0.1), float(rng.uniform(0.2, 0.45))),
            tile_m=self._grain_m,
            offset=self._offset(),
        )

    def poster(self, size_m: float) -> Surface:
        """A picture, door or window on a wall: a photograph if there are any."""
        rng = self._rng
        if self._photos and rng.random() < 0.6:
            # One tile of a photograph is its mirrored double, so half a tile fills the poster.
            return Surface(
                texture=_pick(rng, self._photos),
                colour=(1, 1, 1),
                second=(1, 1, 1),
                tile_m=2 * size_m,
                offset=(0.25, 0.25),
            )
        return self._structure(_ANY, size_m * rng.uniform(0.4, 1.2), 0.2, 0.95, 0.5)

    def metal(self) -> Surface:
        """A rod or bracket."""
        grey = float(self._rng.uniform(0.35, 0.6))
        return Surface(
            texture="flat",
            colour=(grey, grey, grey),
            second=(grey * 0.8,) * 3,
            tile_m=0.3,
            gloss=0.3,
        )

    def sky(self, distance_m: float) -> tuple[Surface, Surface]:
        """The far wall and the ceiling of open ground."""
        rng = self._rng
        blue = rng.uniform(0.5, 0.95)
        top: Rgb = (
            float(blue * rng.uniform(0.6, 0.95)),
            float(blue * rng.uniform(0.8, 1.0)),
            float(blue),
        )
        haze = mixed(top, (0.95, 0.95, 0.95), float(rng.uniform(0.2, 0.8)))
        clouds = Surface(
            texture="clouds",
            colour=top,
            second=haze,
            tile_m=distance_m,
            glow=1.0,
            offset=self._offset(),
        )
        return clouds, clouds

    def label(self, character: str, edge_m: float) -> Surface:
        """The face of a label plate: dark ink on light paper, bright even in shadow."""
        return Surface(
            texture=f"glyph:{character}",
            colour=(0.97, 0.97, 0.93),
            second=(0.04, 0.04, 0.08),
            tile_m=edge_m,
            offset=(0.5, 0.5),
            glow=0.75,
        )

    def _structure(
        self, textures: tuple[str, ...], tile_m: float, low: float, high: float, saturation: float
    ) -> Surface:
        rng = self._rng
        if self._wild and rng.random() < 0.55:
            return self._any(tile_m * 2)
        first = muted(rng, low, high, saturation)
        if rng.random() < 0.5:
            second = mixed(first, muted(rng, low, high, saturation), 0.8)
        else:
            contrast: Rgb = (0.05, 0.05, 0.05) if sum(first) > 1.2 else (1.0, 1.0, 1.0)
            second = mixed(first, contrast, float(rng.uniform(0.15, 0.4)))
        return Surface(
            texture=_pick(rng, textures),
            colour=first,
            second=second,
            tile_m=float(tile_m),
            offset=self._offset(),
        )

    def _any(self, tile_m: float) -> Surface:
        rng = self._rng
        if self._photos and rng.random() < 0.65:
            tint = mixed((1, 1, 1), muted(rng, 0.3, 1.0, 0.8), float(rng.uniform(0, 0.7)))
            return Surface(
                texture=_pick(rng, self._photos),
                colour=tint,
                second=tint,
                tile_m=float(tile_m),
                offset=self._offset(),
                gloss=float(rng.choice([0.0, 0.3])),
            )
        first, second = muted(rng, 0.05, 0.95, 1.2), muted(rng, 0.05, 0.95, 1.2)
        return Surface(
            texture=_pick(rng, _ANY),
            colour=first,
            second=second,
            tile_m=float(tile_m),
            offset=self._offset(),
            gloss=float(rng.choice([0.0, 0.3])),
        )

    def _offset(self) -> tuple[float, float]:
        x, y = self._rng.random(2)
        return (float(x), float(y))


def _pick(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    return names[int(rng.integers(len(names)))]
