"""One sample of a batch as a batch of its own: to see what it does without the others."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

import torch

from pearl_train.views.batch import Batch, Latents, Learned, Places, Rows

Found = TypeVar("Found", Learned, Latents)


def single(batch: Batch, number: int) -> Batch:
    """Sample ``number`` of ``batch``. Rows stay as long as they are there; pictures are all kept.

    ``counts`` are those of the whole batch.
    """
    return replace(
        batch,
        keys=batch.keys[number : number + 1],
        shards=batch.shards[number : number + 1],
        context=_row(batch.context, number),
        target=None if batch.target is None else _row(batch.target, number),
    )


def _row(rows: Rows, number: int) -> Rows:
    def read(places: Places) -> Places:
        row = places.row[number : number + 1]
        return Places(row=torch.zeros_like(row), column=places.column[number : number + 1])

    only = slice(number, number + 1)
    return replace(
        rows,
        ids=rows.ids[only],
        branch=rows.branch[only],
        is_image=rows.is_image[only],
        images=rows.images[only],
        learned={name: _of_row(learned, number) for name, learned in rows.learned.items()},
        reads={name: read(places) for name, places in rows.reads.items()},
        latents=None if rows.latents is None else _of_row(rows.latents, number),
    )


def _of_row(found: Found, number: int) -> Found:
    """What of ``found`` lies in row ``number``, which is now the first."""
    kept = found.row == number
    parts: dict[str, Any] = {part.name: getattr(found, part.name)[kept] for part in fields(found)}
    return replace(found, **{**parts, "row": torch.zeros_like(parts["row"])})
