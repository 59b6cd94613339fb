"""Where each token of a packed row stands: every branch continues the prefix as if it were alone.

One-dimensional positions count along prefix and branch. Families with multimodal rotary positions
(Qwen2-VL and after) lay pictures out in time, height and width; there each view, prefix plus
branch, goes through the family's own ``get_rope_index`` as a row by itself, so that no rule of
theirs is written twice.

Dimensions: B rows, L columns, V views, P pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pearl_train.views.batch import PREFIX, Rows


def counted_positions(branch: Tensor) -> Tensor:
    """(B, L) positions from 0 along each view; 0 for padding."""
    prefix = branch == PREFIX
    length = prefix.sum(dim=1, keepdim=True)
    positions = torch.where(prefix, prefix.cumsum(dim=1) - 1, 0)
    for number in range(1, int(branch.max()) + 1):
        own = branch == number
        positions = torch.where(own, length + own.cumsum(dim=1) - 1, positions)
    return positions


def multimodal_positions(
    core: Any, rows: Rows, image_tokens: Sequence[int], grids: Tensor
) -> Tensor:
    """(3, B, L) positions in time, height and width, on the device of ``rows``; 0 for padding.

    ``core`` is the network without its head, which has ``get_rope_index``; ``grids`` (P, 3) are the
    pictures' ``image_grid_thw``, on the CPU, where all of this is computed.
    """
    ids, branch, is_image = rows.ids.cpu(), rows.branch.cpu(), rows.is_image.cpu()
    views = _views(branch, is_image, rows.images, image_tokens)
    longest = max(len(view.columns) for view in views)
    view_ids = torch.zeros(len(views), longest, dtype=torch.long)
    kinds = torch.zeros(len(views), longest, dtype=torch.int)
    real = torch.zeros(len(views), longest, dtype=torch.long)
    for number, (row, columns, _) in enumerate(views):
        view_ids[number, : len(columns)] = ids[row, columns]
        kinds[number, : len(columns)] = is_image[row, columns].int()
        real[number, : len(columns)] = 1
    pictures = [picture for view in views for picture in view.pictures]
    placed, _ = core.get_rope_index(
        view_ids,
        mm_token_type_ids=kinds,
        image_grid_thw=grids[pictures] if pictures else None,
        attention_mask=real,
    )
    positions = torch.zeros(3, *ids.shape, dtype=torch.long)
    for number, (row, columns, _) in enumerate(views):
        positions[:, row, columns] = placed[:, number, : len(columns)]
    return positions.to(rows.ids.device)


class _View(NamedTuple):
    """Prefix and one branch of a row: its columns and the pictures in them, in order."""

    row: int
    columns: Tensor
    pictures: list[int]


def _views(
    branch: Tensor, is_image: Tensor, images: Sequence[Sequence[int]], image_tokens: Sequence[int]
) -> list[_View]:
    views = []
    for row, pictures in enumerate(images):
        starts = picture_starts(is_image[row], [image_tokens[picture] for picture in pictures])
        owners = branch[row, starts].tolist()
        last = int(branch[row].max())
        for number in range(1, last + 1) if last > PREFIX else (PREFIX,):
            inside = (branch[row] == PREFIX) | (branch[row] == number)
            shown = [
                picture
                for picture, owner in zip(pictures, owners, strict=True)
                if owner in {PREFIX, number}
            ]
            views.append(_View(row, inside.nonzero()[:, 0], shown))
    return views


def picture_starts(is_image: Tensor, tokens: Sequence[int]) -> Tensor:
    """The column of each picture's first token in a row; ``is_image`` (L,), ``tokens`` per picture.

    Raises ``ValueError`` where the row holds another number of image tokens than its pictures.
    """
    columns = is_image.nonzero()[:, 0]
    if len(columns) != sum(tokens):
        raise ValueError(f"expected {sum(tokens)} image tokens ({tokens}), got {len(columns)}")
    before = torch.tensor([0, *tokens], dtype=torch.long).cumsum(0)[:-1]
    return columns[before]
