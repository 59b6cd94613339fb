"""Write the trained model into the package: half-precision weights, processor, card.

The card exists twice: `card.json` for machines, `card.md` made from it for people. Figures come
later, from `evaluate.py --card`. Leaves out training.
"""

import hashlib
import json
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from batches import MIXES, Mix
from network import SIDE_PX
from transformers import FastVlmForConditionalGeneration, LlavaProcessor

FOLDER = Path(__file__).parents[2] / "pearl_train" / "nano"
"""Where the packaged model lies."""
#: The code that decides the weights.
_MADE_BY = (
    "training/nano",
    "pearl_data/rendering",
    "pearl_data/experts",
    "pearl_data/sources",
    "tools/pearl_tools/depth",
)


def export(
    model: FastVlmForConditionalGeneration,
    processor: LlavaProcessor,
    recipe: dict[str, Any],
    *,
    renderer: str,
    done: tuple[int, int],
    notes: str = "",
) -> None:
    """Replace the packaged model and its card by this model, without figures.

    Args:
        model: what is written, in half precision.
        processor: what is written beside it.
        recipe: its fields.
        renderer: name of the folder of scenes.
        done: the last stage that was begun, and its steps.
        notes: where the weights began, if not at random ones.

    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER.parent) as made:
        folder = Path(made)
        model.half().save_pretrained(folder)
        processor.save_pretrained(folder)
        # stored in half precision to be small, computed in single unless the user says otherwise
        config = json.loads((folder / "config.json").read_text())
        config["dtype"] = "float32"
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        for path in sorted(folder.iterdir()):
            path.chmod(0o644)  # safetensors makes it private to its owner
            shutil.move(path, FOLDER / path.name)
    weights = FOLDER / "model.safetensors"
    write_card(
        {
            "model_id": "nano",
            "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "bytes": sum(
                path.stat().st_size for path in FOLDER.iterdir() if "card" not in path.name
            ),
            "parameters": sum(value.numel() for value in model.parameters()),
            "tokens": len(processor.tokenizer),
            "side_px": SIDE_PX,
            "script": "training/nano/pretrain.py",
            "commit": _commit(),
            "recipe": recipe,
            "mixes": {name: _counts(mix) for name, mix in MIXES.items()},
            "done": list(done),
            "notes": notes,
            "renderer": renderer,
            "machine": f"{platform.system()} {platform.machine()}, "
            f"{torch.get_num_threads()} CPU thread(s), torch {torch.__version__}",
            "licence": "CC0-1.0",
            "evaluated_scenes": 0,
            "figures": [],
        }
    )


def _counts(mix: Mix) -> str:
    return ", ".join(f"{number} {kind}" for kinds in mix for kind, number in kinds.items())


def _commit() -> str:
    """The commit of the code, marked if anything but the files written here differs from it."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", *(f":/{path}" for path in _MADE_BY))
    return (git("rev-parse", "HEAD") or "unknown") + ("-dirty" if changed else "")


def write_card(card: dict[str, Any]) -> None:
    """Write both forms of the card."""
    (FOLDER / "card.json").write_text(json.dumps(card, indent=2, sort_keys=True) + "\n")
    (FOLDER / "card.md").write_text(card_text(card))


def read_card() -> dict[str, Any]:
    """The card as it was written last."""
    stored: dict[str, Any] = json.loads((FOLDER / "card.json").read_text())
    return stored


def card_text(card: dict[str, Any]) -> str:
    """The card as Markdown."""
    stages = card["recipe"]["stages"]
    recipe = ", ".join(
        f"{name} {value}" for name, value in card["recipe"].items() if name != "stages"
    )
    told = "\n".join(
        f"  {number}. `{stage['name']}`, {stage['steps']} steps of rate {stage['rate']:g}: "
        f"{stage['learns']} learn from {card['mixes'][stage['mix']]}"
        + (f"; tied by {', '.join(stage['ties'])}." if stage.get("ties") else ".")
        for number, stage in enumerate(stages, 1)
    )
    rows = "\n".join(
        f"| {row['name']} | {row['share']:.3f} | {row['k']} | {row['n']} | "
        f"{row['wilson95'][0]:.3f}-{row['wilson95'][1]:.3f} | {row['chance']} |"
        for row in card["figures"]
    )
    table = (
        "| completed caption | right | k | n | Wilson 95 % | chance |\n|---|---|---|---|---|---|\n"
        + rows
        if rows
        else "Not evaluated yet: `python training/nano/evaluate.py --card`."
    )
    number, steps = card["done"]
    planned = len(stages) - 1, stages[-1]["steps"]
    unfinished = "" if (number, steps) == planned else (
        f" **Unfinished: {steps} steps of stage {number + 1}.**"
    )  # fmt: skip
    notes = f"\n  {card['notes']}" if card["notes"] else ""
    return f"""# The nano model

A small vision-language model for trials of a trainer on a CPU, made by `{card["script"]}` at
commit `{card["commit"]}`; this file is written from `card.json`.{unfinished}

- Architecture: `FastVlmForConditionalGeneration`; a ResNet with GroupNorm, pictures stretched to
  {card["side_px"]} px squares, 36 tokens each; Qwen2, 4 layers of width 192.
  {card["parameters"]} parameters.
- Files: {card["bytes"]} bytes; weights in half precision, sha256
  `{card["weights_sha256"]}`; loaded in single precision.
- Data: {card["recipe"]["scenes"]} scenes of pearl_data.rendering ({card["renderer"]}) with seeds
  of their own, and depth maps of the embedded depth network. No question and no call of a tool was
  shown.
- Stages. Where eyes learn, they name colour, shape, pattern and tag in the cells of a view, the
  tenth of the range that is read in those of a depth map, and row and column of every cell. Where
  words learn, the eyes rest, and captions are completed; a line before some of them lists words of
  which the caption uses one. In texts without a picture, words are said that were said before
  (`recalled.py`). What ties words to places: `grounding.py`, both in `training/nano`.{notes}
{told}
- Tokenizer: byte-level BPE, {card["tokens"]} tokens, learnt from the captions and from the
  wordings of the toolkit's questions, thoughts and tools. One digit is one token, and so is a
  capital that begins no word. Eight tokens `<|spare_0|>` to `<|spare_7|>` are untrained.
- Recipe: {recipe}.
- Machine: {card["machine"]}.
- Licence of weights and pictures: {card["licence"]}.

## Figures

Captions completed on {card["evaluated_scenes"]} rendered scenes with seeds of their own, and as
many texts without a picture of each kind; the model is never asked. Things of one picture are not
independent, so the intervals are a little too narrow.

{table}

## Limits

It knows the solids, colours, tags and rooms of one renderer and the grey depth maps of one network,
and nothing else: no photograph, no other text in pictures, no question. It is a base for trials,
to be trained further; what is learnt with it says little about large models.
"""
