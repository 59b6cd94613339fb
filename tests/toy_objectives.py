"""A toy backbone and batches for it: what objectives need of the real ones, in milliseconds.

The toy is a two-layer causal transformer with dropout on made-up ids; a picture is two tokens. A
:class:`ToySample` is packed by :func:`toy_batch` as the collator packs real ones.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pearl_train.model.backbone import Fills
from pearl_train.model.images import ImageFeatures
from pearl_train.model.masks import view_mask
from pearl_train.model.positions import counted_positions
from pearl_train.model.tokens import SpecialTokens
from pearl_train.objectives import plan_views
from pearl_train.objectives.base import Terms
from pearl_train.objectives.schedule import moment
from pearl_train.objectives.trainee import Trainee, make_trainee
from pearl_train.settings.config import Config
from pearl_train.training.collapse import Panel
from pearl_train.views.batch import PADDING, Batch, Latents, Learned, Places, Rows, ViewPlan

HIDDEN = 16
VOCABULARY = 48
PICTURE_TOKENS = 2
PAD, IMAGE = 0, 1
TOKENS = SpecialTokens(pred=(2, 3, 4, 5), pause=(6, 7), lvr_start=8, lvr=9, lvr_end=10)
WORDS = range(12, VOCABULARY)


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(HIDDEN) for _ in range(2)])
        self.qkv = nn.Linear(HIDDEN, 3 * HIDDEN)
        self.up, self.down = nn.Linear(HIDDEN, 32), nn.Linear(32, HIDDEN)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norms[0](x)).chunk(3, dim=-1)
        x = x + self.dropout(functional.scaled_dot_product_attention(q, k, v, mask))
        return x + self.dropout(self.down(functional.gelu(self.up(self.norms[1](x)))))


class ToyBackbone(nn.Module):
    """The surface of :class:`pearl_train.model.backbone.Backbone`, and a count of what ran."""

    tokens = TOKENS
    hidden_size = HIDDEN
    processor = None
    device = torch.device("cpu")

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(VOCABULARY, HIDDEN)
            self.place = nn.Embedding(64, HIDDEN)
            self.vision = nn.Linear(6, HIDDEN)
            self.layers = nn.ModuleList([_Layer() for _ in range(2)])
            self.adapter = nn.Linear(HIDDEN, HIDDEN, bias=False)  # as LoRA: off for the base
            self.norm = nn.LayerNorm(HIDDEN)
            self.head = nn.Linear(HIDDEN, VOCABULARY, bias=False)
        nn.init.zeros_(self.adapter.weight)
        self.adapted = True
        self.pictures_encoded: list[tuple[int, bool]] = []
        self.rows_read: list[tuple[tuple[int, ...], bool]] = []
        self.logits_made = 0

    @property
    def plain(self) -> ToyBackbone:
        return self

    network = plain

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def image_features(
        self, images: Mapping[str, Tensor], image_tokens: Sequence[int]
    ) -> ImageFeatures:
        self.pictures_encoded.append((len(image_tokens), torch.is_grad_enabled()))
        values = self.vision(images["pixel_values"])
        assert len(values) == sum(image_tokens)
        return ImageFeatures(values=values, tokens=tuple(image_tokens), listed=False)

    def hidden(
        self, rows: Rows, images: ImageFeatures | None, *, fills: Fills | None = None
    ) -> Tensor:
        self.rows_read.append((tuple(rows.ids.shape), torch.is_grad_enabled()))
        x = self.embedding(rows.ids)
        if fills is not None:
            x = x.index_put((fills.row, fills.column), fills.values)
        shown = [number for row in rows.images for number in row]
        if shown:
            index = [n * PICTURE_TOKENS + k for n in shown for k in range(PICTURE_TOKENS)]
            x = x.index_put(rows.is_image.nonzero(as_tuple=True), images.flat(torch.tensor(index)))
        x = x + self.place(counted_positions(rows.branch))
        for layer in self.layers:
            x = layer(x, view_mask(rows.branch))
        if self.adapted:
            x = x + self.adapter(x)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        self.logits_made += len(hidden)
        return self.head(hidden)

    def frozen_logits(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.head.weight.detach())

    def embed(self, ids: Tensor) -> Tensor:
        return self.embedding(ids)

    @contextmanager
    def base_weights(self) -> Iterator[None]:
        self.adapted = False
        try:
            yield
        finally:
            self.adapted = True


@dataclass(frozen=True)
class ToySample:
    """Ids of each view, ``IMAGE`` once for each picture; ``i0`` and ``crop`` are picture seeds.

    ``wrong`` are places in ``trajectory`` that are read and not learned.
    """

    key: str
    question: tuple[int, ...]
    answer: tuple[int, ...]
    trajectory: tuple[int, ...]
    target: tuple[int, ...]
    i0: int
    crop: int
    wrong: tuple[int, ...] = ()


def toy_sample(number: int) -> ToySample:
    """Sample ``number``: its target and answer follow from its pictures and question."""
    draw = random.Random(number)

    def words(count: int) -> tuple[int, ...]:
        return tuple(draw.choices(WORDS, k=count))

    return ToySample(
        key=f"toy-{number}",
        question=(IMAGE, *words(draw.randint(2, 5))),
        answer=words(draw.randint(2, 4)),
        trajectory=(*words(3), IMAGE, *words(3)),
        target=(*words(2), IMAGE, *words(draw.randint(2, 4))),
        i0=2 * number,
        crop=2 * number + 1,
    )


def toy_batch(samples: Sequence[ToySample], plan: ViewPlan) -> Batch:
    """The samples in the views of ``plan``; pictures in order of appearance, context first."""
    pictures: dict[int, int] = {}

    def number(seed: int) -> int:
        return pictures.setdefault(seed, len(pictures))

    rows = [_context(sample, plan) for sample in samples]
    context = _packed(rows, [[number(s) for s in row["pictures"]] for row in rows])
    target = None
    if plan.target:
        rows = [_target(sample) for sample in samples]
        target = _packed(rows, [[number(s) for s in row["pictures"]] for row in rows])
    pixels = [
        torch.randn(PICTURE_TOKENS, 6, generator=torch.Generator().manual_seed(seed))
        for seed in pictures
    ]
    counts = {name: len(learned.id) for name, learned in context.learned.items()}
    counts["samples"] = len(samples)
    if context.latents:
        counts["latents"] = len(context.latents.row)
    return Batch(
        keys=tuple(sample.key for sample in samples),
        shards=("toy",) * len(samples),
        images={"pixel_values": torch.cat(pixels)},
        image_tokens=(PICTURE_TOKENS,) * len(pictures),
        image_sizes={"pixel_values": (PICTURE_TOKENS,) * len(pictures)},
        context=context,
        target=target,
        counts=counts,
    )


def _expanded(ids: Sequence[int]) -> list[int]:
    return [i for one in ids for i in ([one] * PICTURE_TOKENS if one == IMAGE else [one])]


def _context(sample: ToySample, plan: ViewPlan) -> dict[str, Any]:
    prefix = _expanded(sample.question)
    ids, branch = list(prefix), [0] * len(prefix)
    row: dict[str, Any] = {"pictures": [sample.i0], "learned": {}, "latents": []}
    row["reads"] = {"end-of-question": len(prefix) - 2, "last-pred": len(prefix) - 1}
    for number, name in enumerate(plan.branches, start=1):
        learn: list[bool]
        if name == "pred":
            piece = list(TOKENS.pred[: plan.pred_tokens])
            learn = [False] * len(piece)
            row["reads"]["last-pred"] = len(ids) + len(piece) - 1
        elif name == "trajectory":
            piece = _expanded(sample.trajectory)
            wrong = {p + (PICTURE_TOKENS - 1) * (p > 3) for p in sample.wrong}
            learn = [i != IMAGE and at not in wrong for at, i in enumerate(piece)]
            row["pictures"].append(sample.crop)
        elif name == "lvr":
            latents = [TOKENS.lvr] * PICTURE_TOKENS
            piece = [TOKENS.lvr_start, *latents, TOKENS.lvr_end, *sample.answer]
            learn = [i != TOKENS.lvr for i in piece]
            row["latents"] = [len(ids) + 1 + k for k in range(PICTURE_TOKENS)]
        else:
            pauses = list(TOKENS.pause[: plan.pause_tokens])
            piece = [*pauses, *sample.answer]
            learn = [False] * len(pauses) + [True] * len(sample.answer)
        start = len(ids)
        if name != "pred":
            row["learned"][name] = [
                ((len(prefix) if at == 0 else start + at) - 1, start + at, piece[at])
                for at in range(len(piece))
                if learn[at]
            ]
        ids += piece
        branch += [number] * len(piece)
    return row | {"ids": ids, "branch": branch}


def _target(sample: ToySample) -> dict[str, Any]:
    ids = _expanded(sample.target)
    reads = {"last": len(ids) - 1, "before-conclusion": len(ids) - 2}
    return {
        "ids": ids,
        "branch": [0] * len(ids),
        "pictures": [sample.crop],
        "learned": {},
        "reads": reads,
        "latents": [],
    }


def _packed(rows: Sequence[dict[str, Any]], images: Sequence[Sequence[int]]) -> Rows:
    longest = max(len(row["ids"]) for row in rows)
    ids = torch.tensor([row["ids"] + [PAD] * (longest - len(row["ids"])) for row in rows])
    branch = [row["branch"] + [PADDING] * (longest - len(row["ids"])) for row in rows]
    learned = {}
    for name in rows[0]["learned"]:
        listed = [(n, *token) for n, row in enumerate(rows) for token in row["learned"][name]]
        columns = torch.tensor(listed).T
        learned[name] = Learned(row=columns[0], source=columns[1], column=columns[2], id=columns[3])
    reads = {
        name: Places(
            row=torch.arange(len(rows)), column=torch.tensor([row["reads"][name] for row in rows])
        )
        for name in rows[0]["reads"]
    }
    latents = None
    if rows[0]["latents"]:
        places = [(n, at, k) for n, row in enumerate(rows) for k, at in enumerate(row["latents"])]
        latents = Latents(
            row=torch.tensor([n for n, _, _ in places]),
            source=torch.tensor([at - 1 for _, at, _ in places]),
            column=torch.tensor([at for _, at, _ in places]),
            feature=torch.tensor([images[n][0] * PICTURE_TOKENS + k for n, _, k in places]),
        )
    return Rows(
        ids=ids,
        branch=torch.tensor(branch),
        is_image=ids == IMAGE,
        images=tuple(tuple(row) for row in images),
        learned=learned,
        reads=reads,
        latents=latents,
    )


def toy_trainee(config: Config, seed: int = 0) -> Trainee:
    """A trainee of its own on a toy backbone, in training mode."""
    return make_trainee(ToyBackbone(seed), config).train()


def loss_of(terms: Terms, counts: Mapping[str, int]) -> Tensor:
    """L as the loop computes it."""
    return torch.stack(
        [term.weight * term.total / counts[term.unit] for term in terms.losses.values()]
    ).sum()


def toy_train(
    trainee: Trainee,
    config: Config,
    steps: int,
    *,
    samples: int = 8,
    lr: float = 1e-2,
    panel: Panel | None = None,
) -> list[float]:
    """Train with AdamW on the same few samples, seeded per step as the loop does; the losses."""
    plan = plan_views(config.objective)
    batch = toy_batch([toy_sample(n) for n in range(samples)], plan)
    optimizer = torch.optim.AdamW([p for p in trainee.parameters() if p.requires_grad], lr=lr)
    losses = []
    for step in range(steps):
        torch.manual_seed(1000 + step)
        terms = trainee(batch, moment(config, step))
        if panel:
            panel.see(terms)
            panel.read()
        loss = loss_of(terms, batch.counts)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        trainee.after_update()
        losses.append(float(loss.detach()))
    return losses
