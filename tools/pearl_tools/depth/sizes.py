"""At which size a network sees a picture when its image processor has no size of its own.

Such processors (GLPN's, and DPT's over DINOv2) take a picture at the size it comes in and cut off,
or pad, what is no multiple of the network's patches. Cut off, that part is not in the map; padded,
the map shows more than the picture. And a photograph of 12 megapixels would need tens of gigabytes.
So pictures are resized to whole patches, up to `LONGEST_PX`, and the map covers just the picture.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

LONGEST_PX: Final = 1280
"""The long side is at most this, rounded down to whole patches: about what KITTI's pictures have,
the largest for which models of this kind are published."""
MULTIPLE: Final = 32
"""Sides of what the network sees where nothing is told: it suits every common pyramid."""
#: Types whose image processor reads no size, also where a published file names one.
_READ_NO_SIZE: Final = ("glpn",)


class OwnSize(NamedTuple):
    """Sizes that are whole multiples of ``multiple`` pixels, at most `LONGEST_PX`; always that of
    ``square`` where the network bears no other shape.
    """

    multiple: int
    square: int | None = None

    @classmethod
    def of(cls, processor: Any, config: Any) -> OwnSize | None:
        """What the picture must be a multiple of; None if the processor resizes to its own size.

        The processor's ``size_divisor`` and the patches of the network's backbone decide;
        `MULTIPLE` where neither is told.
        """
        resizes = getattr(processor, "do_resize", False) and getattr(processor, "size", None)
        if resizes and getattr(config, "model_type", None) not in _READ_NO_SIZE:
            return None
        told = (_positive(getattr(processor, "size_divisor", None)), patch_px(config))
        multiples = [value for value in told if value]
        return cls(math.lcm(*multiples) if multiples else MULTIPLE, square_px(config))

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width for a picture of ``height`` x ``width``: the nearest multiples, each at
        least one, after shrinking to the bound if it is larger.

        Example:
            >>> OwnSize(14).size(69, 69), OwnSize(32).size(3000, 4000), OwnSize(32).size(9, 480)
            ((70, 70), (960, 1280), (32, 480))

        """
        if self.square:
            return self.square, self.square
        most = max(LONGEST_PX // self.multiple, 1)
        scale = min(most * self.multiple / max(height, width), 1.0)

        def side(pixels: int) -> int:
            return min(max(round(pixels * scale / self.multiple), 1), most) * self.multiple

        return side(height), side(width)

    def fitted(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``image``, (H, W, 3), at its `size`; itself where that is what it has."""
        height, width = self.size(*image.shape[:2])
        if (height, width) == image.shape[:2]:
            return image
        shrinks = image.shape[0] > height or image.shape[1] > width
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def patch_px(config: Any) -> int | None:
    """The side of a patch of the network's backbone; None where its configuration has none."""
    network = getattr(config, "backbone_config", None) or config
    return _positive(getattr(network, "patch_size", None))


def square_px(config: Any) -> int | None:
    """The side of the square that a network was made for, if it takes every picture for a square.

    DPT without a backbone of its own class counts its patches and takes the root; of other shapes
    it shuffles the patches, or fails.
    """
    backbone = getattr(config, "backbone_config", None)
    if getattr(config, "model_type", None) != "dpt":
        return None
    if backbone is not None and not getattr(config, "is_hybrid", False):
        return None
    return _positive(getattr(config, "image_size", None))


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
