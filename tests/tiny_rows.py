"""Packed rows for tiny models written by hand, and what the stock model makes of each view alone.

A text shows a picture where it says ``{3}`` (or ``{3:100x40}`` for another size in pixels), drawn
by :func:`tiny_models.drawn_picture`. A row is a prefix and its branches.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from tiny_models import IMAGE_MARKS, drawn_picture
from torch import Tensor

from pearl_train.views.batch import PADDING, Rows

_PICTURE = re.compile(r"\{(\d+)(?::(\d+)x(\d+))?\}")


class Row(NamedTuple):
    """A prefix and the branches that continue it."""

    prefix: str
    branches: tuple[str, ...] = ()


class Pictured(NamedTuple):
    """Rows, with the distinct pictures they show as a processor prepared them."""

    rows: Rows
    images: dict[str, Tensor]
    image_tokens: tuple[int, ...]


def picture(name: str) -> Image.Image:
    """The picture that ``{name}`` stands for."""
    number, width, height = _PICTURE.fullmatch(name).groups()
    return drawn_picture(int(number), int(width or 64), int(height or 48))


def tokenised(processor: Any, family: str, text: str) -> tuple[list[int], list[str]]:
    """Ids with image tokens expanded, and the pictures in order of appearance."""
    names = [match[0] for match in _PICTURE.finditer(text)]
    return stock_inputs(processor, family, text)["input_ids"][0].tolist(), names


def stock_inputs(processor: Any, family: str, text: str) -> dict[str, Tensor]:
    """What the stock model takes for ``text`` and its pictures."""
    names = [match[0] for match in _PICTURE.finditer(text)]
    marked = _PICTURE.sub(IMAGE_MARKS[family], text)
    shown = {"images": [[picture(name) for name in names]]} if names else {}
    return dict(processor(text=[marked], return_tensors="pt", **shown))


def concatenated(prepared: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Pictures prepared one at a time as one set: along tiles where a family has a batch axis."""
    if not prepared:
        return {}
    axis = 1 if prepared[0]["pixel_values"].ndim == 5 else 0
    return {key: torch.cat([one[key] for one in prepared], axis) for key in prepared[0]}


def packed(processor: Any, family: str, rows: Sequence[Row]) -> Pictured:
    """The rows side by side, padded on the right, each distinct picture once."""
    image_token = _image_token(processor)
    names: dict[str, int] = {}
    ids: list[list[int]] = []
    branch: list[list[int]] = []
    images: list[tuple[int, ...]] = []
    for row in rows:
        row_ids: list[int] = []
        row_branch: list[int] = []
        row_images: list[int] = []
        for number, text in enumerate((row.prefix, *row.branches)):
            piece, shown = tokenised(processor, family, text)
            row_ids += piece
            row_branch += [number] * len(piece)
            row_images += [names.setdefault(name, len(names)) for name in shown]
        ids.append(row_ids)
        branch.append(row_branch)
        images.append(tuple(row_images))
    longest = max(map(len, ids))
    pad = processor.tokenizer.pad_token_id
    id_tensor = torch.tensor([one + [pad] * (longest - len(one)) for one in ids])
    prepared, tokens = [], []
    for name in names:
        one = stock_inputs(processor, family, name)
        tokens.append(int((one["input_ids"] == image_token).sum()))
        for key in ("input_ids", "attention_mask", "mm_token_type_ids"):
            one.pop(key, None)
        prepared.append(one)
    return Pictured(
        Rows(
            ids=id_tensor,
            branch=torch.tensor([one + [PADDING] * (longest - len(one)) for one in branch]),
            is_image=id_tensor == image_token,
            images=tuple(images),
        ),
        concatenated(prepared),
        tuple(tokens),
    )


def view_columns(rows: Rows, row: int, number: int) -> Tensor:
    """Columns of prefix and branch ``number`` of a row, in order."""
    branch = rows.branch[row]
    return ((branch == 0) | (branch == number)).nonzero()[:, 0]


def _image_token(processor: Any) -> int:
    return int(processor.image_token_id)
