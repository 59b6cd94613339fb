"""The variants of ``bench/train.py``, made ready to step: ours, and the scheme of the release.

Left out: which there are (:mod:`bench.variants`), and measuring them (``bench/train.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import click
import torch
from torch import Tensor, nn

from bench.shapes import SHAPES, make
from bench.variants import RELEASE
from pearl_data.shards import DatasetReader
from pearl_train.model.backbone import Backbone
from pearl_train.model.build import build_backbone, made_ready
from pearl_train.objectives import needs, plan_views
from pearl_train.objectives.base import Terms
from pearl_train.objectives.distance import DISTANCES
from pearl_train.objectives.next_token import next_token
from pearl_train.objectives.pearl import target_plan
from pearl_train.objectives.schedule import moment
from pearl_train.objectives.target import embed_rows
from pearl_train.objectives.trainee import make_trainee
from pearl_train.settings.config import Config, ObjectiveConfig, OptimConfig, TargetConfig
from pearl_train.training.ingredients import nothing
from pearl_train.training.optim import make_optimizer
from pearl_train.training.update import weighted
from pearl_train.views.batch import PADDING, Batch, Rows, ViewPlan
from pearl_train.views.collate import collate, joined
from pearl_train.views.encode import Dropped, Encoder, encode_sample


class Runner(NamedTuple):
    """One variant, ready to step: ``losses(number)`` makes the loss of batch ``number``."""

    losses: Callable[[int], Tensor]
    optimizer: torch.optim.Optimizer
    tokens: float
    held: int
    """Bytes of weights, gradients and moments."""
    after: Callable[[], None] = nothing
    """What an objective does after each update: a teacher moves, frozen rows are put back."""

    def step(self, number: int) -> None:
        """Forward, backward, update."""
        self.losses(number).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.after()


class Setting(NamedTuple):
    """What all variants share: samples, their number in a batch and of batches, the device."""

    config: Config
    reader: DatasetReader
    size: int
    batches: int
    device: str


Make = Callable[[], Runner]


def makes_of(setting: Setting, rows: Mapping[str, ObjectiveConfig]) -> dict[str, Make]:
    """How each variant is made."""
    makes: dict[str, Make] = {
        name: partial(_runner, setting, _replaced(setting.config, options))
        for name, options in rows.items()
    }
    makes[RELEASE] = partial(_release, setting)
    return makes


def _replaced(config: Config, options: ObjectiveConfig) -> Config:
    """``config`` with another objective."""
    return Config(model=config.model, objective=options)


def _backbone(setting: Setting, config: Config) -> Backbone:
    """The network on its device: loaded, or random in the shape of another."""
    options, trained = config.model, config.objective.pred == "trained"
    if options.id not in SHAPES:
        return build_backbone(options, train_pred=trained).to(setting.device)
    half = options.dtype == "bfloat16" and options.lora is not None  # as load_model has it
    network, processor = make(
        options.id,
        _texts(setting.reader),
        device=setting.device,
        dtype=torch.bfloat16 if half else torch.float32,
        attention=options.attention,
    )
    return made_ready(network, processor, options, train_pred=trained)


def _texts(reader: DatasetReader) -> Iterator[str]:
    """All words of the records."""
    for number in range(len(reader)):
        record = reader.record(number)
        yield from (record.task.question, *record.task.choices, record.final.thought)
        for step in record.steps:
            yield step.thought
            yield from (text for c in step.calls for text in (c.arguments_raw, c.result.text))


def _batches(
    backbone: Backbone,
    options: ObjectiveConfig,
    plan: ViewPlan,
    reader: DatasetReader,
    size: int,
    count: int,
) -> list[Batch]:
    encoder = Encoder(backbone.processor, backbone.tokens, objective=options)
    samples = []
    for number in range(min(size * count, len(reader))):
        sample = encode_sample(reader[number], "bench", plan, encoder)
        if isinstance(sample, Dropped):
            raise click.ClickException(f"{sample.key}: {sample.reason}; choose another --data")
        samples.append(sample)
    if len(samples) < size * count:
        raise click.ClickException(f"expected {size * count} samples, got {len(samples)}")
    return [
        collate(samples[start : start + size], pad_id=encoder.pad_id)
        for start in range(0, size * count, size)
    ]


def _runner(setting: Setting, config: Config) -> Runner:
    reader, size, count, device = setting[1:]
    options = config.objective
    backbone = _backbone(setting, config)
    plan = plan_views(options)
    batches = [b.to(device) for b in _batches(backbone, options, plan, reader, size, count)]
    targets: list[Tensor | None] = [None] * count
    if "cache" in needs(options):
        made = _batches(backbone, options, target_plan(options), reader, size, count)
        with torch.no_grad():
            targets = [embed_rows(backbone, b.to(device), options.target) for b in made]
    trainee = make_trainee(backbone, config).train()

    def losses(number: int) -> Tensor:
        here = batches[number % count]
        terms = trainee(here, moment(config, number), targets[number % count])
        return weighted(terms, here.counts)

    tokens = sum(_tokens(b.context) + (_tokens(b.target) if b.target else 0) for b in batches)
    optimizer = make_optimizer(trainee, OptimConfig())
    return Runner(losses, optimizer, tokens / count, _held(trainee), trainee.after_update)


def _release(setting: Setting) -> Runner:
    """L_VLM on the full chat, prediction from (I0, Q, [PRED]), R with I0: three rows a sample."""
    reader, size, count, device = setting[1:]
    options = ObjectiveConfig(target=TargetConfig(include_image=True))
    backbone = _backbone(setting, setting.config).train()
    plans = (
        ViewPlan(branches=("trajectory",)),
        ViewPlan(branches=("pred",), pred_tokens=4),
        target_plan(options),
    )
    made = zip(*(_batches(backbone, options, p, reader, size, count) for p in plans), strict=True)
    batches = [
        (
            full.to(device),
            _padded_to_longest([full, user, target]).to(device),
            user.to(device),
            target.to(device),
        )
        for full, user, target in made
    ]

    def losses(number: int) -> Tensor:
        full, stacked, user, target = batches[number % count]
        features = backbone.image_features(stacked.images, stacked.image_tokens)
        hidden = backbone.hidden(stacked.context, features)
        learned = next_token(backbone, hidden[:size], full.context, ("trajectory",))
        read, wanted = (
            user.context.reads["last-pred"],
            (target.target or full.context).reads["last"],
        )
        h_hat_r = hidden[size + read.row, read.column].float()
        h_r = hidden[2 * size + wanted.row, wanted.column].float()
        distance = DISTANCES["cosine"](h_hat_r, h_r).mean()
        return weighted(Terms(learned), full.counts) + options.weight * distance

    tokens = sum(int(stacked.context.branch.numel()) for _, stacked, _, _ in batches)
    optimizer = make_optimizer(nn.ModuleList([backbone]), OptimConfig())
    return Runner(losses, optimizer, tokens / count, _held(backbone))


def _held(module: nn.Module) -> int:
    """Bytes of all weights, and of gradients and two moments of those that are trained."""
    return sum(
        (4 if weight.requires_grad else 1) * weight.numel() * weight.element_size()
        for weight in module.parameters()
    )


def _padded_to_longest(parts: Sequence[Batch]) -> Batch:
    """The rows of all views under one another, each with pictures of its own."""
    rows = [part.target or part.context for part in parts]
    width = max(row.ids.shape[1] for row in rows)

    def stack(name: str, fill: int) -> Tensor:
        pieces = [getattr(row, name) for row in rows]
        return torch.cat(
            [nn.functional.pad(p, (0, width - p.shape[1]), value=fill) for p in pieces]
        )

    images, offset = [], 0
    for part, row in zip(parts, rows, strict=True):
        images += [tuple(offset + number for number in shown) for shown in row.images]
        offset += len(part.image_tokens)
    stacked = Rows(
        ids=stack("ids", 0),
        branch=stack("branch", PADDING),
        is_image=stack("is_image", 0),
        images=tuple(images),
    )
    return replace(
        parts[0],
        images=joined([part.images for part in parts]),
        image_tokens=tuple(count for part in parts for count in part.image_tokens),
        image_sizes={},
        context=stacked,
        target=None,
    )


def _tokens(rows: Rows) -> int:
    return int((rows.branch != PADDING).sum())
