"""The data from the loader to the objectives: token spans of one sample, rows of a batch.

A *view* is what the network reads in one pass. All views of a sample that begin with the same
question share one *row*: a prefix (branch 0) and branches that see the prefix and themselves, never
each other. The target view R has a row of its own. Pictures are encoded once per batch and placed
wherever a view shows them. Not here: how words become spans (:mod:`pearl_train.views.encode`) and
how spans become rows (:mod:`pearl_train.views.collate`).

Dimensions: B rows, L columns (tokens), M learned tokens, H hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

BranchName = Literal["answer", "trajectory", "pred", "lvr"]
PADDING = -1
PREFIX = 0


@dataclass(frozen=True, kw_only=True)
class Span:
    """Consecutive tokens of one view.

    Attributes:
        ids: token ids, image tokens already expanded to as many as the picture has features.
        learn: per token, whether it is learned as a next token.
        is_image: per token, whether a picture's feature takes its place.
        images: the pictures in order of appearance, as numbers into ``EncodedSample.images``.
        marks: named positions in ``ids``: ``end-of-question`` (context: the token that closes the
            user turn, where the release reads, or the last of its text where the template has
            none), ``closing`` (context: where what closes the user turn begins), both of the branch
            of [PRED] tokens where these stand in the question; ``last-pred`` (that branch),
            ``conclusion`` (target, trajectory: last token before the final thought begins),
            ``latents`` (lvr: the first latent; as many follow as the sample's region has tokens).

    """

    ids: tuple[int, ...]
    learn: tuple[bool, ...]
    is_image: tuple[bool, ...]
    images: tuple[int, ...] = ()
    marks: Mapping[str, int] = field(default_factory=dict)


class RegionToken(NamedTuple):
    """One visual token of the region of interest: number of the picture, place among its tokens."""

    image: int
    token: int


@dataclass(frozen=True, kw_only=True)
class EncodedImage:
    """A picture as its processor prepared it, with a leading batch axis where the family has one.

    ``tokens`` counts its image tokens. ``medium`` is its id in the record. ``content`` names its
    pixels, where known: a batch holds equal ones once.
    """

    medium: str
    inputs: Mapping[str, Tensor]
    tokens: int
    content: str = ""


@dataclass(frozen=True, kw_only=True)
class EncodedSample:
    """One trajectory in the views that an objective asked for."""

    key: str
    shard: str
    images: tuple[EncodedImage, ...]
    context: Span
    branches: Mapping[BranchName, Span]
    target: Span | None = None
    region: tuple[RegionToken, ...] = ()
    notes: tuple[str, ...] = ()
    """What was changed to make it fit, e.g. ``downscaled``; counted by the loader."""


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Tokens learned in one branch, (M,) each: hidden state at (row, source) predicts ``id``, which
    stands at (row, column). ``source`` is the token before, in the prefix for a branch's first.
    """

    row: Tensor
    source: Tensor
    column: Tensor
    id: Tensor


@dataclass(frozen=True, kw_only=True)
class Places:
    """Positions in rows, (N,) each; for reads one per sample, in the order of the samples."""

    row: Tensor
    column: Tensor


@dataclass(frozen=True, kw_only=True)
class Latents:
    """Where latents stand and which visual token each reconstructs, (N,) each; ``source`` is the
    column whose hidden state is regressed to it (column - 1).
    """

    row: Tensor
    source: Tensor
    column: Tensor
    feature: Tensor
    """Index into the features of all pictures of the batch, concatenated."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of equal length, one per sample.

    Attributes:
        ids: (B, L) token ids; padding on the right holds the pad token.
        branch: (B, L) ``PADDING``, ``PREFIX`` or the number of the branch, from 1.
        is_image: (B, L) bool.
        images: per row the pictures in order of appearance, as numbers into ``Batch.image_tokens``.
        learned: tokens learned, by branch.
        reads: named positions, one per sample: ``last-pred``, ``end-of-question`` (context row);
            ``last``, ``before-conclusion`` (target row).
        latents: for lvr.

    """

    ids: Tensor
    branch: Tensor
    is_image: Tensor
    images: tuple[tuple[int, ...], ...]
    learned: Mapping[BranchName, Learned] = field(default_factory=dict)
    reads: Mapping[str, Places] = field(default_factory=dict)
    latents: Latents | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A micro-batch.

    Attributes:
        keys, shards: who is in it, for messages.
        images: the processor's tensors of all distinct pictures, concatenated.
        image_tokens: image tokens of each distinct picture.
        image_sizes: per tensor of ``images``, how long the part of each picture is on the axis
            they are concatenated on (:func:`picture_axis`). With it the pictures
            that only R shows are encoded without gradient, or not at all where R is not read;
            empty: all are encoded together.
        context: rows of (I0, Q) and its branches.
        target: rows of R, where the objective wants them.
        counts: units by which terms are divided: ``samples``, ``latents`` and learned tokens by
            branch (``answer``, ``trajectory``, ``lvr``).

    """

    keys: tuple[str, ...]
    shards: tuple[str, ...]
    images: Mapping[str, Tensor]
    image_tokens: tuple[int, ...]
    context: Rows
    target: Rows | None
    counts: Mapping[str, int]
    image_sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on ``device``."""
        return moved(self, device)


def picture_axis(images: Mapping[str, Tensor], name: str) -> int:
    """The axis of ``images[name]`` on which pictures follow one another: the first, or the second
    where the family has a batch of tiles (Idefics3: 1, tiles, channels, height, width; its mask
    1, tiles, height, width). LLaVA-Next has tiles too, but on an axis of each picture's own.
    """
    pixels = images.get("pixel_values")
    tiled = pixels is not None and pixels.ndim == 5 and "image_sizes" not in images
    return int(tiled and name in {"pixel_values", "pixel_attention_mask"})


T = TypeVar("T")


def moved(value: T, device: torch.device | str) -> T:
    """``value`` with every tensor in it on ``device``."""
    return _moved(value, device)  # type: ignore[no-any-return]


def _moved(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: _moved(getattr(value, f.name), device) for f in fields(value)}
        return type(value)(**parts)
    if isinstance(value, Mapping):
        return {key: _moved(item, device) for key, item in value.items()}
    return value


class ViewPlan(NamedTuple):
    """Which views an objective needs; nothing else is tokenised or encoded."""

    branches: Sequence[BranchName]
    pred_tokens: int = 0
    pause_tokens: int = 0
    target: bool = False
    pred_in_question: bool = False
    """[PRED] tokens before what closes the user turn, not behind the whole prompt."""
