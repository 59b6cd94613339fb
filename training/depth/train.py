"""Train the embedded depth network from scratch on rendered scenes; one command, resumable, seeded.

    python training/depth/train.py --export

renders what its cache lacks, trains, and (with --export) replaces the packaged weights and their
card. Measured: see README.md beside this file. Leaves out evaluation (`evaluate.py`).
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from augment import augment
from export import export
from losses import WEIGHTS, objective
from progress import Progress
from safetensors.torch import load_file
from scenes import MIXED, SHARD, Shard, fill_cache, read_shard
from torch import Tensor

from pearl_tools.depth.network import DepthNetwork

SIZES = ((192, 256), (192, 256), (192, 256), (192, 192), (160, 256), (256, 192))
"""Picture sizes (height, width) of a batch, one drawn per step: photographs come in several
shapes.
"""

LATE_CLEAN_SHARE = 0.75
"""Share of clean scenes after `Recipe.settle`."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights.

    Attributes:
        scenes: rendered scenes.
        steps, batch: length of the training.
        settle: step from which most pictures are clean and augmentation is gentle. Starting with
            the hard pictures and settling on the plain ones learns objects faster than mixing.
        rate, decay: peak learning rate (cosine to 1 % of it after a linear start) and weight decay
            of AdamW.
        average: decay of the exponential moving average that is exported.
        bfloat16: run convolutions in bfloat16 (faster where the processor has it).
        seed: of initial weights, batches and augmentation.

    """

    scenes: int = 12_500
    steps: int = 3_600
    settle: int = 1_000
    batch: int = 16
    rate: float = 1.5e-3
    decay: float = 0.03
    average: float = 0.997
    bfloat16: bool = True
    seed: int = 0


def learning_rate(recipe: Recipe, step: int) -> float:
    """The rate of a step: 200 steps up, then a cosine down to 1 %."""
    warm = min(1.0, (step + 1) / 200)
    fall = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    return recipe.rate * warm * (0.01 + 0.99 * fall)


def batches(
    recipe: Recipe, shards: list[Shard], start: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Image (B, 3, H, W) in 0..1, log inverse depth (B, H, W), instance (B, H, W); batch k depends
    on seed and k only.
    """
    mixed = min(MIXED, recipe.scenes)
    for step in range(start, recipe.steps):
        rng = np.random.default_rng((recipe.seed, step))
        size = SIZES[int(rng.integers(len(SIZES)))]
        rows = rng.integers(mixed, size=recipe.batch)
        settled = step >= recipe.settle
        if settled and recipe.scenes > mixed:
            clean = rng.random(recipe.batch) < LATE_CLEAN_SHARE
            rows = np.where(clean, rng.integers(mixed, recipe.scenes, size=recipe.batch), rows)
        samples = []
        for row in rows:
            shard, place = shards[row // SHARD], row % SHARD
            scene = (shard.image[place], shard.log_inverse[place], shard.instance[place])
            samples.append(augment(rng, *scene, size, gentle=settled))
        image = (
            torch.from_numpy(np.stack([sample.image for sample in samples]))
            .permute(0, 3, 1, 2)
            .float()
            / 255
        )
        log_inverse = torch.from_numpy(np.stack([sample.log_inverse for sample in samples]))
        yield (
            image,
            log_inverse,
            torch.from_numpy(np.stack([sample.instance for sample in samples])),
        )


def update_average(average: dict[str, Tensor], network: DepthNetwork, decay: float) -> None:
    """Move the averaged weights a little towards the current ones, in place."""
    for name, value in network.state_dict().items():
        if value.dtype.is_floating_point:
            average[name].lerp_(value, 1 - decay)
        else:
            average[name].copy_(value)


def train(
    recipe: Recipe,
    shards: list[Shard],
    checkpoint: Path,
    *,
    initial: Path | None = None,
    save_every: int = 250,
) -> dict[str, Tensor]:
    """The averaged weights after all steps.

    Resumes from `checkpoint` if it exists and has the same recipe; else starts from the exported
    weights `initial`, or from random ones.
    """
    torch.manual_seed(recipe.seed)
    network = DepthNetwork().to(memory_format=torch.channels_last)
    if initial is not None:
        stored = {name: value.float() for name, value in load_file(initial).items()}
        network.load_state_dict(stored, strict=False)  # batch counters are not stored
    average = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    start = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        if saved["recipe"] != asdict(recipe):
            raise SystemExit(
                f"{checkpoint}: made by another recipe ({saved['recipe']}); "
                "move it away or pass --checkpoint"
            )
        network.load_state_dict(saved["network"])
        average, start = saved["average"], saved["step"]
        optimiser.load_state_dict(saved["optimiser"])
    progress = Progress("train", recipe.steps, "steps", every_s=20)
    network.train()
    running: dict[str, float] = {}
    for step, (image, log_inverse, instance) in enumerate(batches(recipe, shards, start), start):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(recipe, step)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
            predicted = network(image.contiguous(memory_format=torch.channels_last))
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        terms = objective(predicted, log_inverse, instance, generator)
        loss = torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        # Early on the average must forget the random start faster than it settles later.
        update_average(average, network, min(recipe.average, (step + 1) / (step + 20)))
        for name, term in terms.items():
            running[name] = 0.98 * running.get(name, float(term.detach())) + 0.02 * float(
                term.detach()
            )
        progress.at(step + 1, " ".join(f"{name} {value:.3f}" for name, value in running.items()))
        if (step + 1) % save_every == 0 or step + 1 == recipe.steps:
            unfinished = checkpoint.with_suffix(".tmp")
            torch.save(
                {
                    "recipe": asdict(recipe),
                    "network": network.state_dict(),
                    "average": average,
                    "optimiser": optimiser.state_dict(),
                    "step": step + 1,
                },
                unfinished,
            )
            unfinished.replace(checkpoint)
    return average


def main() -> None:
    """Parse, render, train, export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(".cache/depth"),
        help="rendered scenes and the checkpoint",
    )
    parser.add_argument("--initial", type=Path, help="exported weights to start from, not random")
    parser.add_argument("--checkpoint", type=Path, help="default: CACHE/checkpoint.pt")
    parser.add_argument(
        "--export", action="store_true", help="replace the packaged weights when done"
    )
    for name, value in asdict(Recipe()).items():
        if isinstance(value, bool):
            parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=value)
        else:
            parser.add_argument(f"--{name}", type=type(value), default=value)
    options = vars(parser.parse_args())
    recipe = Recipe(**{name: options[name] for name in asdict(Recipe())})
    # One thread: the sums of a training step come out the same again, and another job has the other
    # core.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cache, ready = fill_cache(options["cache"], recipe.scenes)
    shards = [read_shard(cache, number) for number in range(ready)]
    checkpoint = options["checkpoint"] or options["cache"] / "checkpoint.pt"
    average = train(recipe, shards, checkpoint, initial=options["initial"])
    if options["export"]:
        notes = f"Started from {options['initial'].name}." if options["initial"] else ""
        export(
            average,
            asdict(recipe),
            renderer=cache.name,
            steps_done=recipe.steps,
            notes=notes,
        )


if __name__ == "__main__":
    main()
