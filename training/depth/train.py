"""Train the embedded depth network from scratch on rendered scenes; one command, resumable, seeded.

    python training/depth/train.py --export

renders what its cache lacks, trains all stages, and (with --export) replaces the packaged weights
and their card. Measured: see README.md beside this file. Leaves out evaluation (`evaluate.py`).
"""

import argparse
import hashlib
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from augment import augment
from export import export, read_card
from losses import WEIGHTS, objective
from safetensors.torch import load_file
from scenes import MIXED, SHARD, Shard, fill_cache, read_shard
from torch import Tensor

from pearl_data.progress import Progress
from pearl_tools.depth.network import ENCODER, DepthNetwork
from pearl_tools.processor import fast_in_bfloat16

SIZES = ((192, 256), (192, 256), (192, 256), (192, 192), (160, 256), (256, 192))
"""Picture sizes (height, width) of a batch, one drawn per step: photographs come in several
shapes.
"""

LATE_CLEAN_SHARE = 0.75
"""Share of clean scenes among those of the toolkit after `Recipe.settle`."""

Scene = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float16], npt.NDArray[np.uint8]]
"""Image (H, W, 3), log inverse depth (H, W), instance (H, W)."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what one stage makes of the weights it starts from.

    Attributes:
        name: of the stage.
        mixed: scenes of the toolkit, one in four of clean colours, three wild.
        clean: scenes of the toolkit, all of clean colours, drawn once settled.
        worlds: scenes of `worlds.py`.
        worlds_share: expected share of worlds in a batch.
        interiors: scenes of `interiors.py`.
        interiors_share: expected share of interiors in a batch.
        steps, batch: length of the training.
        settle: step from which most toolkit scenes are clean and augmentation is gentle. Starting
            with the hard pictures and settling on the plain ones learns objects faster than mixing.
        rate, decay: peak learning rate (cosine to 1 % of it after a linear start) and weight decay
            of AdamW.
        cool: if not 0, the rate stays level and falls only in so many last steps, so that a stage
            can be planned longer or shorter until then.
        restyled: share of pictures with textures of no place (`augment.restyle`).
        average: decay of the exponential moving average that is exported.
        bfloat16: run convolutions in bfloat16; set from what the processor has.
        seed: of initial weights, batches and augmentation.

    """

    name: str
    mixed: int
    clean: int
    worlds: int = 0
    worlds_share: float = 0.0
    interiors: int = 0
    interiors_share: float = 0.0
    steps: int
    settle: int
    batch: int = 16
    rate: float
    cool: int = 0
    decay: float = 0.03
    restyled: float = 0.0
    average: float = 0.997
    bfloat16: bool = True
    seed: int


STAGES = (
    Recipe(
        name="objects", mixed=9_500, clean=3_000, steps=3_600, settle=1_000, rate=1.5e-3, seed=0
    ),
    Recipe(
        name="worlds",
        mixed=2_000,
        clean=3_000,
        worlds=8_000,
        worlds_share=0.6,
        steps=6_000,
        settle=3_600,
        rate=1.0e-3,
        seed=1,
    ),
    Recipe(
        name="interiors",
        mixed=1_000,
        clean=500,
        worlds=2_500,
        worlds_share=0.5,
        interiors=2_500,
        interiors_share=0.45,
        steps=1_800,
        settle=900,
        rate=6e-4,
        cool=800,
        seed=2,
    ),
    Recipe(
        name="together",
        mixed=1_000,
        clean=500,
        worlds=2_500,
        worlds_share=0.45,
        interiors=2_500,
        interiors_share=0.4,
        steps=4_600,
        settle=3_400,
        rate=8e-4,
        cool=1_600,
        restyled=0.2,
        seed=3,
    ),
)
"""In turn, each from the averaged weights of the one before. First the scenes in which position
tells nothing, so that the network must see; then, among those, worlds as photographers meet them;
then furnished interiors, which are close, plain and full; then all of them for long, one picture
in five restyled, so that less hangs on how they are painted.
"""


class Scenes(NamedTuple):
    """The rendered scenes of a stage, by shards, and how many there are."""

    mixed: list[Shard]
    clean: list[Shard]
    worlds: list[Shard]
    interiors: list[Shard]
    rendered_by: list[str]

    def pick(self, recipe: Recipe, rng: np.random.Generator, *, settled: bool) -> list[Scene]:
        """The scenes of one batch."""
        rows = rng.integers(recipe.mixed, size=recipe.batch)
        picked = [_row(self.mixed, int(row)) for row in rows]
        if settled and recipe.clean:
            plain = rng.random(recipe.batch) < LATE_CLEAN_SHARE
            rows = rng.integers(recipe.clean, size=recipe.batch)
            picked = [
                _row(self.clean, int(row)) if now else scene
                for row, now, scene in zip(rows, plain, picked, strict=True)
            ]
        if recipe.worlds:
            abroad = rng.random(recipe.batch) < recipe.worlds_share
            rows = rng.integers(recipe.worlds, size=recipe.batch)
            picked = [
                _row(self.worlds, int(row)) if now else scene
                for row, now, scene in zip(rows, abroad, picked, strict=True)
            ]
        if recipe.interiors:
            inside = rng.random(recipe.batch) < recipe.interiors_share
            rows = rng.integers(recipe.interiors, size=recipe.batch)
            picked = [
                _row(self.interiors, int(row)) if now else scene
                for row, now, scene in zip(rows, inside, picked, strict=True)
            ]
        return picked


def _row(shards: list[Shard], row: int) -> Scene:
    shard, place = shards[row // SHARD], row % SHARD
    return shard.image[place], shard.log_inverse[place], shard.instance[place]


def read_scenes(root: Path, recipe: Recipe) -> Scenes:
    """All scenes of a stage, rendered where the cache lacks them."""
    rendered_by: list[str] = []

    def shards(source: str, first: int, count: int) -> list[Shard]:
        if not count:
            return []
        numbers = range(first // SHARD, -(-(first + count) // SHARD))
        cache = fill_cache(root, source, numbers)
        if cache.name not in rendered_by:
            rendered_by.append(cache.name)
        return [read_shard(cache, number) for number in numbers]

    return Scenes(
        shards("toolkit", 0, recipe.mixed),
        shards("toolkit", MIXED, recipe.clean),
        shards("worlds", 0, recipe.worlds),
        shards("interiors", 0, recipe.interiors),
        rendered_by,
    )


def learning_rate(recipe: Recipe, step: int) -> float:
    """The rate of a step: 200 steps up, then a cosine down to 1 %, at once or when it cools."""
    warm = min(1.0, (step + 1) / 200)
    length = recipe.cool or recipe.steps
    fall = 0.5 * (1 + math.cos(math.pi * max(0.0, 1 - (recipe.steps - step) / length)))
    return recipe.rate * warm * (0.01 + 0.99 * fall)


def continues(saved: dict[str, Any], recipe: Recipe) -> bool:
    """Whether a checkpoint is on the way that this recipe takes; the length of a stage that has
    not begun to cool is open.
    """
    planned = Recipe(**saved["recipe"])
    level = min(planned.steps - planned.cool, recipe.steps - recipe.cool)
    if planned.cool and saved["step"] <= level:
        planned = replace(planned, steps=recipe.steps, cool=recipe.cool)
    return planned == recipe


def batches(recipe: Recipe, scenes: Scenes, start: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Image (B, 3, H, W) in 0..1, log inverse depth (B, H, W), instance (B, H, W); batch k depends
    on seed and k only.
    """
    for step in range(start, recipe.steps):
        rng = np.random.default_rng((recipe.seed, step))
        size = SIZES[int(rng.integers(len(SIZES)))]
        settled = step >= recipe.settle
        samples = [
            augment(rng, *scene, size, gentle=settled, restyled=recipe.restyled)
            for scene in scenes.pick(recipe, rng, settled=settled)
        ]
        yield (
            torch.from_numpy(np.stack([sample.image for sample in samples]))
            .permute(0, 3, 1, 2)
            .float()
            / 255,
            torch.from_numpy(np.stack([sample.log_inverse for sample in samples])),
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
    scenes: Scenes,
    checkpoint: Path,
    *,
    initial: dict[str, Tensor] | None = None,
    encoder: str = ENCODER,
    save_every: int = 250,
) -> dict[str, Tensor]:
    """The averaged weights after all steps.

    Resumes from `checkpoint` if it exists and has the same recipe; else starts from the weights
    `initial`, or from random ones.
    """
    torch.manual_seed(recipe.seed)
    network = DepthNetwork(encoder).to(memory_format=torch.channels_last)
    if initial is not None:
        network.load_state_dict(initial, strict=False)  # batch counters are not exported
    average = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    start = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        if not continues(saved, recipe):
            raise SystemExit(
                f"{checkpoint}: made by another recipe ({saved['recipe']}); "
                "move it away or pass another --cache"
            )
        network.load_state_dict(saved["network"])
        average, start = saved["average"], saved["step"]
        optimiser.load_state_dict(saved["optimiser"])
    network.train()
    running: dict[str, float] = {}
    progress = Progress(f"train {recipe.name}", recipe.steps, "steps", done=start)
    for step, (image, log_inverse, instance) in enumerate(batches(recipe, scenes, start), start):
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
        progress.advance()
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
            terms_now = " ".join(f"{name} {value:.3f}" for name, value in running.items())
            print(f"step {step + 1}: {terms_now}", file=sys.stderr, flush=True)
    return average


def main() -> None:
    """Parse, render, train stage after stage, export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(".cache/depth"),
        help="rendered scenes and the checkpoints",
    )
    names = [stage.name for stage in STAGES]
    parser.add_argument(
        "--stage", choices=names, help="only this stage; needs --initial or is first"
    )
    parser.add_argument("--initial", type=Path, help="exported weights to start from, not random")
    parser.add_argument("--trial", action="store_true", help="4 steps on 250 scenes: does it run?")
    parser.add_argument(
        "--export", action="store_true", help="replace the packaged weights when done"
    )
    options = parser.parse_args()
    stages = [
        replace(stage, bfloat16=fast_in_bfloat16())
        for stage in STAGES
        if options.stage in (None, stage.name)
    ]
    if options.trial:
        stages = [shrunk(stage) for stage in stages]
    if stages[0].name != STAGES[0].name and not options.trial and options.initial is None:
        parser.error(f"--stage {options.stage} goes on from weights: say which with --initial FILE")
    # One thread: the sums of a training step come out the same again, and another job has the other
    # core.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    average, notes = None, ""
    before: list[dict[str, Any]] = []
    renderers: list[str] = []
    if options.initial is not None:
        average = {name: value.float() for name, value in load_file(options.initial).items()}
        digest = hashlib.sha256(options.initial.read_bytes()).hexdigest()
        notes = f"The last stage began with weights of sha256 {digest}"
        card = read_card()
        if card["weights_sha256"] == digest:
            before, renderers = card["stages"], card.get("renderers", [])
            notes += (
                f", made by the stages before it at commit {card['commit']} ({card['machine']}). "
                f"{card['notes']}"
            )
        else:
            notes += ", of which no card is at hand."
    for stage in stages:
        scenes = read_scenes(options.cache, stage)
        checkpoint = options.cache / f"checkpoint-{stage.name}{'-trial' * options.trial}.pt"
        average = train(stage, scenes, checkpoint, initial=average)
        renderers += [name for name in scenes.rendered_by if name not in renderers]
    if options.export and average is not None:
        made = [*before, *(asdict(stage) for stage in stages)]
        export(average, made, renderers=renderers, notes=notes)


def shrunk(stage: Recipe) -> Recipe:
    """The same stage, so small that it ends within a minute."""
    return replace(
        stage,
        mixed=SHARD,
        clean=min(stage.clean, SHARD),
        worlds=min(stage.worlds, SHARD),
        interiors=min(stage.interiors, SHARD),
        steps=4,
        settle=2,
        cool=min(stage.cool, 2),
    )


if __name__ == "__main__":
    main()
