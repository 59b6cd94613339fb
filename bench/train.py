"""One training step of every objective on the same samples, in one run.

Beside ours stands the scheme of the paper's release (and of LLM-JEPA): three full views, each with
its own pictures, padded to the longest and all with gradient. Its LM head runs at learned tokens
only, as ours does, which flatters it. Data loading is left out. FLOPs are counted by torch as they
are executed (forward, backward, recomputation), pictures included; MFU is their rate against a
large matrix product in the same type on the same device. Memory: on a GPU the peak of a whole step
with weights and moments, on a CPU what autograd keeps between forward and backward; each variant is
there alone while it is measured. Small networks are then timed in turns, since a CPU is noisy; of
large ones each variant is made, timed, measured and let go before the next.

    python bench/train.py                          # the nano model on rendered scenes
    python bench/train.py --all                    # every option that changes a step
    python bench/train.py --model FOLDER --data SET --dtype bfloat16 --batch 8
    python bench/train.py --model qwen2_5_vl_3b_shape --dtype bfloat16 --lora 64 --batch 4
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import click
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from bench.runners import Make, Runner, Setting, makes_of
from bench.shapes import SHAPES
from bench.variants import ANSWER, CORE, MORE, RATIOS
from pearl_data.shards import DatasetReader
from pearl_train.settings.config import Config, LoraConfig, ModelConfig

#: Bytes that all variants together may take to be timed in turns; above, one is there at a time.
IN_TURNS = 8e9


class Measured(NamedTuple):
    """Of one step of a variant that is there alone: context and target tokens, FLOPs, bytes."""

    tokens: float
    flops: float
    memory: float


@click.command()
@click.option("--model", default="nano", show_default=True, help=f"Or {', '.join(SHAPES)}.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="A dataset of ours.")
@click.option("--batch", default=16, show_default=True, type=click.IntRange(min=1))
@click.option("--batches", default=4, show_default=True, type=click.IntRange(min=1))
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1))
@click.option("--dtype", default="float32", type=click.Choice(["float32", "bfloat16"]))
@click.option("--lora", type=click.IntRange(min=1), help="Rank of adapters; without, all weights.")
@click.option("--checkpoint-activations", is_flag=True)
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@click.option("--all", "every", is_flag=True, help="Every variant, not the core rows alone.")
def main(
    model: str,
    data: Path | None,
    batch: int,
    batches: int,
    rounds: int,
    dtype: str,
    lora: int | None,
    checkpoint_activations: bool,
    device: str,
    every: bool,
) -> None:
    """Print step time, tokens/s, FLOPs, MFU and memory of every objective, and their ratios."""
    with tempfile.TemporaryDirectory() as scratch:
        reader = DatasetReader(data or _scenes(Path(scratch), batch * batches))
        options = ModelConfig(
            id=model,
            dtype=dtype,  # type: ignore[arg-type]  # one of the two
            lora=LoraConfig(rank=lora, alpha=2 * lora) if lora else None,
            checkpoint_activations=checkpoint_activations,
        )
        setting = Setting(Config(model=options), reader, batch, batches, device)
        makes = makes_of(setting, CORE | (MORE if every else {}))
        first = makes[ANSWER]().held
        _let_go(device)
        in_turns = first * len(makes) <= IN_TURNS
        seconds, measured = (_in_turns if in_turns else _one_by_one)(makes, setting, rounds)
    peak = _peak_flops(device, torch.bfloat16 if dtype == "bfloat16" else torch.float32)
    how = "in turns" if in_turns else "one variant after the other"
    _print(measured, seconds, peak, f"{device}, {torch.get_num_threads()} threads, {how}")


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


def _in_turns(
    makes: Mapping[str, Make], setting: Setting, rounds: int
) -> tuple[dict[str, list[float]], dict[str, Measured]]:
    """Each variant measured alone; then all are there at once and take turns, step by step, so that
    a busy moment hits all of them alike.
    """
    measured = {}
    for name, make_one in makes.items():
        measured[name] = _measured(make_one(), setting)
        _let_go(setting.device)
    runners = {name: make_one() for name, make_one in makes.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(rounds + 1):  # the first round warms up and is not counted
        for number in range(setting.batches):
            for name, runner in runners.items():
                spent = _step(runner, turn * setting.batches + number, setting.device)
                if turn:
                    seconds[name].append(spent)
        click.echo(f"round {turn} of {rounds}", err=True)
    return seconds, measured


def _one_by_one(
    makes: Mapping[str, Make], setting: Setting, rounds: int
) -> tuple[dict[str, list[float]], dict[str, Measured]]:
    """All rounds of one variant before the next is made: for networks of which a few fill a GPU,
    whose step times are steady.
    """
    seconds, measured = {}, {}
    for name, make_one in makes.items():
        runner = make_one()
        steps = range((rounds + 1) * setting.batches)
        spent = [_step(runner, number, setting.device) for number in steps]
        seconds[name] = spent[setting.batches :]
        measured[name] = _measured(runner, setting)
        del runner
        _let_go(setting.device)
        click.echo(f"{name}: done", err=True)
    return seconds, measured


def _step(runner: Runner, number: int, device: str) -> float:
    """Seconds of one step."""
    _wait(device)
    start = time.perf_counter()
    runner.step(number)
    _wait(device)
    return time.perf_counter() - start


def _measured(runner: Runner, setting: Setting) -> Measured:
    """What does not depend on the time; of a variant that is there alone."""
    flops = _flops(runner, setting.batches)  # makes the moments, which the peak is to hold
    return Measured(runner.tokens, flops, _memory(runner, setting.device))


def _let_go(device: str) -> None:
    """Give back what a variant took; its graphs and closures hold each other."""
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()


def _print(
    measured: Mapping[str, Measured],
    seconds: Mapping[str, Sequence[float]],
    peak: float,
    how: str,
) -> None:
    base = median(seconds[ANSWER])
    print(f"{how}; a matrix product reaches {peak / 1e9:.0f} GFLOP/s")
    print(f"{'objective':<32}{'ms/step':>9}{'x':>6}{'tokens':>8}{'tokens/s':>10}{'GFLOP':>8}"
          f"{'x':>6}{'MFU':>6}{'memory MB':>11}")  # fmt: skip
    for name, one in measured.items():
        spent = median(seconds[name])
        print(f"{name:<32}{spent * 1e3:>9.0f}{spent / base:>6.2f}{one.tokens:>8.0f}"
              f"{one.tokens / spent:>10.0f}{one.flops / 1e9:>8.1f}"
              f"{one.flops / measured[ANSWER].flops:>6.2f}"
              f"{one.flops / spent / peak:>6.0%}{one.memory / 1e6:>11.0f}")  # fmt: skip
    for row, peer, aim, says in RATIOS:
        ratio = median(a / b for a, b in zip(seconds[row], seconds[peer], strict=True))
        met = "met" if aim is not None and ratio <= aim else "missed"
        aimed = "no aim" if aim is None else f"aim {aim:.2f} or less: {met}"
        print(f"{row} / {peer}: {ratio:.2f} ({aimed}; {says})")


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
