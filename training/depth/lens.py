"""What a camera makes of distance: a plane in focus with blur before and behind it, and a flash
that falls off.

Works on a rendered picture and its truth, so that it costs no rendering and is another at every
visit. Leaves out what tells nothing of distance (`augment.py`).
"""

import cv2
import numpy as np
import numpy.typing as npt

LEVELS = (0.8, 1.6, 3.2, 6.4)
"""Standard deviations of the blurred copies that a picture is put together from, in pixels."""


def photographed(
    rng: np.random.Generator, picture: npt.NDArray[np.uint8], log_inverse: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """uint8 RGB (H, W, 3) as a camera might take it: out of focus in places (four in five), lit by
    a flash (one in four). `log_inverse` (H, W) is the truth, of unknown scale.
    """
    inverse = np.exp(log_inverse - np.quantile(log_inverse[::4, ::4], 0.98))  # 1 is nearly nearest
    focused = rng.random() < 0.8
    light = np.square(picture.astype(np.float32) / 255)  # about linear
    if not focused or rng.random() < 0.1:
        light = flashed(light, inverse, float(rng.uniform(0.5, 1.0)), float(rng.uniform(0.03, 0.5)))
    if focused:
        middle = inverse[inverse.shape[0] // 4 : -inverse.shape[0] // 4]
        sharp = float(np.quantile(middle[::4, ::4], rng.uniform(0.3, 0.98)))
        light = defocused(light, inverse - sharp, float(rng.uniform(1.0, 6.4)))
    return np.asarray(np.sqrt(light) * 255 + 0.5, np.uint8)


def flashed(
    light: npt.NDArray[np.float32], inverse: npt.NDArray[np.float32], lit: float, ambient: float
) -> npt.NDArray[np.float32]:
    """Linear light (H, W, 3) under a lamp at the camera that falls off with the square of distance
    and leaves a picture at inverse depth `lit` as bright as it was; a share is `ambient`.
    """
    gain = ambient + (1 - ambient) * np.square(inverse / lit)
    return np.minimum(light * gain[..., None].astype(np.float32), 1)


def defocused(
    light: npt.NDArray[np.float32], off: npt.NDArray[np.float32], most: float
) -> npt.NDArray[np.float32]:
    """Linear light (H, W, 3) through a thin lens: the circle of confusion grows with the distance
    in inverse depth from the plane in focus, `off` (H, W), `most` pixels at a distance of 1.

    Each level is blurred from those pixels alone that are about as blurred themselves, so that what
    is in focus leaves no ghost around it.
    """
    sigma = np.minimum(most * np.abs(off), LEVELS[-1])
    levels = [level for level in LEVELS if level < 2 * sigma.max()]
    blurred = [light]
    for level in levels:
        own = np.clip(sigma / level, 0, 1)[..., None] ** 2 + np.float32(1e-4)
        spread = cv2.GaussianBlur(np.concatenate([light * own, own], axis=2), (0, 0), level)
        blurred.append(spread[..., :3] / spread[..., 3:])
    place = np.interp(sigma, (0, *levels), np.arange(len(levels) + 1)).astype(np.float32)
    mixed = np.zeros_like(light)
    for number, copy in enumerate(blurred):
        mixed += copy * np.clip(1 - np.abs(place - number), 0, 1)[..., None]
    return mixed
