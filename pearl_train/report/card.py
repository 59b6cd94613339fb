"""The model card of a run: what was trained on what, how, and how it scored.

Written from the files of the run, so it can be written again whenever there is more to say; scores
are those that ``pearl-train eval`` left in the folder. Nothing is claimed that no file holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pearl_data.shards.files import write_whole
from pearl_tools.errors import BadInput
from pearl_train.run.folder import DataFacts, RunFolder, read_json
from pearl_train.run.metrics import last_values, read_metrics
from pearl_train.settings.config import Config

_PURPOSE = {
    "pearl": "answers questions about pictures without running tools; it was trained to predict "
    "the embedding of what tools would have shown",
    "sft": "answers questions about pictures; it was trained on the answers alone",
    "lvr": "answers questions about pictures after latent steps that reconstruct the region of "
    "interest",
    "tools": "answers questions about pictures by calling crop, zoom and depth tools",
}


def write_card(folder: RunFolder) -> Path:
    """Write ``README.md`` from what the folder holds now, and return it."""
    config = folder.read_config()
    parts = [
        _front(config),
        f"# {folder.path.name}\n",
        _summary(config),
        _data(folder.read_data()),
        _training(folder, config),
        _losses(folder),
        _scores(folder),
        _use(folder),
    ]
    write_whole(folder.card, "\n".join(part for part in parts if part).encode())
    return folder.card


def _front(config: Config) -> str:
    base = "" if config.model.id == "nano" else f"base_model: {config.model.id}\n"
    return (
        f"---\nlibrary_name: transformers\npipeline_tag: image-text-to-text\n{base}"
        f"tags:\n- pearl\n- {config.objective.name}\n---\n"
    )


def _summary(config: Config) -> str:
    purpose = _PURPOSE[config.objective.name]
    if config.objective.name == "sft" and config.objective.view != "answer":
        learned = "trajectories" if config.objective.view == "chat" else "answers and trajectories"
        purpose = f"answers questions about pictures; it was trained on {learned}"
    adapted = " with low-rank adapters, merged" if config.model.lora else ""
    return (
        f"`{config.model.id}` trained{adapted} with the objective **{config.objective.name}** of "
        f"the Pearl toolkit: it {purpose}.\n"
    )


def _data(data: DataFacts) -> str:
    lines = [
        "## Data\n",
        f"- {data.samples} trajectories of split `{data.split}` of `{Path(data.path).name}`",
        f"- manifest sha256 `{data.manifest_sha256}`",
    ]
    if data.validation_samples:
        lines.append(f"- {data.validation_samples} of split `val` for the validation loss")
    lines += [f"- {what}: {n} samples" for what, n in sorted(data.left_out.items())]
    return "\n".join(lines) + "\n"


def _training(folder: RunFolder, config: Config) -> str:
    optim, objective = config.optim, config.objective
    lines = ["## Training\n"]
    lines.append(
        f"- {optim.steps} steps of {optim.batch} samples; AdamW, learning rate {optim.lr:g} "
        f"({optim.schedule}, warm-up {optim.warmup:g}), weight decay {optim.weight_decay:g}"
    )
    lines.append(f"- seed {config.seed}; computed in {config.model.dtype}")
    if objective.name == "pearl":
        lines.append(
            f"- lambda {objective.weight:g}, {objective.pred_tokens} [PRED] tokens, distance "
            f"{objective.distance}, target {objective.target.source} read at "
            f"{objective.target.read}, I0 in the target: {_yes(objective.target.include_image)}, "
            f"answer in it: {_yes(objective.target.include_answer)}"
        )
    for session in read_json(folder.environment, list) if folder.environment.is_file() else []:
        devices = ", ".join(device["name"] for device in session["devices"]) or "CPU"
        libraries = session["libraries"]
        lines.append(
            f"- from step {session['from_step']}: {session['processes']} process(es) on {devices}, "
            f"torch {libraries.get('torch')}, transformers {libraries.get('transformers')}"
        )
    return "\n".join(lines) + "\n\nEvery choice is in `config.toml`.\n"


def _losses(folder: RunFolder) -> str:
    """The last value of every loss and of the panel, and the curves."""
    values = last_values(read_metrics(folder.metrics))
    left_out = {"step", "lr", "samples", "tokens"}
    rows = [
        f"| {name} | {value:.4g} |"
        for name, value in values.items()
        if name not in left_out and value is not None and "gradient/" not in name
    ]
    if not rows:
        return ""
    curves = f"\n![curves]({folder.curves.name})\n" if folder.curves.is_file() else ""
    return "## Losses\n\n| at the end | |\n|---|---|\n" + "\n".join(rows) + f"\n{curves}"


def _scores(folder: RunFolder) -> str:
    """A table of every evaluation in the folder."""
    found = list(_evaluations(folder.path))
    if not found:
        return (
            "## Scores\n\nNot evaluated yet: `pearl-train eval RUN --data DIR` adds a table here.\n"
        )
    text = "## Scores\n"
    for scores in found:
        split = f", split `{scores['split']}`" if scores.get("split") else ""
        text += (
            f"\n`{Path(str(scores['data'])).name}`{split}, mode `{scores['mode']}`:\n\n"
            "| family | n | correct | accuracy [95 % interval] | chance |\n|---|---|---|---|---|\n"
        )
        for row in [*scores["families"], scores["overall"]]:
            rate = row["accuracy"]
            text += (
                f"| {row['family']} | {rate['n']} | {rate['k']} | {_interval(rate)} | "
                f"{row['chance']:.2f} |\n"
            )
    return text + "\nIntervals are Wilson's.\n"


def _evaluations(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.rglob("scores.json")):
        try:
            yield msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise BadInput(f"{path}: expected an evaluation as JSON, got {error}") from error


def _interval(rate: dict[str, Any]) -> str:
    if rate.get("rate") is None:
        return "none"
    return f"{100 * rate['rate']:.1f} % [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"


def _use(folder: RunFolder) -> str:
    if not folder.model.is_dir():
        return ""
    return """## Use

```python
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained("RUN/model")
processor = AutoProcessor.from_pretrained("RUN/model")
```

or `pearl-train predict RUN --image PHOTO --question "..."`.
"""


def _yes(value: bool) -> str:
    return "yes" if value else "no"
