"""The size to which an image processor resizes a picture, and what is asked of it where that will
not do.

Processors that keep the aspect ratio (Depth Anything's, ZoeDepth's) give a slim picture a side of 0
and fail, and a long one tens of thousands of pixels. Those of classifiers make sizes that are no
whole patches, of which the network leaves the rest out of the map. Such pictures are resized by the
processor too, but to a size chosen here; for all others it does what it was published to do. Leaves
out processors that do not resize (`sizes.py`).
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from pearl_tools.depth.sizes import MULTIPLE, patch_px, square_px

LONGEST_RESIZED_PX: Final = 2560
"""The long side is at most this, rounded down to whole patches, unless the processor itself names a
larger size. KITTI's pictures (375 x 1242) stay at 518 x 1722, where Depth Anything has them."""


class ProcessorSize(NamedTuple):
    """What decides the size, read from an image processor and the network.

    Attributes:
        size: the processor's own, such as ``{"height": 518, "width": 518}``.
        keeps_aspect: whether height and width are bounds rather than the result.
        ensured: what the processor rounds both sides to a multiple of.
        patch: sides of what the network sees are multiples of this.
        square: the side that stands for every shape that is no square, see `square_px`.

    """

    size: dict[str, int]
    keeps_aspect: bool
    ensured: float
    patch: int
    square: int | None = None

    @classmethod
    def of(cls, processor: Any, config: Any) -> ProcessorSize:
        """Of a processor that resizes.

        Raises:
            ValueError: its size is neither height and width nor the shortest edge.

        """
        size = dict(processor.size)
        if set(size) not in ({"height", "width"}, {"shortest_edge"}):
            raise ValueError(
                "the image processor's size: expected height and width, or shortest_edge, "
                f"got {size}"
            )
        return cls(
            size=size,
            keeps_aspect=bool(getattr(processor, "keep_aspect_ratio", False)),
            ensured=getattr(processor, "ensure_multiple_of", None) or 1,
            patch=patch_px(config) or MULTIPLE,
            square=square_px(config),
        )

    def seen(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which the network sees a picture of ``height`` x ``width``.

        That of the processor if both sides are whole patches and within the bound; else the nearest
        such, each at least one patch, after shrinking to the bound.

        Example:
            >>> size = ProcessorSize({"height": 518, "width": 518}, True, 14, 14)
            >>> size.seen(480, 640), size.seen(8, 900), size.seen(500, 20000)
            ((518, 686), (14, 518), (70, 2548))

        """
        own = self.published(height, width)
        if self.square and own[0] != own[1]:
            return self.square, self.square
        bound = max(LONGEST_RESIZED_PX, *self.size.values())
        if all(0 < side <= bound and side % self.patch == 0 for side in own):
            return own
        whole = math.lcm(self.patch, int(self.ensured) or 1)
        most = max(bound // whole, 1)
        scale = min(most * whole / max(own), 1.0)

        def side(pixels: int) -> int:
            return min(max(round(pixels * scale / whole), 1), most) * whole

        return side(own[0]), side(own[1])

    def options(self, height: int, width: int) -> dict[str, Any]:
        """What to pass to the processor, so that a picture comes out as `seen`; nothing if it does
        by itself.
        """
        seen = self.seen(height, width)
        if seen == self.published(height, width):
            return {}
        exact = {"keep_aspect_ratio": False} if self.keeps_aspect else {}
        return {"size": {"height": seen[0], "width": seen[1]}, **exact}

    def published(self, height: int, width: int) -> tuple[int, int]:
        """The processor's own size of a picture, by the same arithmetic: a side may be 0."""
        short = self.size.get("shortest_edge")
        if short is None:
            return self._between(height, width)
        long = int(short * max(height, width) / min(height, width))
        return (short, long) if height <= width else (long, short)

    def _between(self, height: int, width: int) -> tuple[int, int]:
        """DPT's and ZoeDepth's ``get_resize_output_image_size``."""
        by_height, by_width = self.size["height"] / height, self.size["width"] / width
        if self.keeps_aspect:
            by_height = by_width = min(by_height, by_width, key=lambda scale: abs(1 - scale))

        def side(value: float) -> int:
            return int(round(value / self.ensured) * self.ensured)

        return side(by_height * height), side(by_width * width)
