"""Encoded samples to a batch: rows padded on the right, each distinct picture once.

A row is a sample's context followed by its branches, which share it; the target has rows of its
own. Not here: which positions a branch has and what it may see (:mod:`pearl_train.model`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional

from pearl_train.views.batch import (
    PADDING,
    PREFIX,
    Batch,
    BranchName,
    EncodedImage,
    EncodedSample,
    Latents,
    Learned,
    Places,
    Rows,
    Span,
    picture_axis,
)


def collate(samples: Sequence[EncodedSample], *, pad_id: int) -> Batch:
    """The micro-batch of ``samples``, which all have the same branches; at least one."""
    images, numbers = _distinct(samples)
    context = _context_rows(samples, images, numbers, pad_id)
    counts = {"samples": len(samples)}
    counts |= {name: len(learned.id) for name, learned in context.learned.items()}
    if context.latents is not None:
        counts["latents"] = len(context.latents.row)
    return Batch(
        keys=tuple(sample.key for sample in samples),
        shards=tuple(sample.shard for sample in samples),
        images=joined([image.inputs for image in images]),
        image_sizes=_lengths([image.inputs for image in images]),
        image_tokens=tuple(image.tokens for image in images),
        context=context,
        target=_target_rows(samples, numbers, pad_id),
        counts=counts,
    )


def muted(batch: Batch) -> Batch:
    """``batch`` with nothing to learn and nobody in it: every term is a sum over nothing.

    What a process computes when its share of a micro-batch is empty, so that all processes do the
    same passes. Objectives get rows, but no learned tokens, reads or latents.
    """
    return Batch(
        keys=(),
        shards=(),
        images=batch.images,
        image_sizes=batch.image_sizes,
        image_tokens=batch.image_tokens,
        context=_without_units(batch.context),
        target=None if batch.target is None else _without_units(batch.target),
        counts=dict.fromkeys(batch.counts, 0),
    )


def joined(inputs: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of several pictures as those of one call.

    Smaller pictures are padded on the right and below, as their processors do in a batch, with a
    mask that says so where the family has one.
    """
    out = {}
    for name in inputs[0] if inputs else ():
        parts = [one[name] for one in inputs]
        axis = picture_axis(inputs[0], name)
        longest = [max(sizes) for sizes in zip(*(p.shape[axis + 1 :] for p in parts), strict=True)]
        out[name] = torch.cat([_padded(part, longest) for part in parts], dim=axis)
    return out


def _padded(tensor: Tensor, longest: Sequence[int]) -> Tensor:
    """``tensor`` with zeros behind it on its last axes, up to ``longest``."""
    lacking = [
        size - have for size, have in zip(longest, tensor.shape[-len(longest) :], strict=True)
    ]
    if not any(lacking):
        return tensor
    return functional.pad(tensor, [side for size in reversed(lacking) for side in (0, size)])


def _lengths(inputs: Sequence[Mapping[str, Tensor]]) -> dict[str, tuple[int, ...]]:
    """How long each picture's part of each joined tensor is."""
    return {
        name: tuple(one[name].shape[picture_axis(one, name)] for one in inputs)
        for name in (inputs[0] if inputs else ())
    }


def _distinct(
    samples: Sequence[EncodedSample],
) -> tuple[list[EncodedImage], list[tuple[int, ...]]]:
    """The distinct pictures, and for each sample the places of its own among them."""
    images: list[EncodedImage] = []
    known: dict[str, int] = {}
    numbers = []
    for sample in samples:
        places = []
        for image in sample.images:
            place = known.get(image.content, len(images)) if image.content else len(images)
            if place == len(images):
                images.append(image)
                known[image.content] = place
            places.append(place)
        numbers.append(tuple(places))
    return images, numbers


def _context_rows(
    samples: Sequence[EncodedSample],
    images: Sequence[EncodedImage],
    numbers: Sequence[tuple[int, ...]],
    pad_id: int,
) -> Rows:
    names = tuple(samples[0].branches)
    if any(tuple(sample.branches) != names for sample in samples):
        raise ValueError(f"expected every sample with the branches {names}")
    rows = [[sample.context, *sample.branches.values()] for sample in samples]
    starts = [[0, *accumulate(len(span.ids) for span in row)] for row in rows]
    learned: dict[BranchName, Learned] = {}
    for number, name in enumerate(names):
        if name != "pred":
            learned[name] = _learned(rows, starts, number + 1)
    last = [start[1] - 1 for start in starts]
    ends = [sample.context.marks.get("end-of-question") for sample in samples]
    if "pred" in names:
        at = names.index("pred") + 1
        marks = [sample.branches["pred"].marks for sample in samples]
        last = [start[at] + of["last-pred"] for start, of in zip(starts, marks, strict=True)]
        if all("end-of-question" in of for of in marks):  # [PRED] tokens stand in the question
            ends = [
                start[at] + of["end-of-question"] for start, of in zip(starts, marks, strict=True)
            ]
    reads = {"last-pred": _places(last)}
    if all(end is not None for end in ends):
        reads["end-of-question"] = _places([int(end) for end in ends if end is not None])
    return _rows(
        rows,
        numbers,
        pad_id,
        learned=learned,
        reads=reads,
        latents=_latents(samples, images, numbers, starts, names),
    )


def _target_rows(
    samples: Sequence[EncodedSample], numbers: Sequence[tuple[int, ...]], pad_id: int
) -> Rows | None:
    targets = [sample.target for sample in samples if sample.target is not None]
    if not targets:
        return None
    if len(targets) != len(samples):
        raise ValueError("expected a target in every sample or in none")
    reads = {
        "last": _places([len(target.ids) - 1 for target in targets]),
        "before-conclusion": _places([target.marks["conclusion"] for target in targets]),
    }
    return _rows([[target] for target in targets], numbers, pad_id, reads=reads)


def _rows(
    rows: Sequence[Sequence[Span]],
    numbers: Sequence[tuple[int, ...]],
    pad_id: int,
    *,
    reads: Mapping[str, Places],
    learned: Mapping[BranchName, Learned] | None = None,
    latents: Latents | None = None,
) -> Rows:
    """Rows of spans one after another: branch 0, 1, ..."""
    length = max(sum(len(span.ids) for span in row) for row in rows)
    ids = torch.full((len(rows), length), pad_id)
    branch = torch.full((len(rows), length), PADDING)
    is_image = torch.zeros((len(rows), length), dtype=torch.bool)
    for number, row in enumerate(rows):
        start = 0
        for place, span in enumerate(row, PREFIX):
            end = start + len(span.ids)
            ids[number, start:end] = torch.tensor(span.ids)
            branch[number, start:end] = place
            is_image[number, start:end] = torch.tensor(span.is_image)
            start = end
    shown = tuple(
        tuple(of[image] for span in row for image in span.images)
        for row, of in zip(rows, numbers, strict=True)
    )
    return Rows(
        ids=ids,
        branch=branch,
        is_image=is_image,
        images=shown,
        learned=learned or {},
        reads=reads,
        latents=latents,
    )


def _learned(
    rows: Sequence[Sequence[Span]], starts: Sequence[Sequence[int]], place: int
) -> Learned:
    """The learned tokens of branch ``place``; its first is predicted by the prefix's last."""
    found = [
        (number, at + start[place] - 1 if at else start[1] - 1, at + start[place], span.ids[at])
        for number, (row, start) in enumerate(zip(rows, starts, strict=True))
        for span in [row[place]]
        for at, learn in enumerate(span.learn)
        if learn
    ]
    row, source, column, token = _columns(found, 4)
    return Learned(row=row, source=source, column=column, id=token)


def _latents(
    samples: Sequence[EncodedSample],
    images: Sequence[EncodedImage],
    numbers: Sequence[tuple[int, ...]],
    starts: Sequence[Sequence[int]],
    names: Sequence[BranchName],
) -> Latents | None:
    if "lvr" not in names:
        return None
    place = names.index("lvr") + 1
    first = [0, *accumulate(image.tokens for image in images)]
    found = [
        (number, column - 1, column, first[of[token.image]] + token.token)
        for number, (sample, of, start) in enumerate(zip(samples, numbers, starts, strict=True))
        for column, token in enumerate(
            sample.region, start[place] + sample.branches["lvr"].marks["latents"]
        )
    ]
    row, source, column, feature = _columns(found, 4)
    return Latents(row=row, source=source, column=column, feature=feature)


def _columns(found: Sequence[tuple[int, ...]], width: int) -> Iterable[Tensor]:
    return torch.tensor(found, dtype=torch.long).reshape(-1, width).unbind(1)


def _places(columns: Sequence[int]) -> Places:
    return Places(row=torch.arange(len(columns)), column=torch.tensor(columns))


def _without_units(rows: Rows) -> Rows:
    none = torch.empty(0, dtype=torch.long)
    nothing = Learned(row=none, source=none, column=none, id=none)
    return Rows(
        ids=rows.ids,
        branch=rows.branch,
        is_image=rows.is_image,
        images=rows.images,
        learned=dict.fromkeys(rows.learned, nothing),
        reads={name: Places(row=none, column=none) for name in rows.reads},
        latents=rows.latents and Latents(row=none, source=none, column=none, feature=none),
    )
