"""The rendered pictures that the depth network learns from, cached in whole shards.

Five sources: `toolkit`, the scenes of the data toolkit, `worlds`, those of `worlds.py`,
`interiors`, those of `interiors.py`, `glossy`, others of the latter two with something in them
that reflects (`reflections.py`), and `company`, those of `company.py`. A shard is one `.npz` of
raw arrays: image uint8 (N, H, W, 3), inverse depth float16 (N, H, W) in 1/m, instance uint8
(N, H, W). It appears under its name only when whole. A cache folder is named after its source and
the *pixels* of two reference pictures, so a changed renderer never mixes its pictures with older
ones. Leaves out augmentation (`augment.py`).
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from company import draw_company
from interiors import draw_interior
from reflections import draw_glossy
from worlds import draw_world

from pearl_data.progress import Progress
from pearl_data.rendering import (
    Rendered,
    SceneBrief,
    SceneNotFoundError,
    TextureBank,
    render,
    sample_scene,
)

WIDTH, HEIGHT = 256, 192
SHARD = 250
TRAIN_SEED = 1 << 40
"""First seed of the training scenes; other users of the renderer take small seeds, the evaluation
`1 << 41` and up.
"""
MIXED = 9_500
"""Of the first so many scenes one in four keeps its colours clean and three are wild; all later
ones are clean."""
PHOTOS = ("astronaut", "brick", "chelsea", "coffee", "grass", "gravel", "rocket")
"""Photographs of scikit-image used as textures; all CC0 or public domain."""


Draw = Callable[[int, TextureBank], Rendered]


class Shard(NamedTuple):
    """Scenes of one shard as the training wants them: as stored, but the logarithm of inverse
    depth.
    """

    image: npt.NDArray[np.uint8]
    log_inverse: npt.NDArray[np.float16]
    instance: npt.NDArray[np.uint8]


def photo_bank() -> TextureBank:
    """Textures with the photographs that scikit-image carries (extra `photos`)."""
    from skimage import data

    photos = {}
    for name in PHOTOS:
        picture = np.asarray(getattr(data, name)())
        photos[name] = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    return TextureBank(photos)


def training_scene(index: int, bank: TextureBank) -> Rendered:
    """Training scene number `index`, drawn at 256 x 192."""
    variety = "clean" if index % 4 == 0 or index >= MIXED else "wild"
    # A scene that finds no place moves on to a far seed, so that the number of scenes does not
    # depend on luck.
    for attempt in range(20):
        try:
            seed = TRAIN_SEED + index + attempt * (1 << 30)
            return render(
                sample_scene(
                    seed, SceneBrief(variety=variety), width=WIDTH, height=HEIGHT, bank=bank
                ),
                bank=bank,
            )
        except SceneNotFoundError:
            continue
    raise SceneNotFoundError(f"training scene {index}: no scene in 20 seeds")


def training_world(index: int, bank: TextureBank) -> Rendered:
    """Training world number `index`, drawn at 256 x 192."""
    return draw_world(TRAIN_SEED + index, bank, WIDTH, HEIGHT)


def training_interior(index: int, bank: TextureBank) -> Rendered:
    """Training interior number `index`, drawn at 256 x 192."""
    return draw_interior(TRAIN_SEED + index, bank, WIDTH, HEIGHT)


def training_glossy(index: int, bank: TextureBank) -> Rendered:
    """Training scene with reflections number `index`, drawn at 256 x 192."""
    return draw_glossy(TRAIN_SEED + index, bank, WIDTH, HEIGHT)


def training_company(index: int, bank: TextureBank) -> Rendered:
    """Training company number `index`, drawn at 256 x 192."""
    return draw_company(TRAIN_SEED + index, bank, WIDTH, HEIGHT)


SOURCES: dict[str, Draw] = {
    "toolkit": training_scene,
    "worlds": training_world,
    "interiors": training_interior,
    "glossy": training_glossy,
    "company": training_company,
}


def fingerprint(draw: Draw, bank: TextureBank) -> str:
    """First 12 hex digits of the hash of two reference pictures."""
    digest = hashlib.sha256()
    for index in (0, 1):
        drawn = draw(index, bank)
        digest.update(drawn.image.tobytes() + drawn.depth_m.tobytes())
    return digest.hexdigest()[:12]


def shard_path(cache: Path, number: int) -> Path:
    """Where shard `number` lies."""
    return cache / f"scenes-{number:04d}.npz"


def fill_cache(root: Path, source: str, numbers: Sequence[int]) -> Path:
    """The folder of `source` under `root`, named after the renderer's fingerprint; its shards
    `numbers` are rendered where they are missing.
    """
    cv2.setNumThreads(1)
    bank, draw = photo_bank(), SOURCES[source]
    cache = root / f"{source}-{fingerprint(draw, bank)}"
    cache.mkdir(parents=True, exist_ok=True)
    missing = [number for number in numbers if not shard_path(cache, number).exists()]
    with Progress(f"render {source}", len(missing) * SHARD, "scenes") as progress:
        for number in missing:
            _write(cache, number, draw, bank, progress)
    return cache


def _write(cache: Path, number: int, draw: Draw, bank: TextureBank, progress: Progress) -> None:
    image = np.empty((SHARD, HEIGHT, WIDTH, 3), np.uint8)
    inverse = np.empty((SHARD, HEIGHT, WIDTH), np.float16)
    instance = np.empty((SHARD, HEIGHT, WIDTH), np.uint8)
    for row in range(SHARD):
        drawn = draw(number * SHARD + row, bank)
        image[row], instance[row] = drawn.image, drawn.instance
        inverse[row] = 1 / drawn.depth_m
        progress.advance()
    unfinished = cache / f".scenes-{number:04d}.tmp.npz"
    np.savez(unfinished, image=image, inverse=inverse, instance=instance)
    unfinished.rename(shard_path(cache, number))


def read_shard(cache: Path, number: int) -> Shard:
    """The arrays of one shard."""
    with np.load(shard_path(cache, number), allow_pickle=False) as stored:
        log_inverse = np.log(stored["inverse"].astype(np.float32)).astype(np.float16)
        return Shard(stored["image"], log_inverse, stored["instance"])
