"""Rows through the network with no more pictures encoded than they show, each once.

Pictures that only R shows need no gradient, and no pass at all where R is not read; those that both
views show are encoded for the context and reused without gradient. A picture's number in
``Rows.images`` is its place among those encoded, so rows are renumbered here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from pearl_train.model.backbone import Backbone
from pearl_train.model.images import ImageFeatures
from pearl_train.views.batch import Batch, Rows, picture_axis


class Encoded(NamedTuple):
    """Pictures of a batch that were encoded: their numbers in the batch, in order, and features."""

    numbers: tuple[int, ...]
    features: ImageFeatures | None

    def detach(self) -> Encoded:
        """The same without gradient."""
        return Encoded(self.numbers, self.features.detach() if self.features else None)


NONE = Encoded((), None)


def read_rows(
    model: Backbone, batch: Batch, rows: Rows, known: Encoded = NONE
) -> tuple[Tensor, Encoded]:
    """The (B, L, H) states of ``rows``, and the pictures encoded by then.

    ``known`` are pictures that have been encoded before: those are not encoded again.
    """
    encoded = with_pictures(model, batch, rows, known)
    return model.hidden(renumbered(rows, encoded.numbers), encoded.features), encoded


def with_pictures(model: Backbone, batch: Batch, rows: Rows, known: Encoded = NONE) -> Encoded:
    """``known`` and the pictures of ``rows`` that are not among them."""
    wanted = sorted({number for row in rows.images for number in row} - set(known.numbers))
    if not wanted:
        return known
    if not batch.image_sizes:  # their tensors cannot be told apart: all of them in one pass
        every = tuple(range(len(batch.image_tokens)))
        return Encoded(every, model.image_features(batch.images, batch.image_tokens))
    tokens = [batch.image_tokens[number] for number in wanted]
    features = model.image_features(only(batch, wanted), tokens)
    if known.features is None:
        return Encoded(tuple(wanted), features)
    return Encoded((*known.numbers, *wanted), joined(known.features, features))


def only(batch: Batch, numbers: Sequence[int]) -> dict[str, Tensor]:
    """The processor's tensors of some pictures, in the order of ``numbers``."""
    if list(numbers) == list(range(len(batch.image_tokens))):
        return dict(batch.images)
    parts = {}
    for name, tensor in batch.images.items():
        axis = picture_axis(batch.images, name)
        pieces = torch.split(tensor, list(batch.image_sizes[name]), dim=axis)
        parts[name] = torch.cat([pieces[number] for number in numbers], dim=axis)
    return parts


def joined(first: ImageFeatures, second: ImageFeatures) -> ImageFeatures:
    """The features of both, those of ``first`` in front."""
    grids = None
    if first.grids is not None and second.grids is not None:
        grids = torch.cat([first.grids, second.grids])
    return replace(
        first,
        values=torch.cat([first.values, second.values]),
        tokens=(*first.tokens, *second.tokens),
        deeper=tuple(torch.cat(layers) for layers in zip(first.deeper, second.deeper, strict=True)),
        grids=grids,
    )


def renumbered(rows: Rows, numbers: Sequence[int]) -> Rows:
    """``rows`` whose pictures are named by their places in ``numbers``."""
    place = {number: at for at, number in enumerate(numbers)}
    return replace(rows, images=tuple(tuple(place[n] for n in row) for row in rows.images))
