"""Samples as tensors: what the model is fed at one step, with the labels of its captions.

Leaves out what a sample is (`samples.py`) and the loop
(`pretrain.py`).
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import captions
import numpy as np
import torch
from cells import UNKNOWN, nothing_known
from network import IMAGE_TOKENS, SIDE_PX
from samples import Sample, sample
from scenes import Scene
from torch import Tensor
from transformers import LlavaProcessor
from vocabulary import END, IMAGE, START

IGNORED = -100

Mix = tuple[dict[str, int], ...]
MIXES: dict[str, Mix] = {
    "eyes": ({"close_view": 28, "whole": 10, "depth_alone": 10},),
    "words": (
        {"recalled": 32},
        {"named": 12, "close_view": 22},
        {"whole": 4, "with_view": 7, "numbers": 6},
        {"with_depth": 6, "readings": 12},
        {"depth_alone": 5, "nearer_view": 4},
    ),
    "letters": (
        {"recalled": 16},
        {"named": 10, "close_view": 48},
        {"whole": 4, "with_view": 10, "numbers": 5},
        {"with_depth": 5, "readings": 10},
        {"depth_alone": 4, "nearer_view": 3},
    ),
}
"""Samples of each kind in one step, in batches of about one length: little is padded."""


class Batch(NamedTuple):
    """What the model is fed and what is known of it.

    Attributes:
        ids: tokens (B, S) padded on the right.
        lengths: tokens of each row without its padding.
        shown: pictures of each row.
        labels: (B, S) with `IGNORED` outside captions.
        pixels: (N, 3, 192, 192) of all pictures in order.
        cells: what lies in the pictures' cells (N, 7, 36).
        where: at the last token of given words the cell of what they name, elsewhere -1 (B, S).
        tenth: there too, the tenth of the range that is then read off for it, elsewhere -1.
        source: at the decimals of a value, the column of those last tokens, elsewhere -1.

    """

    ids: Tensor
    lengths: list[int]
    shown: list[int]
    labels: Tensor
    pixels: Tensor
    cells: Tensor
    where: Tensor
    tenth: Tensor
    source: Tensor


def part_of(batch: Batch, rows: Sequence[int]) -> tuple[Batch, list[int]]:
    """Some rows of a batch, padded to the longest of them, and the numbers of their pictures."""
    first = [sum(batch.shown[:row]) for row in rows]
    pictures = [start + k for start, row in zip(first, rows, strict=True)
                for k in range(batch.shown[row])]  # fmt: skip
    longest = max(batch.lengths[row] for row in rows)
    cut = {name: getattr(batch, name)[rows, :longest]
           for name in ("ids", "labels", "where", "tenth", "source")}  # fmt: skip
    part = batch._replace(
        **cut,
        lengths=[batch.lengths[row] for row in rows],
        shown=[batch.shown[row] for row in rows],
        pixels=batch.pixels[pictures],
        cells=batch.cells[pictures],
    )
    return part, pictures


def caption_labels(ids: Tensor, start: int, end: int, opening: Sequence[int]) -> Tensor:
    """`ids` (B, S) where an assistant speaks, its closing token included, else `IGNORED`.

    `start` and `end` are the ids of the marks of a turn, `opening` the ids that follow `start` in
    an assistant's turn.
    """
    labels = torch.full_like(ids, IGNORED)
    width = len(opening)
    for row, tokens in enumerate(ids.tolist()):
        for place in (index for index, token in enumerate(tokens) if token == start):
            first = place + 1 + width
            if tokens[place + 1 : first] == list(opening):
                last = tokens.index(end, first)
                labels[row, first : last + 1] = ids[row, first : last + 1]
    return labels


class Marked(NamedTuple):
    """Where marked words begin and end in a text without marks; the cell of what given words name;
    the value that was read off.
    """

    first: int
    last: int
    cell: int = UNKNOWN
    value: float | None = None


def unmarked(text: str) -> tuple[str, list[Marked]]:
    """The text without `captions.MARK`, and what was marked.

    Example:
        >>> unmarked("at ⟦[0, 1]¦7⟧: 3")
        ('at [0, 1]: 3', [Marked(first=3, last=9, cell=7, value=None)])
        >>> unmarked("it reads ⟪0.46⟫")
        ('it reads 0.46', [Marked(first=9, last=13, cell=-1, value=0.46)])

    """
    places, taken = [], 0
    for found in captions.MARK.finditer(text):
        first, value = found.start() - taken, found["value"]
        words = value if value is not None else found["given"]
        places.append(
            Marked(
                first,
                first + len(words),
                UNKNOWN if found["cell"] is None else int(found["cell"]),
                None if value is None else float(value),
            )
        )
        taken += len(found[0]) - len(words)
    return captions.plain(text), places


def to_batch(samples: Sequence[Sample], processor: LlavaProcessor) -> Batch:
    """The tensors of these samples, equal to what the exported processor makes of them."""
    texts = [processor.apply_chat_template(s.messages, tokenize=False) for s in samples]
    # as the processor does, but without its checks, which take longer than the training step
    texts = [text.replace(IMAGE, IMAGE * IMAGE_TOKENS) for text in texts]
    clean = [unmarked(text) for text in texts]
    tokenizer = processor.tokenizer
    made = tokenizer(
        [text for text, _ in clean],
        padding=True,
        return_tensors="pt",
        padding_side="right",
        return_offsets_mapping=True,
    )
    ids = made.input_ids
    start, end = tokenizer.convert_tokens_to_ids([START, END])
    opening = tokenizer("assistant\n").input_ids
    pictures = [picture for s in samples for picture in s.pictures]
    pixels, cells = torch.empty(0, 3, SIDE_PX, SIDE_PX), torch.from_numpy(nothing_known()[None][:0])
    if pictures:
        pixels = processor.image_processor(pictures, return_tensors="pt").pixel_values
        cells = torch.from_numpy(np.stack([cells for s in samples for cells in s.cells]))
    labels = caption_labels(ids, start, end, opening)
    where, tenth, source = (torch.full_like(ids, UNKNOWN) for _ in range(3))
    for row, (_, places) in enumerate(clean):
        begins, ends = made.offset_mapping[row].unbind(1)
        name = UNKNOWN
        for first, last, cell, value in places:
            inside = (begins >= first) & (ends <= last) & (ends > 0)
            if value is None:
                labels[row, inside] = IGNORED
                end_of_words = int(inside.nonzero()[-1])
                where[row, end_of_words] = cell
                name = end_of_words if cell != UNKNOWN else name
            elif name != UNKNOWN:
                tenth[row, name] = min(9, int(value * 10))
                source[row, inside & (begins >= first + len("0."))] = name
    lengths = made.attention_mask.sum(dim=1).tolist()
    shown = [len(s.pictures) for s in samples]
    return Batch(ids, lengths, shown, labels, pixels, cells, where, tenth, source)


def batches(
    mix: Sequence[dict[str, int]],
    rng: random.Random,
    scenes: Sequence[Scene],
    processor: LlavaProcessor,
) -> list[Batch]:
    """The batches of one step, as `mix` says."""
    return [
        to_batch(
            [sample(rng, scenes, kind) for kind, n in kinds.items() for _ in range(n)], processor
        )
        for kinds in mix
    ]
