"""Random changes to a training picture and its truth: crop, flip, colour, noise, JPEG, style.

Leaves out rendering. Every draw comes from the generator that is passed in.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from lens import photographed


class Sample(NamedTuple):
    """One training sample of H x W pixels: uint8 RGB, float32 log inverse depth, int64 instance."""

    image: npt.NDArray[np.uint8]
    log_inverse: npt.NDArray[np.float32]
    instance: npt.NDArray[np.int64]


def augment(
    rng: np.random.Generator,
    image: npt.NDArray[np.uint8],
    log_inverse: npt.NDArray[np.float16],
    instance: npt.NDArray[np.uint8],
    size: tuple[int, int],
    *,
    gentle: bool = False,
    restyled: float = 0.0,
    faded: float = 0.0,
    lens: float = 0.0,
) -> Sample:
    """A random view of a scene, `size` = (height, width) pixels; `gentle` changes it less, and so
    large shares of pictures are `restyled`, `faded` and taken through a `lens`.
    """
    height, width = size
    rows, columns = image.shape[:2]
    least, often = (0.75, 0.5) if gentle else (0.6, 0.7)
    scale = rng.uniform(least, 1.0) if rng.random() < often else 1.0
    # The crop keeps the target's aspect ratio up to a mild stretch.
    aspect = width / height * np.exp(rng.normal(0, 0.06))
    crop_h = min(rows, columns / aspect) * scale
    crop_w = min(columns, round(crop_h * aspect))
    crop_h = round(crop_h)
    top, left = int(rng.integers(rows - crop_h + 1)), int(rng.integers(columns - crop_w + 1))
    window = np.s_[top : top + crop_h, left : left + crop_w]
    smooth = cv2.INTER_AREA if crop_h > height else cv2.INTER_LINEAR
    picture = cv2.resize(image[window], (width, height), interpolation=smooth)
    truth = cv2.resize(
        log_inverse[window].astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST
    )
    ids = cv2.resize(instance[window], (width, height), interpolation=cv2.INTER_NEAREST)
    if rng.random() < 0.5:
        picture, truth, ids = picture[:, ::-1], truth[:, ::-1], ids[:, ::-1]
    if lens and rng.random() < lens:
        picture = photographed(rng, picture, truth)
    if not gentle or rng.random() < 0.5:
        picture = _film(rng, np.ascontiguousarray(picture))
    if faded and rng.random() < faded:
        picture = fade(rng, np.ascontiguousarray(picture))
    if restyled and rng.random() < restyled:
        picture = restyle(rng, np.ascontiguousarray(picture))
    return Sample(picture, np.ascontiguousarray(truth), np.ascontiguousarray(ids).astype(np.int64))


def fade(rng: np.random.Generator, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Up to nine tenths of the saturation gone: rooms and streets are paler than ours."""
    kept = rng.uniform(0.1, 0.6)
    matrix = kept * np.eye(3) + (1 - kept) / 3
    return np.asarray(cv2.transform(picture, matrix), np.uint8)


def restyle(rng: np.random.Generator, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Textures and colours of no place on earth, shapes as they were: a random convolution, mixed
    with the picture by chance (RandConv, Xu et al. 2021, eq. 3). A network that has seen those
    leans less on how our renderer paints.
    """
    size = int(rng.choice((1, 3, 5, 7)))
    kernels = rng.normal(0, 1 / (size * math.sqrt(3)), (3, 3, size, size))
    before = picture.astype(np.float32)
    after = np.stack(
        [sum(cv2.filter2D(before[..., i], -1, kernels[o, i]) for i in range(3)) for o in range(3)],
        axis=2,
    )
    # mean and spread of each channel are kept: how bright pictures are is `_film`'s to say
    level, spread = after.mean(axis=(0, 1)), after.std(axis=(0, 1)) + 1e-3
    after = (after - level) / spread * before.std(axis=(0, 1)) + before.mean(axis=(0, 1))
    share = np.float32(rng.random())
    mixed = share * before + (1 - share) * after
    return np.clip(mixed, 0, 255).astype(np.uint8)


def _film(rng: np.random.Generator, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if rng.random() < 0.8:
        # Saturation and white balance as one 3x3 matrix, contrast, brightness and gamma as one
        # table: all in 8 bits.
        saturation = 0.0 if rng.random() < 0.06 else rng.uniform(0.4, 1.4)
        matrix = saturation * np.eye(3) + (1 - saturation) / 3
        picture = cv2.transform(picture, matrix * rng.uniform(0.85, 1.15, (3, 1)))
        level = np.arange(256) / 255
        level = (level - 0.5) * rng.uniform(0.7, 1.3) + 0.5 + rng.uniform(-0.12, 0.12)
        table = np.clip(level, 0, 1) ** np.exp(rng.normal(0, 0.2)) * 255
        picture = cv2.LUT(picture, table.astype(np.uint8))
    if rng.random() < 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < 0.25:
        noise = rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(
            255 * rng.uniform(0.005, 0.05)
        )
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        _, packed = cv2.imencode(
            ".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))]
        )
        picture = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    return picture
