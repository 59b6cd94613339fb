"""The rendered scenes that the depth network learns from, cached in whole shards.

A shard is one `.npz` of raw arrays: image uint8 (N, H, W, 3), inverse depth float16 (N, H, W) in
1/m, instance uint8 (N, H, W). It appears under its name only when whole. The cache folder is named
after the *pixels* of two reference scenes, so a changed renderer never mixes its pictures with
older ones. Leaves out augmentation (`augment.py`).
"""

import hashlib
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from progress import Progress

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


def fingerprint(bank: TextureBank) -> str:
    """First 12 hex digits of the hash of two reference scenes."""
    digest = hashlib.sha256()
    for index in (0, 1):
        drawn = training_scene(index, bank)
        digest.update(drawn.image.tobytes() + drawn.depth_m.tobytes())
    return digest.hexdigest()[:12]


def shard_path(cache: Path, number: int) -> Path:
    """Where shard `number` lies."""
    return cache / f"scenes-{number:04d}.npz"


def fill_cache(root: Path, scenes: int, *, seconds: float = float("inf")) -> tuple[Path, int]:
    """Render what is missing.

    Args:
        root: cache root; a folder named after the renderer's fingerprint is made in it.
        scenes: wanted number of scenes, rounded up to whole shards.
        seconds: stop after this time.

    Returns:
        The folder and the number of whole shards in it, counted from 0 without a gap.

    """
    cv2.setNumThreads(1)
    bank = photo_bank()
    cache = root / f"renderer-{fingerprint(bank)}"
    cache.mkdir(parents=True, exist_ok=True)
    wanted = -(-scenes // SHARD)
    started = time.monotonic()
    progress = Progress("render", wanted * SHARD, "scenes")
    for number in range(wanted):
        if not shard_path(cache, number).exists():
            if time.monotonic() - started > seconds:
                return cache, number
            _write(cache, number, bank, progress)
        progress.at((number + 1) * SHARD)
    return cache, wanted


def _write(cache: Path, number: int, bank: TextureBank, progress: Progress) -> None:
    image = np.empty((SHARD, HEIGHT, WIDTH, 3), np.uint8)
    inverse = np.empty((SHARD, HEIGHT, WIDTH), np.float16)
    instance = np.empty((SHARD, HEIGHT, WIDTH), np.uint8)
    for row in range(SHARD):
        drawn = training_scene(number * SHARD + row, bank)
        image[row], instance[row] = drawn.image, drawn.instance
        inverse[row] = 1 / drawn.depth_m
        progress.at(number * SHARD + row)
    unfinished = cache / f".scenes-{number:04d}.tmp.npz"
    np.savez(unfinished, image=image, inverse=inverse, instance=instance)
    unfinished.rename(shard_path(cache, number))


def read_shard(cache: Path, number: int) -> Shard:
    """The arrays of one shard."""
    with np.load(shard_path(cache, number), allow_pickle=False) as stored:
        log_inverse = np.log(stored["inverse"].astype(np.float32)).astype(np.float16)
        return Shard(stored["image"], log_inverse, stored["instance"])
