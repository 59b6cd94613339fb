"""Pre-train the nano model from scratch on captions of rendered scenes; one command, resumable.

    python training/nano/pretrain.py --export

renders what its cache lacks, trains, and (with --export) replaces the packaged model and its card.
Captions only: no question and no answer choice is ever shown. Measured: see README.md beside this
file. Leaves out evaluation (`evaluate.py`).
"""

import argparse
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import torch
from batches import FIRST, IGNORED, MIX, Batch, batches
from cells import CellHeads
from export import export
from network import build_model, build_processor
from samples import sample
from scenes import SHARD, Scene, fill_cache, read_shard
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import FastVlmForConditionalGeneration, PreTrainedTokenizerFast
from vocabulary import toolkit_texts, train_tokenizer

from pearl_data.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights, beside the code.

    Attributes:
        scenes: rendered scenes, in shards of 100.
        steps: length of the training.
        settle: steps at the beginning that take the samples of `batches.FIRST`, in which the eyes
            learn to name what lies in the cells of a view (`cells.py`). Later steps take those of
            `batches.MIX`; the eyes rest (no gradient reaches them) and captions are learnt.
        rate, decay: highest learning rate and weight decay of AdamW.
        warm, cool: steps in which the rate rises at the beginning and falls at the end
            of each stage.
        vocabulary: largest number of tokens.
        bfloat16: compute in bfloat16 (faster where the processor has it).
        seed: of initial weights and samples.

    """

    scenes: int = 2_000
    steps: int = 4_800
    settle: int = 2_000
    rate: float = 1.2e-3
    decay: float = 0.05
    warm: int = 80
    cool: int = 200
    vocabulary: int = 1_500
    bfloat16: bool = True
    seed: int = 0


def learning_rate(recipe: Recipe, step: int) -> float:
    """The rate of a step: in each stage up, level, and a half cosine down to 1 %.

    Level for long, so that a stage can be planned longer or shorter until it begins to cool.
    """
    first, last = (0, recipe.settle) if step < recipe.settle else (recipe.settle, recipe.steps)
    start = min(1.0, (step - first + 1) / recipe.warm)
    cooled = max(0.0, 1 - (last - step) / recipe.cool)
    return recipe.rate * start * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * cooled)))


def continues(saved: dict[str, Any], recipe: Recipe) -> bool:
    """Whether a checkpoint is on the way that this recipe takes.

    It may have been planned with other lengths of stages that it has not reached.
    """
    planned, step = Recipe(**saved["recipe"]), saved["step"]
    if step <= min(planned.settle - planned.cool, recipe.settle - recipe.cool):
        planned = replace(planned, settle=recipe.settle)
    if step <= min(planned.steps - planned.cool, recipe.steps - recipe.cool):
        planned = replace(planned, steps=recipe.steps, cool=recipe.cool)
    return planned == recipe


def tokenizer_of(recipe: Recipe, scenes: list[Scene]) -> PreTrainedTokenizerFast:
    """The tokenizer, learnt from captions of the first shard and the toolkit's wordings."""
    return train_tokenizer(_texts(recipe, scenes[:SHARD]), recipe.vocabulary)


def _texts(recipe: Recipe, scenes: list[Scene]) -> Iterator[str]:
    rng = random.Random(f"{recipe.seed}/tokenizer")
    for kinds in MIX:
        for kind in kinds:
            for _ in range(400):
                for message in sample(rng, scenes, kind).messages:
                    yield from (part["text"] for part in message["content"] if "text" in part)
    # the toolkit's own wordings are few; said several times they weigh as much as captions
    for _ in range(20):
        yield from toolkit_texts()


def cells_loss(
    model: FastVlmForConditionalGeneration, heads: CellHeads, batch: Batch, *, bfloat16: bool
) -> Tensor:
    """What the eyes alone see; the language model takes no part."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        pixels = batch.pixels.contiguous(memory_format=torch.channels_last)
        features = model.model.vision_tower(pixels, return_dict=True).last_hidden_state
    return heads.loss(features, batch.cells)


def caption_loss(model: FastVlmForConditionalGeneration, batch: Batch, *, bfloat16: bool) -> Tensor:
    """Mean cross-entropy over the captions' tokens, while the eyes rest.

    No attention mask: padding is on the right, where causal attention does not look. The logits
    are made only where a caption's token follows.
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        with torch.no_grad():
            pixels = batch.pixels.contiguous(memory_format=torch.channels_last)
            seen = model.model.vision_tower(pixels, return_dict=True)
        tokens = seen.last_hidden_state.flatten(2).permute(0, 2, 1)
        seen.pooler_output = model.model.multi_modal_projector(tokens)
        hidden = model.model(
            input_ids=batch.ids, mm_encoder_outputs={"image": seen}, use_cache=False
        )[0]
        wanted = batch.labels[:, 1:]
        kept = wanted != IGNORED
        logits = model.lm_head(hidden[:, :-1][kept])
    return cross_entropy(logits.float(), wanted[kept])


def optimiser_of(modules: Sequence[torch.nn.Module], recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that leaves vectors (norms and biases) without decay."""
    values = [value for module in modules for value in module.parameters()]
    matrices = [value for value in values if value.ndim > 1]
    vectors = [value for value in values if value.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": recipe.decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98))


def train(
    recipe: Recipe, scenes: list[Scene], checkpoint: Path, *, save_every: int = 50
) -> FastVlmForConditionalGeneration:
    """The model after all steps.

    Resumes from `checkpoint` if it exists and fits the recipe.
    """
    torch.manual_seed(recipe.seed)
    tokenizer = tokenizer_of(recipe, scenes)
    processor = build_processor(tokenizer)
    model = build_model(tokenizer)
    heads = CellHeads()
    model.model.vision_tower.to(memory_format=torch.channels_last)
    optimiser = optimiser_of([model, heads], recipe)
    start = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        if not continues(saved, recipe):
            raise SystemExit(
                f"{checkpoint}: made by another recipe ({saved['recipe']}); "
                "move it away or pass --checkpoint"
            )
        with_weights(model, saved["model"])
        heads.load_state_dict(saved["heads"])
        start = saved["step"]
        optimiser.load_state_dict(saved["optimiser"])
    model.train()
    running: list[float] = []
    with Progress("train", recipe.steps, "steps", done=start) as progress:
        for step in range(start, recipe.steps):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(recipe, step)
            # a step's samples depend on the seed and its number only, so that resuming is exact
            rng = random.Random(f"{recipe.seed}/{step}")
            alone = step < recipe.settle
            losses = []
            for batch in batches(FIRST if alone else MIX, rng, scenes, processor):
                if alone:
                    loss = cells_loss(model, heads, batch, bfloat16=recipe.bfloat16)
                else:
                    loss = caption_loss(model, batch, bfloat16=recipe.bfloat16)
                loss.backward()
                losses.append(float(loss.detach()))
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if len(running) != len(losses):
                running = losses
            pairs = zip(running, losses, strict=True)
            running = [0.95 * old + 0.05 * new for old, new in pairs]
            told = " ".join(f"{value:.3f}" for value in running)
            progress.label = f"train, {'cells' if alone else 'captions'} {told},"
            progress.advance()
            if (step + 1) % save_every == 0 or step + 1 == recipe.steps:
                state = {"recipe": asdict(recipe), "model": dict(model.named_parameters()),
                         "heads": heads.state_dict(),
                         "optimiser": optimiser.state_dict(),
                         "step": step + 1}  # fmt: skip
                _save(state, checkpoint)
    return model.eval()


def _save(state: dict[str, Any], checkpoint: Path) -> None:
    state = {**state, "model": {name: value.detach() for name, value in state["model"].items()}}
    unfinished = checkpoint.with_suffix(".tmp")
    torch.save(state, unfinished)
    unfinished.replace(checkpoint)


def with_weights(
    model: FastVlmForConditionalGeneration, weights: dict[str, Tensor]
) -> FastVlmForConditionalGeneration:
    """The model with these weights."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(weights[name])
    return model.eval()


def main() -> None:
    """Parse, render, train, export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=Path(".cache/nano"),
                        help="rendered scenes and the checkpoint")  # fmt: skip
    parser.add_argument("--checkpoint", type=Path, help="default: CACHE/checkpoint.pt")
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument("--export", action="store_true",
                        help="replace the packaged model when done")  # fmt: skip
    parser.add_argument("--export-now", action="store_true",
                        help="export what the checkpoint holds, without training")  # fmt: skip
    for name, value in asdict(Recipe()).items():
        if isinstance(value, bool):
            parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=value)
        else:
            parser.add_argument(f"--{name}", type=type(value), default=value)
    options = vars(parser.parse_args())
    recipe = Recipe(**{name: options[name] for name in asdict(Recipe())})
    # One thread: the sums of a training step come out the same again, and another job has the
    # other core.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cache, ready = fill_cache(options["cache"], recipe.scenes, workers=options["workers"])
    checkpoint = options["checkpoint"] or options["cache"] / "checkpoint.pt"
    if options["export_now"]:
        scenes = read_shard(cache, 0)
        saved = torch.load(checkpoint, weights_only=True)
        recipe = Recipe(**saved["recipe"])
        tokenizer = tokenizer_of(recipe, scenes)
        model, steps = with_weights(build_model(tokenizer), saved["model"]), saved["step"]
    else:
        scenes = [scene for number in range(ready) for scene in read_shard(cache, number)]
        model, steps = train(recipe, scenes, checkpoint), recipe.steps
    if options["export"] or options["export_now"]:
        processor = build_processor(tokenizer_of(recipe, scenes))
        export(model, processor, asdict(recipe), renderer=cache.name, steps_done=steps)


if __name__ == "__main__":
    main()
