"""Greedy decoding with a key-value cache: tokens, pictures and bare vectors go in, tokens come out.

One sequence at a time. ``transformers.generate`` would do for plain replies, and gives the same
tokens (a test); but it cannot take a hidden state as the next input, nor go on after a picture that
a tool made. Positions are those of training (:mod:`pearl_train.model.positions`).

Dimensions: L tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache

from pearl_tools.errors import BadInput
from pearl_train.model.backbone import Backbone
from pearl_train.model.images import ImageFeatures, as_encoded
from pearl_train.model.positions import multimodal_positions
from pearl_train.views.batch import PREFIX, EncodedImage, Rows, Span
from pearl_train.views.collate import joined


class Generated(NamedTuple):
    """Tokens that were chosen, the one that ended the turn left out; whether there was one."""

    ids: list[int]
    ended: bool


class Standing(NamedTuple):
    """Where a decoder stands: tokens read, the state at the last, where the next one stands."""

    length: int
    state: Tensor | None
    next_position: int


class Decoder:
    """A sequence in the making, with the network's memory of it.

    ``state`` (H,) is the hidden state at the last token read: what the next one follows from.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.ids: list[int] = []
        self.state: Tensor | None = None
        self.features: list[ImageFeatures] = []
        self._is_image: list[bool] = []
        self._tokens: list[int] = []
        self._grids: list[Tensor] = []
        self._next_position = 0
        self._cache = DynamicCache(config=backbone.plain.config.get_text_config())

    def read(self, span: Span, images: Sequence[EncodedImage]) -> None:
        """Read the tokens of ``span``; its pictures are numbers into ``images``."""
        shown = [images[number] for number in span.images]
        self._read(list(span.ids), list(span.is_image), shown, None)

    def continue_as(self, span: Span, images: Sequence[EncodedImage]) -> None:
        """Become ``span``: what was read of it already is kept, the rest is read.

        Tokens after the first difference are forgotten: a reply may have been generated in other
        tokens than its words have in training. Raises ``ValueError`` if a picture would be.
        """
        same = 0
        for old, new in zip(self.ids, span.ids, strict=False):
            if old != new:
                break
            same += 1
        same = min(same, len(span.ids) - 1)
        if any(self._is_image[same:]):
            raise ValueError("expected a continuation of the pictures that were read, got others")
        self._forget(same)
        seen = len(self._tokens)
        rest = Span(
            ids=span.ids[same:],
            learn=span.learn[same:],
            is_image=span.is_image[same:],
            images=span.images[seen:],
        )
        self.read(rest, images)

    def _forget(self, length: int) -> None:
        if length == len(self.ids):
            return
        self._cache.crop(length - self._cache.get_seq_length())
        del self.ids[length:], self._is_image[length:]
        if length and hasattr(self.backbone.plain.model, "get_rope_index"):
            self._next_position = int(self._placed().max()) + 1

    def read_ids(self, ids: Sequence[int]) -> None:
        """Read tokens without pictures."""
        if ids:
            self._read(list(ids), [False] * len(ids), [], None)

    def read_vector(self, vector: Tensor, stands_for: int) -> None:
        """Read one input embedding (H,) that is no token's; ``stands_for`` keeps its place."""
        self._read([stands_for], [False], [], vector)

    @property
    def standing(self) -> Standing:
        """Where it stands now, to go back to."""
        return Standing(len(self.ids), self.state, self._next_position)

    def back_to(self, standing: Standing) -> None:
        """Forget what was read since ``standing``, which must be no picture."""
        if any(self._is_image[standing.length :]):
            raise ValueError("expected to forget words alone, got pictures among them")
        self._forget(standing.length)
        self.state, self._next_position = standing.state, standing.next_position

    def log_probabilities(self, ids: Sequence[int]) -> list[float]:
        """The log-probability of each of ``ids`` as what follows, in nats; nothing is read.

        Over the tokens that :meth:`generate` may choose from: those that we added have none.
        """
        if self.state is None:
            raise ValueError("expected a prompt before what follows it, got none")
        standing, states = self.standing, [self.state[None]]
        if len(ids) > 1:
            states.append(self._read(list(ids[:-1]), [False] * (len(ids) - 1), [], None))
            self.back_to(standing)
        with torch.no_grad():
            scores = self.backbone.logits(torch.cat(states)).float()
        scores[:, list(self.backbone.tokens.all)] = -torch.inf
        told = scores.log_softmax(dim=-1)[range(len(ids)), list(ids)]
        return [float(value) for value in told]

    def generate(self, most: int, stops: Collection[int]) -> Generated:
        """The likeliest next tokens, one by one, until one of ``stops`` or ``most`` of them.

        The last one chosen has not been read yet. Tokens that we added are never said: where rows
        of the embedding are small, as in the nano model, their random rows win before any training.
        Raises ``BadInput`` for a network whose scores are no numbers.
        """
        chosen: list[int] = []
        while len(chosen) < most:
            token = self._likeliest()
            if token in stops:
                return Generated(chosen, ended=True)
            chosen.append(token)
            if len(chosen) < most:
                self.read_ids([token])
        return Generated(chosen, ended=False)

    @torch.no_grad()
    def _likeliest(self) -> int:
        if self.state is None:
            raise ValueError("expected a prompt before anything is generated, got none")
        scores = self.backbone.logits(self.state[None])[0].float()
        scores[list(self.backbone.tokens.all)] = -torch.inf
        token = int(scores.argmax())  # of NaN among numbers, the place of NaN
        best = float(scores[token])
        if not math.isfinite(best):
            raise BadInput(
                f"expected finite scores for token {len(self.ids) + 1}, got {best}: the model's "
                f"weights are broken or too large for {self.backbone.plain.dtype}; try "
                "--set model.dtype=float32, or take another checkpoint or copy of the model"
            )
        return token

    @torch.no_grad()
    def _read(
        self, ids: list[int], is_image: list[bool], shown: list[EncodedImage], vector: Tensor | None
    ) -> Tensor:
        """The (L, H) states at the tokens read."""
        plain, device = self.backbone.plain, self.backbone.device
        self.ids += ids
        self._is_image += is_image
        features = self._features(shown) if shown else None
        positions = self._positions(len(ids), pictures=bool(shown))
        inputs: dict[str, Any] = {"input_ids": torch.tensor([ids], device=device)}
        if vector is not None:
            inputs = {"inputs_embeds": vector.to(device, plain.dtype)[None, None]}
        if features is not None:
            inputs["mm_encoder_outputs"] = {"image": as_encoded(features, range(len(shown)))}
        with self._autocast():
            output = plain.model(
                **inputs, position_ids=positions, cache=self._cache, use_cache=True
            )
        states: Tensor = output.last_hidden_state[0]
        self.state = states[-1]
        return states

    def _features(self, shown: list[EncodedImage]) -> ImageFeatures:
        device, dtype = self.backbone.device, self.backbone.plain.dtype
        inputs = {
            name: tensor.to(device, dtype if tensor.is_floating_point() else None)
            for name, tensor in joined([image.inputs for image in shown]).items()
        }
        tokens = [image.tokens for image in shown]
        features = self.backbone.image_features(inputs, tokens)
        self.features.append(features)
        self._tokens += tokens
        if features.grids is not None:
            self._grids.append(features.grids)
        return features

    def _positions(self, count: int, *, pictures: bool) -> Tensor:
        """Where the last ``count`` tokens stand: (1, count), or (3, 1, count) in space."""
        core, device = self.backbone.plain.model, self.backbone.device
        if not hasattr(core, "get_rope_index"):
            start = len(self.ids) - count
            return torch.arange(start, len(self.ids), device=device)[None]
        if not pictures:
            after = torch.arange(self._next_position, self._next_position + count, device=device)
            self._next_position += count
            return after.expand(3, 1, count)
        placed = self._placed()
        self._next_position = int(placed.max()) + 1
        return placed[..., -count:].to(device)

    def _placed(self) -> Tensor:
        """(3, 1, L) positions in space of all tokens so far, on the CPU."""
        rows = Rows(
            ids=torch.tensor([self.ids]),
            branch=torch.full((1, len(self.ids)), PREFIX),
            is_image=torch.tensor([self._is_image]),
            images=(tuple(range(len(self._tokens))),),
        )
        core = self.backbone.plain.model
        return multimodal_positions(core, rows, self._tokens, torch.cat(self._grids))

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.backbone.autocast is None:
            return nullcontext()
        return torch.autocast(self.backbone.device.type, self.backbone.autocast)
