"""Train the embedded depth network from scratch on rendered scenes; one command, resumable, seeded.

    python training/depth/train.py --export

renders what its cache lacks, trains all stages, and (with --export) replaces the packaged weights
and their card. Measured: see README.md beside this file. Leaves out evaluation (`evaluate.py`).
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from augment import augment
from export import export, read_card
from framing import chances, lower_is_nearer
from losses import WEIGHTS, objective
from recipe import LATE_CLEAN_SHARE, STAGES, Recipe, continues, learning_rate, shrunk, trainings
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

Scene = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float16], npt.NDArray[np.uint8]]
"""Image (H, W, 3), log inverse depth (H, W), instance (H, W)."""


class Scenes(NamedTuple):
    """The rendered scenes of a stage, by shards, what rendered them, and the cumulated chances of
    the scenes of a source that are not drawn evenly.
    """

    mixed: list[Shard]
    clean: list[Shard]
    worlds: list[Shard]
    interiors: list[Shard]
    glossy: list[Shard]
    company: list[Shard]
    rendered_by: list[str]
    cumulated: dict[str, npt.NDArray[np.float64]]

    def pick(self, recipe: Recipe, rng: np.random.Generator, *, settled: bool) -> list[Scene]:
        """The scenes of one batch: of the toolkit, then in part replaced by those of each other
        source in turn.
        """
        rows = rng.integers(recipe.mixed, size=recipe.batch)
        picked = [_row(self.mixed, int(row)) for row in rows]
        others = (
            ("clean", self.clean, recipe.clean if settled else 0, LATE_CLEAN_SHARE),
            ("worlds", self.worlds, recipe.worlds, recipe.worlds_share),
            ("interiors", self.interiors, recipe.interiors, recipe.interiors_share),
            ("glossy", self.glossy, recipe.glossy, recipe.glossy_share),
            ("company", self.company, recipe.company, recipe.company_share),
        )
        for name, shards, count, share in others:
            if count:
                replaced = rng.random(recipe.batch) < share
                if name in self.cumulated:
                    rows = np.searchsorted(self.cumulated[name], rng.random(recipe.batch))
                else:
                    rows = rng.integers(count, size=recipe.batch)
                picked = [
                    _row(shards, int(row)) if now else scene
                    for row, now, scene in zip(rows, replaced, picked, strict=True)
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

    mixed, clean, worlds, interiors, glossy, company = recipe.first
    return Scenes(
        shards("toolkit", mixed, recipe.mixed),
        shards("toolkit", MIXED + clean, recipe.clean),
        shards("worlds", worlds, recipe.worlds),
        shards("interiors", interiors, recipe.interiors),
        shards("glossy", glossy, recipe.glossy),
        shards("company", company, recipe.company),
        rendered_by,
        {},
    )


def framed(scenes: Scenes, lower: float) -> Scenes:
    """The scenes, drawn so that `lower` is nearer as often as that (0: evenly)."""
    cumulated: dict[str, npt.NDArray[np.float64]] = {}
    for name in ("worlds", "interiors", "glossy", "company") if lower else ():
        maps = [shard.log_inverse for shard in getattr(scenes, name)]
        if maps:
            shares = np.concatenate([lower_is_nearer(shard) for shard in maps])
            total = chances(shares, lower).cumsum()
            cumulated[name] = total / total[-1]
    return scenes._replace(cumulated=cumulated)


def batches(recipe: Recipe, scenes: Scenes, start: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Image (B, 3, H, W) in 0..1, log inverse depth (B, H, W), instance (B, H, W); batch k depends
    on seed and k only.
    """
    for step in range(start, recipe.steps):
        rng = np.random.default_rng((recipe.seed, step))
        size = SIZES[int(rng.integers(len(SIZES)))]
        settled = step >= recipe.settle
        samples = [
            augment(
                rng,
                *scene,
                size,
                gentle=settled,
                restyled=recipe.restyled,
                faded=recipe.faded,
                lens=recipe.lens,
            )
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
    device: str = "cpu",
    save_every: int = 250,
) -> dict[str, Tensor]:
    """The averaged weights after all steps, blended with the initial ones, on `device`.

    Resumes from `checkpoint` if it exists and has the same recipe; else starts from the weights
    `initial`, or from random ones.
    """
    torch.manual_seed(recipe.seed)
    network = DepthNetwork(encoder).to(device, memory_format=torch.channels_last)
    if initial is not None:
        network.load_state_dict(initial, strict=False)  # batch counters are not exported
    average = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    start = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
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
    for step, batch in enumerate(batches(recipe, scenes, start), start):
        image, log_inverse, instance = (part.to(device) for part in batch)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(recipe, step)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.bfloat16):
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
    return blended(average, initial or {}, recipe.kept)


def blended(
    average: dict[str, Tensor], initial: dict[str, Tensor], kept: float
) -> dict[str, Tensor]:
    """The averaged weights with a share `kept` of those that the stage began with."""
    return {
        name: torch.lerp(value, initial[name].to(value), kept)
        if kept and name in initial and value.dtype.is_floating_point
        else value
        for name, value in average.items()
    }


def mean(ends: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the weights of twins; the batch counters of the first."""
    return {
        name: torch.stack([end[name] for end in ends]).mean(dim=0)
        if value.dtype.is_floating_point
        else value
        for name, value in ends[0].items()
    }


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
    parser.add_argument(
        "--twin",
        type=int,
        metavar="K",
        help="only the --stage itself, 0, or only its twin K, on a core beside another; without, "
        "all are trained in turn, or taken from their checkpoints where they have ended",
    )
    parser.add_argument("--initial", type=Path, help="exported weights to start from, not random")
    parser.add_argument("--trial", action="store_true", help="4 steps on 250 scenes: does it run?")
    parser.add_argument(
        "--export", action="store_true", help="replace the packaged weights when done"
    )
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="torch device that trains; rendering needs the CPU [%(default)s here]",
    )
    options = parser.parse_args()
    bfloat16 = options.device != "cpu" or fast_in_bfloat16()
    stages = [
        replace(stage, bfloat16=bfloat16) for stage in STAGES if options.stage in (None, stage.name)
    ]
    if options.trial:
        stages = [shrunk(stage) for stage in stages]
    if stages[0].name != STAGES[0].name and not options.trial and options.initial is None:
        parser.error(f"--stage {options.stage} goes on from weights: say which with --initial FILE")
    if options.twin is not None:
        if options.stage is None or options.export:
            parser.error(
                "--twin K trains a part of one stage: needs --stage, goes without --export"
            )
        if not 0 <= options.twin <= len(stages[0].twins):
            parser.error(f"--twin: expected 0 to {len(stages[0].twins)}, got {options.twin}")
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
        notes = f"Stage {stages[0].name} began with weights of sha256 {digest}"
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
        ends = []
        for number, chosen in enumerate(trainings(stage)):
            if options.twin not in (None, number):
                continue
            name = f"{stage.name}{f'-twin{number}' * bool(number)}{'-trial' * options.trial}"
            checkpoint = options.cache / f"checkpoint-{name}.pt"
            drawn = framed(scenes, chosen.lower)
            ends.append(train(chosen, drawn, checkpoint, initial=average, device=options.device))
        average = mean(ends)
        renderers += [name for name in scenes.rendered_by if name not in renderers]
    if options.export and average is not None:
        made = [*before, *(asdict(stage) for stage in stages)]
        export(average, made, renderers=renderers, device=options.device, notes=notes)


if __name__ == "__main__":
    main()
