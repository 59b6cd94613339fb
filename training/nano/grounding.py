"""What ties words to places while words learn: losses that no later training needs.

"The red cube reads 0.46" is three hops: find by its name where the thing lies, look at the same
place in another picture, say what is there. Learnt from captions alone, none came about in 500
steps (readings correlated by .05 with the map), though all of it could be read off the picture's
tokens: colours in 97 % of cells, row and column in 99.9 %. So each hop has losses of its own, of
which a stage names those it wants (`recipe.Stage.ties`):

- a picture's tokens resemble the embeddings of the words for what they show (`spoken`: colour and
  shape; the character of a tag, `letter`; of a depth map the digit of the tenth, `shade`), and say
  in which row and column they lie (`place`): the projector passes on what it is asked for, and
  nothing else (after 1,400 steps without `letter` tags were read by chance in views in which the
  eyes name 96 of 100);
- one head of the second layer looks from a name at the cell of the thing (`find`), and the state
  then says which cell that is (`where`);
- one head of the third layer looks from there at the same cell of the depth map (`read`), and the
  state then says what tenth of the range is read there (`value`);
- one head of the last layer looks from where a decimal is to come back at the name (`fetch`);
- one head of the third layer looks from where the character of a tag is to come at the cells that
  show it (`glance`): that their tokens resemble it was not enough (260 steps of `letter`, by chance
  still).

Words said again (`recalled.py`) are two hops, in texts without pictures: one head of the first
layer looks at the token before (`before`), and one of the third from where a token is to come at
where it stood earlier (`recall`): what is known as an induction head (arXiv 2209.11895).

Leaves out captions and the loop.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from batches import IGNORED, Batch
from cells import COLUMNS, GRID, ROWS, UNKNOWN
from network import IMAGE_TOKENS, WIDTH
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import FastVlmForConditionalGeneration, PreTrainedTokenizerFast
from vocabulary import IMAGE

from pearl_data.rendering import COLOURS, LABEL_CHARACTERS, SHAPES

#: Layers, from 0, whose first head looks at the thing in its picture, then in the depth map, and
#: back at its name.
FIND_LAYER, READ_LAYER, FETCH_LAYER = 1, 2, 3
#: The same of the second head: at the token before, and at what is to be said again.
BEFORE_LAYER, RECALL_LAYER = 0, 2
#: The same of the third head: at the cells that show a tag.
GLANCE_LAYER = 2
#: Rows of `cells.KINDS`.
_COLOUR_ROW, _SHAPE_ROW, _TAG_ROW, _DEPTH_ROW = 0, 1, 3, 4


class StateHead(nn.Module):
    """One of `choices`, read off a state (H)."""

    def __init__(self, choices: int) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, choices))

    def forward(self, states: Tensor) -> Tensor:
        """(N, choices) of (N, H)."""
        scores: Tensor = self.head(states).float()
        return scores


class PlaceHead(nn.Module):
    """In which row and column a projected picture token (H) lies."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.row, self.column = nn.Linear(WIDTH, GRID), nn.Linear(WIDTH, GRID)

    def loss(self, tokens: Tensor) -> Tensor:
        """Sum of both cross-entropies; tokens (N, 36, H)."""
        normed = self.norm(tokens.float()).flatten(0, 1)
        rows, columns = (torch.from_numpy(values).repeat(len(tokens)) for values in (ROWS, COLUMNS))
        return cross_entropy(self.row(normed), rows) + cross_entropy(self.column(normed), columns)


class Readers(nn.Module):
    """What learns beside the model and is thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.where, self.place, self.value = StateHead(GRID * GRID), PlaceHead(), StateHead(10)


class Named(NamedTuple):
    """Names that were read, (N,) each: row and column of the last token, the cell of the thing, and
    the columns of that cell in the row's picture and depth map, -1 where there is none before it.
    """

    row: Tensor
    column: Tensor
    cell: Tensor
    in_picture: Tensor
    in_depth: Tensor


def named_in(batch: Batch, image_id: int) -> Named:
    """The names of a batch with the places that they name."""
    is_depth = (batch.cells[:, _DEPTH_ROW, 0] != UNKNOWN).tolist()
    rows, taken = [], 0
    for row, ids in enumerate(batch.ids):
        starts = (ids == image_id).nonzero()[:, 0].tolist()[::IMAGE_TOKENS]
        kinds = is_depth[taken : taken + len(starts)]
        taken += len(starts)
        for column in (batch.where[row] != UNKNOWN).nonzero()[:, 0].tolist():
            cell = int(batch.where[row, column])
            # of several pictures before a name the first is the whole one
            found = dict.fromkeys((False, True), UNKNOWN)
            for start, depth in reversed(list(zip(starts, kinds, strict=True))):
                if start < column:
                    found[depth] = start + cell
            rows.append((row, column, cell, found[False], found[True]))
    return Named(*torch.tensor(rows, dtype=torch.long).reshape(-1, 5).unbind(1))


class Glances(NamedTuple):
    """Characters of tags that are learnt: row and column of each (N,), and which columns of its row
    are cells before it that show such a tag (N, S).
    """

    row: Tensor
    column: Tensor
    shown: Tensor


def glances_in(batch: Batch, image_id: int, letters: Sequence[int], not_after: set[int]) -> Glances:
    """The characters of a batch that some picture before them shows on a tag; a digit within a
    number, after a token of `not_after`, is none.
    """
    rows, columns, shown, taken = [], [], [], 0
    for row, (ids, labels) in enumerate(
        zip(batch.ids.tolist(), batch.labels.tolist(), strict=True)
    ):
        starts = [at for at, token in enumerate(ids) if token == image_id][::IMAGE_TOKENS]
        tags = batch.cells[taken : taken + len(starts), _TAG_ROW]
        taken += len(starts)
        for column in range(1, len(ids)):
            token = ids[column]
            if labels[column] == IGNORED or token not in letters or ids[column - 1] in not_after:
                continue
            there = torch.zeros(len(ids), dtype=torch.bool)
            for start, cells in zip(starts, tags, strict=True):
                if start < column:
                    there[start : start + IMAGE_TOKENS] = cells == letters.index(token)
            if there.any():
                rows.append(row)
                columns.append(column)
                shown.append(there)
    places = torch.tensor([rows, columns], dtype=torch.long)
    return Glances(*places, torch.stack(shown) if shown else torch.zeros(0, 0, dtype=torch.bool))


class Recalled(NamedTuple):
    """Tokens that stood in their row before, (N,) each: their row and column, and the column there,
    of the longest stretch of tokens that is the same, the last of equals.
    """

    row: Tensor
    column: Tensor
    earlier: Tensor


def recalled_in(batch: Batch) -> Recalled:
    """The learnt tokens of a batch that were read or said before in their row."""
    found = []
    for row, (ids, labels) in enumerate(zip(batch.ids.numpy(), batch.labels.numpy(), strict=True)):
        column = 0
        while column < batch.lengths[row]:
            starts = (ids[:column] == ids[column]).nonzero()[0]
            if labels[column] == IGNORED or not len(starts):
                column += 1
                continue
            most = batch.lengths[row] - column
            learnt = int(np.append(labels[column:] != IGNORED, [False]).argmin())
            same = [_same(ids[start:column], ids[column : column + min(most, learnt)])
                    for start in starts]  # fmt: skip
            length = max(same)
            start = int(starts[len(same) - 1 - same[::-1].index(length)])
            found += [(row, column + at, start + at) for at in range(length)]
            column += length
    return Recalled(*torch.tensor(found, dtype=torch.long).reshape(-1, 3).unbind(1))


def _same(earlier: npt.NDArray[np.int64], later: npt.NDArray[np.int64]) -> int:
    """How many tokens are the same from the first on."""
    length = min(len(earlier), len(later))
    return int(np.append(earlier[:length] == later[:length], [False]).argmin())


def look_at(
    attention: Tensor, row: Tensor, column: Tensor, target: Tensor, *, head: int = 0
) -> Tensor:
    """Mean of -log of how much a head looks from (`row`, `column`) at `target`, which some of them
    have; attention (B, heads, S, S).
    """
    known = target != UNKNOWN
    share = attention[row[known], head, column[known], target[known]]
    return -(share.float() + 1e-6).log().mean()


def look_among(
    attention: Tensor, row: Tensor, column: Tensor, targets: Tensor, *, head: int
) -> Tensor:
    """Mean of -log of how much a head looks from (`row`, `column`) at `targets` (N, S), taken
    together; attention (B, heads, S, S).
    """
    share = (attention[row, head, column].float() * targets).sum(dim=-1)
    return -(share + 1e-6).log().mean()


def spoken(tokens: Tensor, wanted: Tensor, embeddings: Tensor) -> Tensor:
    """Mean cross-entropy of what cells (N, 36) show, where it is known and has a word, by the
    likeness of projected tokens (N, 36, H) to the words' embeddings (W, H), which do not learn from
    it.
    """
    known = (wanted != UNKNOWN) & (wanted < len(embeddings))
    if not known.any():
        return tokens.sum() * 0
    return cross_entropy(tokens[known].float() @ embeddings.detach().float().T, wanted[known])


class Grounding:
    """The losses of one batch by name, those of `ties`; `readers` learn beside the model."""

    def __init__(
        self, readers: Readers, tokenizer: PreTrainedTokenizerFast, ties: Sequence[str]
    ) -> None:
        self.readers = readers
        self.ties = ties
        self._image_id = tokenizer.convert_tokens_to_ids(IMAGE)
        self._in_numbers = {tokenizer(text).input_ids[0] for text in ("[", *".0123456789")}
        self._colours, self._shapes, self._letters, self._digits = (
            [tokenizer(word).input_ids[0] for word in words]
            for words in (
                [f" {colour}" for colour in COLOURS],
                [f" {shape}" for shape in SHAPES],
                LABEL_CHARACTERS,
                [str(digit) for digit in range(10)],
            )
        )

    def losses(
        self,
        model: FastVlmForConditionalGeneration,
        tokens: Tensor,
        states: Sequence[Tensor],
        attentions: Sequence[Tensor],
        batch: Batch,
    ) -> dict[str, Tensor]:
        """Of projected picture tokens (N, 36, H), states (B, S, H) before the first and after every
        layer, attentions (B, heads, S, S) of every layer; none of which the batch says nothing.
        """
        if not len(batch.cells):
            return {k: v for k, v in self._of_words(attentions, batch).items() if k in self.ties}
        words = model.get_input_embeddings().weight
        cells = batch.cells
        losses = {
            "spoken": spoken(tokens, cells[:, _COLOUR_ROW], words[self._colours])
            + spoken(tokens, cells[:, _SHAPE_ROW], words[self._shapes]),
            "letter": spoken(tokens, cells[:, _TAG_ROW], words[self._letters]),
            "shade": spoken(tokens, cells[:, _DEPTH_ROW], words[self._digits]),
            "place": self.readers.place.loss(tokens),
        }
        named = named_in(batch, self._image_id)
        if len(named.row):
            found = self.readers.where(states[FIND_LAYER + 1][named.row, named.column])
            losses["where"] = cross_entropy(found, named.cell)
        tenth = batch.tenth
        if (tenth != UNKNOWN).any():
            known = tenth != UNKNOWN
            losses["value"] = cross_entropy(
                self.readers.value(states[READ_LAYER + 1][known]), tenth[known]
            )
        seen = glances_in(batch, self._image_id, self._letters, self._in_numbers)
        if len(seen.row):
            losses["glance"] = look_among(
                attentions[GLANCE_LAYER], seen.row, seen.column - 1, seen.shown, head=2
            )
        # a token is foreseen by the state before it
        row, column = (batch.source[:, 1:] != UNKNOWN).nonzero().unbind(1)
        looks = {
            "find": (FIND_LAYER, named.row, named.column, named.in_picture),
            "read": (READ_LAYER, named.row, named.column, named.in_depth),
            "fetch": (FETCH_LAYER, row, column, batch.source[row, column + 1]),
        }
        for name, (layer, *where) in looks.items():
            if (where[-1] != UNKNOWN).any():
                losses[name] = look_at(attentions[layer], *where)
        return {name: loss for name, loss in losses.items() if name in self.ties}

    def _of_words(self, attentions: Sequence[Tensor], batch: Batch) -> dict[str, Tensor]:
        row, column, earlier = recalled_in(batch)
        inside = torch.arange(batch.ids.shape[1]) < torch.tensor(batch.lengths)[:, None]
        rows, columns = inside[:, 1:].nonzero().unbind(1)
        losses = {"before": look_at(attentions[BEFORE_LAYER], rows, columns + 1, columns, head=1)}
        if len(row):
            # a token is foreseen by the state before it
            losses["recall"] = look_at(attentions[RECALL_LAYER], row, column - 1, earlier, head=1)
        return losses
