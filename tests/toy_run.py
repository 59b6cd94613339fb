"""A toy that the training loop drives: tokens in, terms out, in microseconds.

It has everything that can break a resume: dropout, a teacher that moves, a part that some steps
leave out (loss dropout), a frozen weight, tied weights, tokens that fall unevenly.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from pearl_train.objectives.base import Moment, Term, Terms, Views
from pearl_train.settings.config import Config
from pearl_train.training.ingredients import Ingredients
from pearl_train.views.batch import Batch, Rows

VOCABULARY, HIDDEN, SAMPLES = 23, 8, 50


def toy_config(*, parallel: str = "ddp", **sections: dict[str, Any]) -> Config:
    """Twelve updates of six samples in two micro-batches; ``sections`` change it."""
    base = {
        "optim": {"steps": 12, "batch": 6, "micro_batch": 3, "lr": 0.01, "warmup": 0.25},
        "log": {"every": 3, "panel_every": 4, "tensorboard": False},
        "checkpoint": {"every": 4, "keep_last": 3},
        "model": {"id": "toy"},
    }
    merged = {name: {**base.get(name, {}), **sections.get(name, {})} for name in {*base, *sections}}
    return msgspec.convert({**merged, "parallel": parallel}, Config)


class Toy(nn.Module):
    """Predicts each token from the one before; the teacher's mean of a row is its target."""

    _no_split_modules = ("LayerNorm", "Absent")  # what FSDP2 shards by itself

    def __init__(self, seed: int = 0, dropout: float = 0.2) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(VOCABULARY, HIDDEN)
        self.mix = nn.Linear(HIDDEN, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN)
        self.frozen = nn.Linear(HIDDEN, HIDDEN)
        self.frozen.requires_grad_(False)
        self.head = nn.Linear(HIDDEN, VOCABULARY, bias=False)
        self.head.weight = self.embed.weight
        self.apart = nn.Linear(HIDDEN, HIDDEN)
        self.dropout = nn.Dropout(dropout)
        self.teacher = deepcopy(self.mix).requires_grad_(False)

    def hidden(self, ids: Tensor) -> Tensor:
        return self.norm(self.mix(self.dropout(self.frozen(self.embed(ids)).tanh())))

    def forward(self, batch: Batch, moment: Moment, targets: Tensor | None) -> Terms:
        rows = batch.context
        real = rows.branch >= 0
        hidden = self.hidden(rows.ids)
        logits = self.head(hidden[:, :-1])[real[:, 1:]]
        vlm = nn.functional.cross_entropy(logits, rows.ids[:, 1:][real[:, 1:]], reduction="sum")
        anybody = float(bool(batch.keys))
        losses = {"vlm": Term(anybody * vlm, "answer")}
        share = real.float() / real.sum(1, keepdim=True)
        predicted = (hidden * share[..., None]).sum(1)
        with torch.no_grad():
            target = (self.teacher(self.embed(rows.ids)) * share[..., None]).sum(1)
        if moment.jepa_weight:
            distance = (self.apart(predicted) - target).square().mean(-1).sum()
            losses["jepa"] = Term(anybody * distance, "samples", moment.jepa_weight)
        return Terms(losses, Views(predicted.detach(), target, batch.keys, moment.step))

    def move_teacher(self) -> None:
        with torch.no_grad():
            for kept, new in zip(self.teacher.parameters(), self.mix.parameters(), strict=True):
                kept.lerp_(new, 0.1)


def toy_batch(numbers: Sequence[int]) -> Batch:
    """Samples ``numbers``, two to nine tokens each."""
    shown = numbers or [0]  # where nobody is in it, there is still something to compute
    texts = [[random.Random(n).randrange(VOCABULARY) for _ in range(2 + n % 8)] for n in shown]
    width = max(len(text) for text in texts)
    ids = torch.tensor([text + [0] * (width - len(text)) for text in texts], dtype=torch.long)
    branch = torch.tensor([[0] * len(text) + [-1] * (width - len(text)) for text in texts])
    return Batch(
        keys=tuple(f"sample-{n:02d}" for n in numbers),
        shards=tuple(f"shards/{n // 8:06d}.tar" for n in numbers),
        images={},
        image_tokens=(),
        context=Rows(ids=ids, branch=branch, is_image=branch > 9, images=((),) * len(shown)),
        target=None,
        counts={
            "samples": len(numbers),
            "answer": sum(len(text) - 1 for text in texts) * bool(numbers),
        },
    )


def toy_batches(config: Config, rank: int = 0, world: int = 1) -> Any:
    """Micro-batches from a step on: every process takes its part of each step's samples."""

    def batches(start: int) -> Iterator[list[Batch]]:
        size = config.optim.micro_batch
        for step in range(start, config.optim.steps):
            order = [
                (step * config.optim.batch + n) * 7 % SAMPLES for n in range(config.optim.batch)
            ]
            mine = order[rank::world]
            passes = -(-config.optim.batch // (size * world))  # the same number in every process
            yield [toy_batch(mine[at * size : (at + 1) * size]) for at in range(passes)]

    return batches


def toy_moment(step: int) -> Moment:
    """Every third step goes without the second term."""
    return Moment(step=step, jepa_weight=0.0 if step % 3 == 2 else 0.5)


class ToyPanel:
    """Remembers the embeddings it has seen, as the collapse panel does."""

    def __init__(self, warning: str = "") -> None:
        self.seen = torch.zeros(0, HIDDEN)
        self.warning = warning

    def look(
        self, terms: Terms, counts: Mapping[str, float], trained: Sequence[nn.Parameter]
    ) -> None:
        """Measures nothing."""

    def see(self, terms: Terms) -> None:
        assert terms.views is not None
        self.seen = torch.cat([self.seen, terms.views.target])[-5:]

    def report(self) -> tuple[dict[str, float], str]:
        return {"target_std": float(self.seen.std())}, self.warning

    @property
    def collapsed(self) -> bool:
        return bool(self.warning)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"seen": self.seen}, {}

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        self.seen = tensors["seen"]


def toy_ingredients(config: Config, **changes: Any) -> Ingredients:
    """The toy with its batches; ``changes`` replace parts of it."""
    toy = changes.pop("trainee", None) or Toy()
    parts: dict[str, Any] = {
        "trainee": toy,
        "batches": toy_batches(config),
        "moment": toy_moment,
        "after_update": toy.move_teacher,
        "panel": ToyPanel(),
    }
    return Ingredients(**{name: part for name, part in (parts | changes).items() if part})


def beside(folder: Path) -> None:
    """Stands for the processor that is saved with a checkpoint."""
    (folder / "processor").mkdir()
    (folder / "processor" / "tokens.json").write_text("{}")
