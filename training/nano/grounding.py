"""What ties words to places while words learn: five losses that no later training needs.

"The red cube reads 0.46" is two hops: find by its name where the thing lies, then read the same
place in another picture. Learnt from captions alone, neither came about in 500 steps (readings
correlated by .05 with the map), though all of it could be read off the picture's tokens: colours
in 97 % of cells, row and column in 99.9 %. So each hop has a loss of its own:

- a picture's tokens resemble the embeddings of the words for what they show (`spoken`), and say
  in which row and column they lie (`PlaceHead`): the projector passes on what it is asked for;
- one head of the second layer looks from a name at the cell of the thing (`look_at`), and the state
  then says which cell that is (`WhereHead`);
- one head of the third layer looks from there at the same cell of the depth map (`look_at`).

Leaves out captions and the loop.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from batches import Batch
from cells import COLUMNS, GRID, ROWS, UNKNOWN
from network import IMAGE_TOKENS, WIDTH
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import FastVlmForConditionalGeneration, PreTrainedTokenizerFast
from vocabulary import IMAGE

from pearl_data.rendering import COLOURS, SHAPES

#: Layers, from 0, whose first head looks at the thing in its picture and then in the depth map.
FIND_LAYER, READ_LAYER = 1, 2
_DEPTH_ROW = 4


class WhereHead(nn.Module):
    """In which cell the thing lies that has just been named, read off a state (H)."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, GRID * GRID))

    def forward(self, states: Tensor) -> Tensor:
        """(N, 36) of (N, H)."""
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
        self.where, self.place = WhereHead(), PlaceHead()


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


def look_at(attention: Tensor, named: Named, target: Tensor) -> Tensor:
    """Mean of -log of how much the first head looks from names at `target`, which some of them
    have; attention (B, heads, S, S).
    """
    known = target != UNKNOWN
    share = attention[named.row[known], 0, named.column[known], target[known]]
    return -(share.float() + 1e-6).log().mean()


def spoken(tokens: Tensor, cells: Tensor, words: Sequence[Tensor]) -> Tensor:
    """Mean cross-entropy of the colour and the shape in cells (N, 7, 36) that show a thing, by the
    likeness of projected tokens (N, 36, H) to the embeddings (8, H) of the colours and (7, H) of
    the shapes, which do not learn from it.
    """
    terms = []
    for row, embeddings in enumerate(words):
        wanted = cells[:, row]
        known = (wanted != UNKNOWN) & (wanted < len(embeddings))
        if known.any():
            scores = tokens[known].float() @ embeddings.detach().float().T
            terms.append(cross_entropy(scores, wanted[known]))
    return torch.stack(terms).sum() if terms else tokens.sum() * 0


class Grounding:
    """The losses of one batch, by name; `readers` learn beside the model."""

    def __init__(self, readers: Readers, tokenizer: PreTrainedTokenizerFast) -> None:
        self.readers = readers
        self._image_id = tokenizer.convert_tokens_to_ids(IMAGE)
        self._colours, self._shapes = (
            [tokenizer(f" {word}").input_ids[0] for word in words] for words in (COLOURS, SHAPES)
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
        layer, attentions (B, heads, S, S) of every layer.
        """
        embeddings = model.get_input_embeddings().weight
        words = [embeddings[self._colours], embeddings[self._shapes]]
        losses = {
            "spoken": spoken(tokens, batch.cells, words),
            "place": self.readers.place.loss(tokens),
        }
        named = named_in(batch, self._image_id)
        if len(named.row):
            found = self.readers.where(states[FIND_LAYER + 1][named.row, named.column])
            losses["where"] = cross_entropy(found, named.cell)
            looks = {
                "find": (FIND_LAYER, named.in_picture),
                "read": (READ_LAYER, named.in_depth),
            }
            for name, (layer, target) in looks.items():
                if (target != UNKNOWN).any():
                    losses[name] = look_at(attentions[layer], named, target)
        return losses
