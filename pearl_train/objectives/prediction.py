"""h_hat_R: where the prediction is read, and rows without the tokens that it is read from."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pearl_train.settings.config import ObjectiveConfig
from pearl_train.views.batch import PADDING, PREFIX, Places, Rows


def predict(hidden: Tensor, rows: Rows, options: ObjectiveConfig) -> Tensor:
    """h_hat_R (B, H), read from the states (B, L, H) of the context rows.

    The predictor is the network itself. Its state at the last [PRED] token, behind the prompt, has
    read the question and the [PRED] tokens before it; with K = 0 it is that at the last token of
    the prompt. Or as in the release: [PRED] tokens end the user's turn, and the state is that at
    the token which closes it (the last [PRED] token where a template closes turns by none).
    """
    place = rows.reads[options.pred_position]
    return hidden[place.row, place.column]


def without_prediction(rows: Rows) -> Rows:
    """``rows`` without the branch of [PRED] tokens: what is left is as if it had never been there.

    For steps that drop L_JEPA. The network then often sees one view per row, which needs no block
    mask. The same rows if there is no such branch.
    """
    read = rows.reads.get("last-pred")
    if read is None:
        return rows
    number = torch.zeros_like(rows.branch[:, :1])
    number[read.row, 0] = rows.branch[read.row, read.column]
    dropped = (rows.branch == number) & (number != PREFIX)
    if not bool(dropped.any()):
        return rows
    kept = ~dropped & (rows.branch != PADDING)
    gone = {name for name, at in rows.reads.items() if dropped[at.row, at.column].any()}
    order = torch.argsort((~kept).to(torch.int8), dim=1, stable=True)
    order = order[:, : int(kept.sum(dim=1).max())]
    column = kept.cumsum(dim=1) - 1

    def moved(places: Places) -> Places:
        return Places(row=places.row, column=column[places.row, places.column])

    return replace(
        rows,
        ids=rows.ids.gather(1, order),
        branch=rows.branch.masked_fill(~kept, PADDING).gather(1, order),
        is_image=(rows.is_image & kept).gather(1, order),
        learned={
            name: replace(
                learned,
                source=column[learned.row, learned.source],
                column=column[learned.row, learned.column],
            )
            for name, learned in rows.learned.items()
        },
        reads={name: moved(at) for name, at in rows.reads.items() if name not in gone},
    )
