"""Features of pictures: computed once per distinct picture, placed wherever a view shows it.

Every family's ``get_image_features`` returns them in a shape of its own; here they are one flat
tensor, and :func:`as_encoded` gives them back in that shape, in the order in which rows show them,
so that the network's forward takes them as ``mm_encoder_outputs``.

Dimensions: P pictures, N features (image tokens) of all of them, T image tokens in rows, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from pearl_tools.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class ImageFeatures:
    """Features of the distinct pictures of a batch.

    Attributes:
        values: (N, H), picture by picture.
        tokens: features of each picture.
        deeper: further (N, H) features that later layers add (Qwen3-VL's deepstack).
        grids: (P, 3) patches in time, height and width, on the CPU, for rotary positions in space.
        listed: whether the family holds them as a list of tensors.
        per_tile: features per tile where the family keeps that axis, else None.

    """

    values: Tensor
    tokens: tuple[int, ...]
    deeper: tuple[Tensor, ...] = ()
    grids: Tensor | None = None
    listed: bool
    per_tile: int | None = None

    def flat(self, index: Tensor) -> Tensor:
        """(len(index), H): features by their number in all pictures, concatenated."""
        return self.values[index]

    def detach(self) -> ImageFeatures:
        """The same features without gradient."""
        return replace(
            self,
            values=self.values.detach(),
            deeper=tuple(layer.detach() for layer in self.deeper),
        )


def encode_images(
    core: Any, images: Mapping[str, Tensor], image_tokens: Sequence[int]
) -> ImageFeatures:
    """The features of all pictures in one pass of the vision part.

    ``images`` are the processor's tensors of all distinct pictures, concatenated as the family
    wants them; ``image_tokens`` says how many tokens each takes. Raises ``BadInput`` where the
    network makes another number of features than the processor made tokens.
    """
    encoded = core.get_image_features(**images, return_dict=True)
    pooled = encoded.pooler_output
    listed = isinstance(pooled, list | tuple)
    parts = list(pooled) if listed else [pooled]
    per_tile = parts[0].shape[-2] if parts[0].ndim == 3 else None
    values = _flattened(parts)
    if len(values) != sum(image_tokens):
        raise BadInput(
            f"expected {sum(image_tokens)} image features, as many as the processor made image "
            f"tokens for {len(image_tokens)} pictures, got {len(values)} from "
            f"{type(core).__name__}; the processor does not belong to this model"
        )
    grids = images.get("image_grid_thw")
    return ImageFeatures(
        values=values,
        tokens=tuple(image_tokens),
        deeper=tuple(
            _flattened(list(layer)) for layer in getattr(encoded, "deepstack_features", None) or ()
        ),
        grids=None if grids is None else grids.cpu(),
        listed=listed,
        per_tile=per_tile,
    )


def no_images(hidden_size: int, device: torch.device) -> ImageFeatures:
    """The features of no pictures at all."""
    return ImageFeatures(values=torch.zeros(0, hidden_size, device=device), tokens=(), listed=False)


def as_encoded(features: ImageFeatures, shown: Sequence[int]) -> Any:
    """What the network takes for the pictures ``shown``, in that order, repeats included."""
    index = _feature_index(features.tokens, shown).to(features.values.device)
    pooled = features.values[index]
    if features.per_tile is not None:
        pooled = pooled.reshape(-1, features.per_tile, pooled.shape[-1])
    inputs: Any = [pooled] if features.listed else pooled
    encoded: Any = BaseModelOutputWithPooling(pooler_output=inputs)
    if features.deeper:
        encoded.deepstack_features = [[layer[index]] for layer in features.deeper]
    return encoded


def _flattened(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])


def _feature_index(tokens: Sequence[int], shown: Sequence[int]) -> Tensor:
    starts = [0]
    for count in tokens:
        starts.append(starts[-1] + count)
    pieces = [torch.arange(starts[p], starts[p + 1]) for p in shown]
    return torch.cat(pieces) if pieces else torch.zeros(0, dtype=torch.long)
