"""Textures as small pictures with mip levels: procedural ones always, photographs if the caller
gives some.

A procedural texture is one channel, 0..1, that blends the two colours of a `Surface`; a photograph
has its own three channels. The glyph of a label is a texture too (`glyph:A`). All repeat without a
seam, except glyphs, whose plate is one tile wide. Leaves out which thing gets which texture
(`materials.py`).
"""

from collections.abc import Callable, Mapping
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from pearl_data.rendering.solids import Floats

TILE_PX: Final = 256
_COARSEST_PX: Final = 4
# cv2.remap refuses pictures with a side above 32767, so positions are sampled in rows of this many.
_ROW: Final = 1024
_SEED: Final = 20240611


def _noise(rng: np.random.Generator, cells: int, octaves: int = 4, stretch: int = 1) -> Floats:
    """Tileable smooth noise, 0..1, with `cells` coarse cells a side; `stretch` > 1 lengthens it to
    the right.
    """
    total = np.zeros((TILE_PX, TILE_PX), np.float32)
    for octave in range(octaves):
        rows = min(cells << octave, TILE_PX)
        columns = max(rows // stretch, 1)
        grid = rng.random((rows, columns), dtype=np.float32)
        wrapped = np.pad(grid, ((2, 2), (2, 2)), mode="wrap")
        scale_y, scale_x = TILE_PX // rows, TILE_PX // columns
        large = cv2.resize(
            wrapped,
            (wrapped.shape[1] * scale_x, wrapped.shape[0] * scale_y),
            interpolation=cv2.INTER_LINEAR,
        )
        total += large[
            2 * scale_y : 2 * scale_y + TILE_PX, 2 * scale_x : 2 * scale_x + TILE_PX
        ] * np.float32(0.55**octave)
    low, high = np.percentile(total, (1, 99))
    return _f32(np.clip((total - low) / (high - low), 0, 1))


def _f32(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float32)


def _grid(cells_x: int, cells_y: int) -> tuple[Floats, Floats]:
    """Positions in cells: (TILE_PX, TILE_PX) arrays from 0 to `cells_x` and `cells_y`."""
    axis = (np.arange(TILE_PX, dtype=np.float32) + 0.5) / TILE_PX
    return np.broadcast_to(axis[None, :] * cells_x, (TILE_PX,) * 2), np.broadcast_to(
        axis[:, None] * cells_y, (TILE_PX,) * 2
    )


def _shifted(x: Floats, y: Floats) -> tuple[npt.NDArray[np.float64], Floats]:
    """The same positions with every other row moved by half a cell."""
    return x + 0.5 * (np.floor(y) % 2).astype(np.float64), y


def _flat(rng: np.random.Generator) -> Floats:
    return _noise(rng, 64, 2) * np.float32(0.15)


def _clouds(rng: np.random.Generator) -> Floats:
    return _noise(rng, 4, 5)


def _speckle(rng: np.random.Generator) -> Floats:
    return (_noise(rng, 64, 2) > 0.72).astype(np.float32)


def _dots(rng: np.random.Generator) -> Floats:
    x, y = _shifted(*_grid(6, 6))
    return _f32(np.hypot(x % 1 - 0.5, y % 1 - 0.5) < 0.3)


def _checks(rng: np.random.Generator) -> Floats:
    x, y = _grid(8, 8)
    return ((np.floor(x) + np.floor(y)) % 2).astype(np.float32)


def _stripes(rng: np.random.Generator) -> Floats:
    return (_grid(1, 8)[1] % 1 < 0.5).astype(np.float32)


def _thin_stripes(rng: np.random.Generator) -> Floats:
    return (_grid(12, 1)[0] % 1 < 0.25).astype(np.float32)


def _bricks(rng: np.random.Generator) -> Floats:
    x, y = _shifted(*_grid(6, 12))
    mortar = (x % 1 < 0.06) | (y % 1 < 0.12)
    tone = rng.random((12, 7), dtype=np.float32)[
        np.floor(y).astype(int), np.floor(x).astype(int) % 6
    ]
    return np.where(mortar, np.float32(1), 0.45 * tone + 0.15 * _noise(rng, 32, 3)).astype(
        np.float32
    )


def _tiles(rng: np.random.Generator) -> Floats:
    x, y = _grid(4, 4)
    joint = (x % 1 < 0.05) | (y % 1 < 0.05)
    tone = rng.random((4, 4), dtype=np.float32)[np.floor(y).astype(int), np.floor(x).astype(int)]
    return np.where(joint, np.float32(1), 0.35 * tone + 0.1 * _noise(rng, 16, 3)).astype(np.float32)


def _planks(rng: np.random.Generator) -> Floats:
    _, y = _grid(1, 8)
    tone = rng.random(8, dtype=np.float32)[np.floor(y).astype(int)]
    return np.where(
        y % 1 < 0.05, np.float32(1), 0.35 * tone + 0.4 * _noise(rng, 32, 3, stretch=8)
    ).astype(np.float32)


def _wood(rng: np.random.Generator) -> Floats:
    _, y = _grid(1, 10)
    wave = np.sin((y + 1.5 * _noise(rng, 4, 3, stretch=4)) * 2 * np.pi)
    return (0.5 + 0.35 * wave + 0.15 * _noise(rng, 64, 2, stretch=16)).astype(np.float32)


def _grass(rng: np.random.Generator) -> Floats:
    return (0.6 * _noise(rng, 64, 3) + 0.4 * _noise(rng, 8, 3)).astype(np.float32)


def _carpet(rng: np.random.Generator) -> Floats:
    x, y = _grid(32, 32)
    weave = (np.sin(x * 2 * np.pi) * np.sin(y * 2 * np.pi) + 1) / 2
    return _f32(0.4 * weave + 0.6 * _noise(rng, 16, 4))


def _panels(rng: np.random.Generator) -> Floats:
    x, y = _grid(2, 2)
    edge = np.minimum(np.abs(x % 1 - 0.5), np.abs(y % 1 - 0.5))
    frame = (np.maximum(np.abs(x % 1 - 0.5), np.abs(y % 1 - 0.5)) > 0.44).astype(np.float32)
    return _f32(0.8 * frame + 0.15 * (edge < 0.02) + 0.1 * _noise(rng, 16, 3))


def _gradient(rng: np.random.Generator) -> Floats:
    _, y = _grid(1, 1)
    return _f32((0.5 - 0.5 * np.cos(y * 2 * np.pi)) * 0.8 + 0.2 * _noise(rng, 8, 3))


PROCEDURAL: Final[Mapping[str, Callable[[np.random.Generator], Floats]]] = {
    "flat": _flat,
    "clouds": _clouds,
    "speckle": _speckle,
    "dots": _dots,
    "checks": _checks,
    "stripes": _stripes,
    "thin_stripes": _thin_stripes,
    "bricks": _bricks,
    "tiles": _tiles,
    "planks": _planks,
    "wood": _wood,
    "grass": _grass,
    "carpet": _carpet,
    "panels": _panels,
    "gradient": _gradient,
}
"""The procedural textures; each always looks the same, whatever else is drawn."""


def _glyph(character: str) -> Floats:
    """A plate of one tile: 1 is ink, 0 is paper, with a thin frame."""
    size = 4 * TILE_PX
    canvas = np.zeros((2 * size, 2 * size), np.uint8)
    cv2.putText(
        canvas,
        character,
        (size // 2, 3 * size // 2),
        cv2.FONT_HERSHEY_SIMPLEX,
        24.0,
        255,
        92,
        cv2.LINE_AA,
    )
    # The size that cv2 reports leaves out the stroke's width, so the ink itself is measured and
    # centred.
    rows, columns = np.flatnonzero(canvas.any(axis=1)), np.flatnonzero(canvas.any(axis=0))
    ink = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = 0.70 * size / max(ink.shape)
    size_px = (round(ink.shape[1] * scale), round(ink.shape[0] * scale))
    ink = np.asarray(cv2.resize(ink, size_px, interpolation=cv2.INTER_AREA), np.uint8)
    plate = np.zeros((size, size), np.uint8)
    top, left = (size - ink.shape[0]) // 2, (size - ink.shape[1]) // 2
    plate[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    cv2.rectangle(plate, (0, 0), (size - 1, size - 1), 150, size // 18)
    small = cv2.resize(plate, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
    return (small / np.float32(255)).astype(np.float32)


def _mips(tile: Floats) -> list[Floats]:
    levels = [tile]
    while levels[-1].shape[0] > _COARSEST_PX:
        half = levels[-1].shape[0] // 2
        levels.append(_f32(cv2.resize(levels[-1], (half, half), interpolation=cv2.INTER_AREA)))
    return levels


class TextureBank:
    """All textures that a scene may use.

    Args:
        photos: name -> uint8 (H, W, 3) RGB picture, any size; stored mirrored so that it repeats
            without a seam.

    Textures are made when first used and kept; a name always gives the same picture.

    """

    def __init__(self, photos: Mapping[str, npt.NDArray[np.uint8]] | None = None) -> None:
        self._photos = dict(sorted((photos or {}).items()))
        self._levels: dict[str, list[Floats]] = {}

    @property
    def photo_names(self) -> tuple[str, ...]:
        """Names of the photographs in the bank, as a `Surface` gives them (`photo:brick`),
        sorted.
        """
        return tuple(f"photo:{name}" for name in self._photos)

    def levels(self, name: str) -> list[Floats]:
        """Mip levels of a texture, finest first: (s, s) for a pattern, (s, s, 3) for a photograph,
        values 0..1.

        Raises:
            KeyError: no such texture in this bank.

        """
        if name not in self._levels:
            self._levels[name] = _mips(self._tile(name))
        return self._levels[name]

    def _tile(self, name: str) -> Floats:
        kind, _, detail = name.partition(":")
        if kind == "photo" and detail in self._photos:
            photo = self._photos[detail]
            half = TILE_PX // 2
            side = min(photo.shape[:2])
            top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
            square = photo[top : top + side, left : left + side].astype(np.float32) / np.float32(
                255
            )
            quarter = cv2.resize(square, (half, half), interpolation=cv2.INTER_AREA)
            upper = np.concatenate([quarter, quarter[:, ::-1]], axis=1)
            return np.concatenate([upper, upper[::-1]], axis=0).astype(np.float32)
        if kind == "glyph" and len(detail) == 1:
            return _glyph(detail)
        if name in PROCEDURAL:
            # The position in the sorted table, not the order of use, seeds a texture.
            return PROCEDURAL[name](np.random.default_rng((_SEED, sorted(PROCEDURAL).index(name))))
        known = ", ".join((*PROCEDURAL, *self.photo_names))
        raise KeyError(
            f"texture {name!r} is not in this bank; it has {known} and glyph:<character>"
        )

    def sample(self, name: str, uv: Floats, footprint: Floats) -> Floats:
        """Texture values at positions in tiles.

        Args:
            name: texture name.
            uv: (2, N) positions; whole numbers are tile borders.
            footprint: (N) width of one picture pixel in tiles, which picks the mip level.

        Returns:
            (N) for a pattern or (N, 3) for a photograph, 0..1, bilinear within the nearest mip
            level.

        """
        levels = self.levels(name)
        wanted = np.log2(np.maximum(footprint * np.float32(TILE_PX), np.float32(1)))
        level = np.minimum(np.floor(wanted + np.float32(0.35)), len(levels) - 1).astype(np.int8)
        result = np.empty((uv.shape[1], *levels[0].shape[2:]), np.float32)
        for index in np.flatnonzero(np.bincount(level, minlength=len(levels))):
            chosen = np.flatnonzero(level == index)
            result[chosen] = _bilinear(levels[index], uv[:, chosen])
        return result


def _bilinear(tile: Floats, uv: Floats) -> Floats:
    size = tile.shape[0]
    position = (uv - np.floor(uv)) * np.float32(size) - np.float32(0.5)
    count = position.shape[1]
    rows = -(-count // _ROW)
    padded = np.zeros((2, rows * _ROW), np.float32)
    padded[:, :count] = position
    maps = padded.reshape(2, rows, _ROW)
    values = cv2.remap(tile, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    flat: Floats = values.reshape(rows * _ROW, *tile.shape[2:])[:count]
    return flat
