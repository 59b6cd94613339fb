"""Media and picture files made for tests: every pixel of them is known."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pearl_tools.media import as_medium
from pearl_tools.types import Medium


def gradient(width: int, height: int) -> NDArray[np.uint8]:
    """Pixels that all differ from their neighbours: red says x, green y, blue both."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x % 256, y % 256, (x // 256 + 16 * (y // 256)) % 256], axis=2).astype(np.uint8)


def photo(width: int = 100, height: int = 80, id: str = "i0") -> Medium:  # noqa: A002
    """A root medium with :func:`gradient` pixels."""
    return as_medium(gradient(width, height), id=id)


def file_of(image: Image.Image, format: str, **options: Any) -> bytes:  # noqa: A002
    """``image`` saved by Pillow."""
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def other_profile() -> bytes:
    """The colour profile of sRGB with red and green exchanged: it shows in every pixel."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132])
    places = {bytes(data[132 + 12 * i : 136 + 12 * i]): 136 + 12 * i for i in range(count)}
    red, green = places[b"rXYZ"], places[b"gXYZ"]
    data[red : red + 8], data[green : green + 8] = data[green : green + 8], data[red : red + 8]
    return bytes(data).replace("sRGB".encode("utf-16-be"), "GRBs".encode("utf-16-be"))


class FakeDepth:
    """A depth model with a known answer: larger = nearer = lower in the picture, 8 x 12 values.

    Counts what it is asked, so that tests see batches and repeated work.
    """

    model_id = "fake"
    weights_sha256 = "0" * 64
    libraries: tuple[str, ...] = ("torch",)
    device = "cpu"
    dtype = "float32"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        self.batches.append(len(images))
        return [self.map_of(image) for image in images]

    def map_of(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows = np.linspace(0, 1, 8, dtype=np.float32)[:, None]
        return np.repeat(rows, 12, axis=1) + np.float32(image.mean() / 255)
