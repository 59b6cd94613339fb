"""A small drawn scene with known depth, as files of every form that is read, and models that know
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

FOCAL_PX, BASELINE_MM, OFFSET_PX = 100.0, 500.0, 0.5


def scene(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A picture, uint8 (48, 64, 3), and its depth in metres: a floor and a near box on top."""
    rng = np.random.default_rng(seed)
    depth = np.repeat(np.linspace(6, 2, 48, dtype=np.float32)[:, None], 64, axis=1)
    depth[5:20, 10:30] = 1.5
    image = np.clip(255 / depth[..., None] + rng.integers(0, 9, (48, 64, 3)), 0, 255)
    return image.astype(np.uint8), depth


def write_image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), scene(seed)[0][:, :, ::-1])


def write_png(path: Path, per_m: float = 1000, hole: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.rint(scene()[1] * per_m).astype(np.uint16)
    if hole:
        values[:4] = 0
    cv2.imwrite(str(path), values)


def two_folders(folder: Path, count: int = 2) -> Path:
    for number in range(count):
        write_image(folder / "color" / f"{number}.png", number)
        write_png(folder / "depth" / f"{number}.png", hole=True)
    return folder


def disparity() -> np.ndarray:
    """Of the scene, for the cameras above, with an unknown corner."""
    values = FOCAL_PX * BASELINE_MM / 1000 / scene()[1] - OFFSET_PX
    values[0, 0] = np.inf
    return values.astype(np.float32)


class Knows:
    """A model that knows the drawn scene, at half its size, up to ``sign``."""

    output, weights_sha256, device, dtype = "inverse", "0" * 64, "cpu", "float32"
    libraries: tuple[str, ...] = ()

    def __init__(self, name: str, sign: float = 1) -> None:
        self.model_id = name
        self.sign = sign

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        return [np.float32(self.sign) / scene()[1][::2, ::2] for _ in images]


MODELS = [Knows("org/good#inverse"), Knows("org/bad", sign=-1)]
