"""Encoded samples kept in memory from one epoch to the next, losslessly packed.

Preparing pictures is most of the work of encoding. What fits is kept for good: in a walk through
the data, dropping the oldest for the newest would keep nothing that is asked for again.
Prepared pixels are 8-bit values in disguise (rescaled, normalised): most tensors have few distinct
values, are stored in one or two bytes each, and are given back bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from pearl_train.views.batch import EncodedImage, EncodedSample

#: Bins to try: three channels with scales of their own make 768 values, some of them close.
_BINS = (1 << 16, 1 << 20)


class Packed(NamedTuple):
    """A tensor as ``values[codes]``, or as it is, in ``values``, without codes."""

    values: Tensor
    codes: Tensor | None

    @property
    def bytes(self) -> int:
        """Memory taken."""
        return sum(t.numel() * t.element_size() for t in self if t is not None)


class _Kept(NamedTuple):
    sample: EncodedSample
    inputs: tuple[Mapping[str, Packed], ...]


class Remembered:
    """Samples by number, as long as ``room_bytes`` last."""

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes = room_bytes
        self._kept: dict[int, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, number: int) -> EncodedSample | None:
        """The sample, bit for bit as it was put, or None."""
        kept = self._kept.get(number)
        if kept is None:
            return None
        images = tuple(
            replace(image, inputs={name: unpacked(packed) for name, packed in inputs.items()})
            for image, inputs in zip(kept.sample.images, kept.inputs, strict=True)
        )
        return replace(kept.sample, images=images)

    def put(self, number: int, sample: EncodedSample) -> None:
        """Keep ``sample`` if there is room."""
        if self.room_bytes <= 0:
            return
        inputs = tuple(_packed_inputs(image) for image in sample.images)
        spans = [sample.context, *sample.branches.values(), *filter(None, [sample.target])]
        size = sum(p.bytes for one in inputs for p in one.values())
        size += 56 * sum(len(span.ids) for span in spans)  # an int and two flags, in tuples
        self.room_bytes -= size
        if self.room_bytes > 0:
            bare = tuple(replace(image, inputs={}) for image in sample.images)
            self._kept[number] = _Kept(replace(sample, images=bare), inputs)


def packed(tensor: Tensor) -> Packed:
    """``tensor`` in fewer bytes, if it has few distinct values.

    >>> packed(torch.tensor([0.5, 0.25]).repeat(1024)).codes[:4]
    tensor([1, 0, 1, 0], dtype=torch.uint8)
    """
    raw = Packed(tensor, None)
    if tensor.dtype != torch.float32 or tensor.numel() < 1024:
        return raw
    low, high = tensor.aminmax()
    if not torch.isfinite(high - low):
        return raw
    flat = tensor.flatten()
    for bins in _BINS:
        found = _binned(flat, low, high, bins)
        if found is not None:
            values, codes = found
            return Packed(values, codes.reshape(tensor.shape))
    return raw


def _binned(flat: Tensor, low: Tensor, high: Tensor, bins: int) -> tuple[Tensor, Tensor] | None:
    """The distinct values and their codes, by sorting into bins (1 ms for 192x192 px, where
    torch.unique takes 7); None where two values share a bin, or are too many.
    """
    scale = (bins - 1) / torch.clamp(high - low, min=1e-12)
    place = ((flat - low) * scale).round().clamp(0, bins - 1).long()
    table = torch.zeros(bins).scatter_(0, place, flat)
    if not torch.equal(table.index_select(0, place).view(torch.int32), flat.view(torch.int32)):
        return None
    used = torch.zeros(bins, dtype=torch.bool).index_fill_(0, place, value=True)
    values = table[used]
    if len(values) > min(1 << 15, len(flat) // 4):
        return None
    code = torch.uint8 if len(values) <= 256 else torch.int16
    return values, (used.cumsum(0) - 1).to(code).index_select(0, place)


def unpacked(packed: Packed) -> Tensor:
    """The tensor that was packed."""
    if packed.codes is None:
        return packed.values
    chosen = packed.values.index_select(0, packed.codes.flatten().int())
    return chosen.reshape(packed.codes.shape)


def _packed_inputs(image: EncodedImage) -> dict[str, Packed]:
    return {name: packed(tensor) for name, tensor in image.inputs.items()}
