"""Pre-train the nano model from scratch on captions of rendered scenes; one command, resumable.

    python training/nano/pretrain.py --export

renders what its cache lacks, trains, and (with --export) replaces the packaged model and its card.
Captions only: no question and no answer choice is ever shown. Measured: see README.md beside this
file. Leaves out evaluation (`evaluate.py`).
"""

import argparse
import hashlib
import random
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import torch
from batches import IGNORED, MIXES, Batch, batches, part_of
from captions import plain
from cells import CellHeads
from export import export
from grounding import Grounding, Readers
from network import IMAGE_TOKENS, VISION_WIDTH, build_model, build_processor
from recipe import LAST_STAGE, STAGES, Recipe, continues, learning_rate, recipe_of
from samples import sample
from scenes import SHARD, Scene, fill_cache, read_shard
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    FastVlmForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling, ModelOutput
from vocabulary import toolkit_texts, train_tokenizer

from pearl_data.progress import Progress
from pearl_tools.processor import fast_in_bfloat16
from pearl_train.model.groups import length_groups


def tokenizer_of(recipe: Recipe, scenes: list[Scene]) -> PreTrainedTokenizerFast:
    """The tokenizer, learnt from captions of the first shard and the toolkit's wordings."""
    return train_tokenizer(_texts(recipe, scenes[:SHARD]), recipe.vocabulary)


def _texts(recipe: Recipe, scenes: list[Scene]) -> Iterator[str]:
    rng = random.Random(f"{recipe.seed}/tokenizer")
    kinds = {
        kind: None
        for stage in recipe.stages
        if stage.learns == "words"
        for together in MIXES[stage.mix]
        for kind in together
    }
    for kind in kinds:
        for _ in range(400):
            for message in sample(rng, scenes, kind).messages:
                yield from (plain(part["text"]) for part in message["content"] if "text" in part)
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


class RestingEyes:
    """What the eyes make of pictures while they do not learn: whole pictures and depth maps come
    again and again, and are looked at once.
    """

    #: Of 36 x 256 numbers: 440 MB.
    _MOST = 12_000

    def __init__(self, model: FastVlmForConditionalGeneration) -> None:
        self._tower = model.model.vision_tower
        self._known: OrderedDict[bytes, Tensor] = OrderedDict()

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """(N, 36, 256) of pictures (N, 3, 192, 192)."""
        if not len(pixels):
            return pixels.new_empty(0, IMAGE_TOKENS, VISION_WIDTH)
        keys = [hashlib.blake2b(one.numpy().data, digest_size=16).digest() for one in pixels]
        new = {key: place for place, key in enumerate(keys) if key not in self._known}
        if new:
            some = pixels[list(new.values())].contiguous(memory_format=torch.channels_last)
            seen = self._tower(some, return_dict=True).last_hidden_state
            # cloned, so that no memory is held through neighbours that are forgotten
            self._known |= zip(new, (one.clone() for one in seen.flatten(2).permute(0, 2, 1)),
                               strict=True)  # fmt: skip
        found = torch.stack([self._known[key] for key in keys])
        for key in keys:
            self._known.move_to_end(key)
        while len(self._known) > self._MOST:
            self._known.popitem(last=False)
        return found


def caption_loss(
    model: FastVlmForConditionalGeneration,
    eyes: RestingEyes,
    batch: Batch,
    *,
    grounding: Grounding | None,
    bfloat16: bool,
) -> dict[str, Tensor]:
    """Mean cross-entropy over the captions' tokens, while the eyes rest (`said again` of texts
    without a picture), and those of `grounding`, by name.

    No attention mask: padding is on the right, where causal attention does not look. The logits
    are made only where a caption's token follows. Rows of about one length are read together; a
    loss of `grounding` is the mean over such groups, each weighted by its number of rows.
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        tokens = model.model.multi_modal_projector(eyes(batch.pixels))
        captioned = tokens.new_zeros(())
        ties: dict[str, list[tuple[int, Tensor]]] = {}
        for rows in length_groups(batch.lengths):
            part, pictures = part_of(batch, rows)
            shown = tokens[pictures]
            read = _read(model, part.ids, shown, watched=grounding is not None)
            captioned = captioned + _caption_total(model, read.last_hidden_state, part.labels)
            if grounding is not None:
                found = grounding.losses(model, shown, read.hidden_states, read.attentions, part)
                for name, loss in found.items():
                    ties.setdefault(name, []).append((len(rows), loss))
    name = "caption" if len(batch.pixels) else "said again"
    losses = {name: captioned / _captioned(batch.labels).sum()}
    for tie, terms in ties.items():
        losses[tie] = torch.stack([rows * loss for rows, loss in terms]).sum() / sum(
            rows for rows, _ in terms
        )
    return losses


def _read(
    model: FastVlmForConditionalGeneration, ids: Tensor, tokens: Tensor, *, watched: bool
) -> ModelOutput:
    """What the language model makes of rows with their pictures' tokens; `watched`: its states and
    where it looks, besides.
    """
    seen = {"image": BaseModelOutputWithPooling(pooler_output=tokens)} if len(tokens) else None
    return model.model(
        input_ids=ids,
        mm_encoder_outputs=seen,
        use_cache=False,
        output_hidden_states=watched,
        output_attentions=watched,
    )


def _captioned(labels: Tensor) -> Tensor:
    """Where the next token is a caption's (B, S - 1)."""
    return labels[:, 1:] != IGNORED


def _caption_total(
    model: FastVlmForConditionalGeneration, hidden: Tensor, labels: Tensor
) -> Tensor:
    """Sum of the cross-entropies of the captions' tokens, from states (B, S, H)."""
    kept = _captioned(labels)
    logits = model.lm_head(hidden[:, :-1][kept])
    return cross_entropy(logits.float(), labels[:, 1:][kept], reduction="sum")


def optimiser_of(modules: Sequence[torch.nn.Module], recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that leaves vectors (norms and biases) without decay."""
    values = [value for module in modules for value in module.parameters()]
    matrices = [value for value in values if value.ndim > 1]
    vectors = [value for value in values if value.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": recipe.decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98))


class Start(NamedTuple):
    """What the training begins with: a model, its processor, the first stage to take."""

    model: FastVlmForConditionalGeneration
    processor: LlavaProcessor
    stage: int
    notes: str


def train(
    recipe: Recipe,
    scenes: list[Scene],
    checkpoint: Path,
    *,
    start: Start,
    save_every: int = 50,
) -> FastVlmForConditionalGeneration:
    """The model after all stages.

    Resumes from `checkpoint` if it exists and fits the recipe.
    """
    torch.manual_seed(recipe.seed)
    model, processor = start.model, start.processor
    heads, readers = CellHeads(), Readers()
    model.model.vision_tower.to(memory_format=torch.channels_last)
    saved: dict[str, Any] = {"stage": start.stage, "step": 0}
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        if not continues(saved, recipe):
            raise SystemExit(
                f"{checkpoint}: made by another recipe ({saved['recipe']}); "
                "move it away or pass --checkpoint"
            )
        with_weights(model, saved["model"])
        heads.load_state_dict(saved["heads"])
        readers.load_state_dict(saved["readers"])
    model.train()
    for number in range(saved["stage"], len(recipe.stages)):
        stage = recipe.stages[number]
        eyes = [model.model.vision_tower, heads]
        words = [model.model.multi_modal_projector, model.model.language_model]
        words += [readers] if stage.ties else []
        grounding = Grounding(readers, processor.tokenizer, stage.ties) if stage.ties else None
        # only eager attention says where it looked
        model.set_attn_implementation("eager" if grounding else "sdpa")
        optimiser = optimiser_of(eyes if stage.learns == "eyes" else words, recipe)
        first = saved["step"] if number == saved["stage"] else 0
        if first:
            optimiser.load_state_dict(saved["optimiser"])
        resting = RestingEyes(model)
        running: dict[str, float] = {}
        with Progress(f"train {stage.name}", stage.steps, "steps", done=first) as progress:
            for step in range(first, stage.steps):
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate(stage, step)
                # a step's samples depend on seed, stage and number only: resuming is exact
                rng = random.Random(f"{recipe.seed}/{stage.name}/{step}")
                for batch in batches(MIXES[stage.mix], rng, scenes, processor):
                    if stage.learns == "eyes":
                        losses = {"cells": cells_loss(model, heads, batch,
                                                      bfloat16=recipe.bfloat16)}  # fmt: skip
                    else:
                        losses = caption_loss(model, resting, batch, grounding=grounding,
                                              bfloat16=recipe.bfloat16)  # fmt: skip
                    torch.stack(list(losses.values())).sum().backward()
                    for name, loss in losses.items():
                        value = float(loss.detach())
                        running[name] = 0.98 * running.get(name, value) + 0.02 * value
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                told = " ".join(f"{name} {value:.3f}" for name, value in running.items())
                progress.label = f"train {stage.name} {told},"
                progress.advance()
                if (step + 1) % save_every == 0 or step + 1 == stage.steps:
                    state = {"recipe": asdict(recipe), "model": dict(model.named_parameters()),
                             "heads": heads.state_dict(), "readers": readers.state_dict(),
                             "optimiser": optimiser.state_dict(),
                             "stage": number, "step": step + 1}  # fmt: skip
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


def begin(recipe: Recipe, scenes: list[Scene]) -> Start:
    """Random weights and a tokenizer learnt from captions."""
    torch.manual_seed(recipe.seed)
    tokenizer = tokenizer_of(recipe, scenes)
    return Start(build_model(tokenizer), build_processor(tokenizer), 0, "")


def go_on(folder: Path, stage: int) -> Start:
    """An exported model, to be trained from `stage` on."""
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    notes = f"Started from weights with sha256 {digest}, made by the stages before."
    return Start(model, AutoProcessor.from_pretrained(folder), stage, notes)


def main() -> None:
    """Parse, render, train, export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=Path(".cache/nano"),
                        help="rendered scenes and the checkpoint")  # fmt: skip
    parser.add_argument("--checkpoint", type=Path, help="default: CACHE/checkpoint.pt")
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument("--threads", type=int, default=2, help="that compute a step")
    parser.add_argument("--scenes", type=int, default=Recipe.scenes)
    parser.add_argument("--steps", type=int, help="of every stage, to see that everything runs")
    parser.add_argument("--bfloat16", action=argparse.BooleanOptionalAction,
                        help="default: where the processor has it")  # fmt: skip
    parser.add_argument("--initial", type=Path, help="an exported model to start from, not random")
    parser.add_argument("--from-stage", choices=[stage.name for stage in STAGES],
                        help="first stage; needs --initial")  # fmt: skip
    parser.add_argument("--last-stage", choices=[stage.name for stage in STAGES],
                        default=LAST_STAGE)  # fmt: skip
    parser.add_argument("--export", action="store_true",
                        help="replace the packaged model when done")  # fmt: skip
    parser.add_argument("--export-now", action="store_true",
                        help="export what the checkpoint holds, without training")  # fmt: skip
    options = parser.parse_args()
    names = [stage.name for stage in STAGES]
    last = names.index(options.last_stage)
    if options.from_stage is not None and names.index(options.from_stage) > last:
        parser.error(
            f"--from-stage {options.from_stage} comes after --last-stage {options.last_stage}, "
            f"with which training ends; the stages are {', '.join(names)}"
        )
    if (options.initial is None) != (options.from_stage is None):
        parser.error("--initial FOLDER and --from-stage NAME go together")
    bfloat16 = fast_in_bfloat16() if options.bfloat16 is None else options.bfloat16
    stages = STAGES[: last + 1]
    if options.steps is not None:
        stages = tuple(replace(stage, steps=options.steps) for stage in stages)
    recipe = Recipe(scenes=options.scenes, bfloat16=bfloat16, stages=stages)
    # A fixed number: the sums of a training step come out the same again.
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    cache, ready = fill_cache(options.cache, recipe.scenes, workers=options.workers)
    checkpoint = options.checkpoint or options.cache / "checkpoint.pt"
    scenes = [
        scene
        for number in range(1 if options.export_now else ready)
        for scene in read_shard(cache, number)
    ]
    if options.initial is None:
        start = begin(recipe, scenes)
    else:
        start = go_on(options.initial, names.index(options.from_stage))
    if options.export_now:
        saved = torch.load(checkpoint, weights_only=True)
        recipe = recipe_of(saved["recipe"])
        model = with_weights(start.model, saved["model"])
    else:
        model = train(recipe, scenes, checkpoint, start=start)
        saved = torch.load(checkpoint, weights_only=True)
    if options.export or options.export_now:
        export(model, start.processor, asdict(recipe), renderer=cache.name, notes=start.notes,
               done=(saved["stage"], saved["step"]))  # fmt: skip


if __name__ == "__main__":
    main()
