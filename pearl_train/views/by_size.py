"""The encoding of a sample from its record alone: its tokens, or the reason to drop it.

The width and height of a picture determine its number of tokens, and whether the processor accepts
it. So one blank picture of each size is prepared; no picture is read. Not here: pictures that
cannot be decoded, which are reported when they are opened.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor

from pearl_data.trajectory import Trajectory
from pearl_train.views.batch import EncodedSample, ViewPlan
from pearl_train.views.encode import Dropped, Encoder, encode_with
from pearl_train.views.pictures import PicturePreparer, Prepared, shrunk_size

#: Largest tensors that are kept, in values: grids and masks, no pixels.
_FEW = 64


class BlankPictures:
    """Blank pictures as ``preparer`` makes them, by size, without their pixels."""

    def __init__(self, preparer: PicturePreparer) -> None:
        self._preparer = preparer
        self._known: dict[tuple[int, int], Prepared | None] = {}

    def of(self, size: tuple[int, int], medium: str) -> Prepared:
        """A picture of ``size`` (width, height); raises ``Refused``, naming ``medium``, for a size
        that the processor refuses.
        """
        known = self._known.get(size)
        if known is None:  # one that was refused is tried again: its message names the medium
            self._known[size] = None
            made = self._preparer.prepare(Image.new("RGB", size), medium)
            inputs = {name: _outline(tensor) for name, tensor in made.image.inputs.items()}
            known = made._replace(image=replace(made.image, inputs=inputs))
            self._known[size] = known
        return known._replace(image=replace(known.image, medium=medium))


def measure(
    record: Trajectory, shard: str, plan: ViewPlan, encoder: Encoder, blanks: BlankPictures
) -> EncodedSample | Dropped:
    """:func:`pearl_train.views.encode.encode_sample` without pixels: pictures hold tensors of
    the right shape and no values. ``blanks`` are made by the preparer of ``encoder``.
    """
    return encode_with(_OfRecord(record, encoder, blanks), record, shard, plan, encoder)


class _OfRecord:
    """The pictures of a record, blank."""

    def __init__(self, record: Trajectory, encoder: Encoder, blanks: BlankPictures) -> None:
        self._sizes = {medium.id: (medium.width, medium.height) for medium in record.media}
        self._encoder, self._blanks = encoder, blanks

    def size(self, medium: str) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self._sizes[medium]

    def prepared(self, medium: str, max_pixels: int | None) -> Prepared:
        """The picture with at most ``max_pixels`` as the processor makes it."""
        return self._blanks.of(shrunk_size(self._sizes[medium], max_pixels), medium)


def _outline(tensor: Tensor) -> Tensor:
    if tensor.numel() <= _FEW:
        return tensor
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
