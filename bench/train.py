"""One training step of every objective on the same samples, in one run, interleaved.

Beside ours stands the scheme of the paper's release (and of LLM-JEPA): three full views, each with
its own pictures, padded to the longest and all with gradient. Its LM head runs at learned tokens
only, as ours does, which flatters it. Data loading is left out. FLOPs are counted by torch as they
are executed (forward, backward, recomputation), pictures included; MFU is their rate against a
large matrix product in the same type on the same device. Memory: on a GPU the peak, on a CPU what
autograd keeps between forward and backward.

    python bench/train.py                          # the nano model on rendered scenes
    python bench/train.py --model FOLDER --data SET --dtype bfloat16 --batch 8
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

import click
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from pearl_data.shards import DatasetReader
from pearl_train.model.backbone import Backbone
from pearl_train.model.build import build_backbone
from pearl_train.objectives import needs, plan_views
from pearl_train.objectives.base import Terms
from pearl_train.objectives.distance import DISTANCES
from pearl_train.objectives.next_token import next_token
from pearl_train.objectives.pearl import target_plan
from pearl_train.objectives.schedule import moment
from pearl_train.objectives.target import embed_rows
from pearl_train.objectives.trainee import make_trainee
from pearl_train.settings.config import (
    Config,
    ModelConfig,
    ObjectiveConfig,
    OptimConfig,
    TargetConfig,
)
from pearl_train.training.optim import make_optimizer
from pearl_train.training.update import weighted
from pearl_train.views.batch import PADDING, Batch, Rows, ViewPlan
from pearl_train.views.collate import collate, joined
from pearl_train.views.encode import Dropped, Encoder, encode_sample

ANSWER, TRAJECTORY, ONLINE, CACHED, RELEASE = (
    "sft, answer only",
    "sft, trajectory",
    "pearl, online target",
    "pearl, cached base target",
    "three full views with gradient",
)
VARIANTS: dict[str, ObjectiveConfig] = {
    ANSWER: ObjectiveConfig(name="sft"),
    "sft, answer, 4 pause tokens": ObjectiveConfig(name="sft", pause_tokens=4),
    TRAJECTORY: ObjectiveConfig(name="sft", view="trajectory"),
    ONLINE: ObjectiveConfig(),
    "pearl, online, loss dropout .5": ObjectiveConfig(loss_dropout=0.5),
    "pearl, EMA target": ObjectiveConfig(target=TargetConfig(source="ema")),
    CACHED: ObjectiveConfig(target=TargetConfig(source="frozen-base")),
    "pearl, trajectory view": ObjectiveConfig(view="trajectory"),
    "lvr": ObjectiveConfig(name="lvr"),
    "tools": ObjectiveConfig(name="tools"),
}
AIMS = ((ONLINE, TRAJECTORY, 1.0), (ONLINE, RELEASE, 0.5), (CACHED, ANSWER, 1.1))


class Runner(NamedTuple):
    """One variant, ready to step: ``losses(number)`` makes the loss of batch ``number``."""

    losses: Callable[[int], Tensor]
    optimizer: torch.optim.Optimizer
    tokens: float

    def step(self, number: int) -> None:
        """Forward, backward, update."""
        self.losses(number).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


@click.command()
@click.option("--model", default="nano", show_default=True)
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="A dataset of ours.")
@click.option("--batch", default=16, show_default=True, type=click.IntRange(min=1))
@click.option("--batches", default=4, show_default=True, type=click.IntRange(min=1))
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1))
@click.option("--dtype", default="float32", type=click.Choice(["float32", "bfloat16"]))
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
def main(
    model: str, data: Path | None, batch: int, batches: int, rounds: int, dtype: str, device: str
) -> None:
    """Print step time, tokens/s, FLOPs, MFU and memory of every objective, and the aims."""
    with tempfile.TemporaryDirectory() as scratch:
        reader = DatasetReader(data or _scenes(Path(scratch), batch * batches))
        config = Config(model=ModelConfig(id=model, dtype=dtype))  # type: ignore[arg-type]
        runners = {
            name: _runner(replaced(config, options), reader, batch, batches, device)
            for name, options in VARIANTS.items()
        }
        runners[RELEASE] = _release(config, reader, batch, batches, device)
    peak = _peak_flops(device, torch.bfloat16 if dtype == "bfloat16" else torch.float32)
    seconds = _timed(runners, batches, rounds, device)
    _print(runners, seconds, peak, device, batches)


def replaced(config: Config, options: ObjectiveConfig) -> Config:
    """``config`` with another objective."""
    return Config(model=config.model, objective=options)


def _scenes(folder: Path, count: int) -> Path:
    from pearl_data.sources import parse_source
    from pearl_data.sources.base import QuestionSettings
    from pearl_data.synthesise import SynthesisSettings, synthesise
    from pearl_tools.executor import ExecutorSettings

    click.echo(f"synthesising {count} rendered trajectories", err=True)
    tools = ["crop", "zoom", "depth"]
    settings = SynthesisSettings(
        source=parse_source("rendered", None),
        questions=QuestionSettings(tools=tools),
        executor=ExecutorSettings(),
        limit=count,
    )
    synthesise(folder / "scenes", settings)
    return folder / "scenes"


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


def _runner(config: Config, reader: DatasetReader, size: int, count: int, device: str) -> Runner:
    options = config.objective
    backbone = build_backbone(config.model).to(device)
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
    return Runner(losses, make_optimizer(trainee, OptimConfig()), tokens / count)


def _release(config: Config, reader: DatasetReader, size: int, count: int, device: str) -> Runner:
    """L_VLM on the full chat, prediction from (I0, Q, [PRED]), R with I0: three rows a sample."""
    options = ObjectiveConfig(target=TargetConfig(include_image=True))
    backbone = build_backbone(config.model).to(device).train()
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
    return Runner(losses, optimizer, tokens / count)


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


def _timed(
    runners: dict[str, Runner], batches: int, rounds: int, device: str
) -> dict[str, list[float]]:
    """Seconds per step; variants take turns, so that a busy moment hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(rounds + 1):  # the first round warms up and is not counted
        for number in range(batches):
            for name, runner in runners.items():
                _wait(device)
                start = time.perf_counter()
                runner.step(turn * batches + number)
                _wait(device)
                if turn:
                    seconds[name].append(time.perf_counter() - start)
        click.echo(f"round {turn} of {rounds}", err=True)
    return seconds


def _print(
    runners: dict[str, Runner],
    seconds: dict[str, list[float]],
    peak: float,
    device: str,
    batches: int,
) -> None:
    base, flops_base = median(seconds[ANSWER]), 0.0
    threads = torch.get_num_threads()
    print(f"{device}, {threads} threads; a matrix product reaches {peak / 1e9:.0f} GFLOP/s")
    print(f"{'objective':<32}{'ms/step':>9}{'x':>6}{'tokens':>8}{'tokens/s':>10}{'GFLOP':>8}"
          f"{'x':>6}{'MFU':>6}{'memory MB':>11}")  # fmt: skip
    for name, runner in runners.items():
        spent = median(seconds[name])
        flops = _flops(runner, batches)
        flops_base = flops_base or flops
        print(f"{name:<32}{spent * 1e3:>9.0f}{spent / base:>6.2f}{runner.tokens:>8.0f}"
              f"{runner.tokens / spent:>10.0f}{flops / 1e9:>8.1f}{flops / flops_base:>6.2f}"
              f"{flops / spent / peak:>6.0%}{_memory(runner, device) / 1e6:>11.0f}")  # fmt: skip
    for name, peer, aim in AIMS:
        ratio = median(a / b for a, b in zip(seconds[name], seconds[peer], strict=True))
        said = "met" if ratio <= aim else "missed"
        print(f"{name} / {peer}: {ratio:.2f} (aim {aim:.2f} or less: {said})")


def _flops(runner: Runner, batches: int) -> float:
    """Per step, over as many steps as there are batches."""
    counter = FlopCounterMode(display=False)
    with counter:
        for number in range(batches):
            runner.step(number)
    return float(counter.get_total_flops()) / batches


def _memory(runner: Runner, device: str) -> float:
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        runner.step(0)
        return float(torch.cuda.max_memory_allocated())
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = runner.losses(0)
    trained = [p for group in runner.optimizer.param_groups for p in group["params"]]
    weights = {parameter.untyped_storage().data_ptr() for parameter in trained}
    del loss
    return float(sum(size for place, size in kept.items() if place not in weights))


def _peak_flops(device: str, dtype: torch.dtype) -> float:
    size = 2048 if device == "cpu" else 8192
    a = torch.randn(size, size, device=device, dtype=dtype)
    spent = []
    for _ in range(8):
        _wait(device)
        start = time.perf_counter()
        a @ a
        _wait(device)
        spent.append(time.perf_counter() - start)
    return 2 * size**3 / min(spent)


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
