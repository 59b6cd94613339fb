"""The model card of a run or an export: what was trained on what, how, and how it scored.

Written from the files of the run, so it can be written again whenever there is more to say; scores
are those that ``pearl-train eval`` left in the folder. A run that stopped early has one too, which
says why. Nothing is claimed that no file holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from pearl_data.shards.files import write_whole
from pearl_train.report.card_scores import EVERY, scores
from pearl_train.report.usage import adapter_usage, usage
from pearl_train.run.environment import Stop, last_stop
from pearl_train.run.folder import DataFacts, RunFolder, read_json
from pearl_train.run.going_on import going_on
from pearl_train.run.metrics import PANEL, last_values, read_metrics
from pearl_train.run.names import folder_name, is_local, model_name
from pearl_train.settings.config import Config

_PURPOSE = {
    "pearl": "answers questions about pictures without running tools; it was trained to predict "
    "the embedding of what tools would have shown",
    "sft": "answers questions about pictures; it was trained on the answers alone",
    "lvr": "answers questions about pictures after latent steps that reconstruct the region of "
    "interest",
    "tools": "answers questions about pictures by calling crop, zoom and depth tools",
}


#: What sft learns besides the answers, by its view.
_WHOLE = {"trajectory": "answers and trajectories", "chat": "whole trajectories, calls included"}


class Place(NamedTuple):
    """Where a card stands, and what lies beside it.

    ``choices`` is the file with every choice, ``model`` the folder of the network, ``curves`` the
    picture, None where there is no such thing; ``command`` is how ``pearl-train`` names the model.
    ``step`` is that of the checkpoint that the network is from, None for the end of the run;
    ``exported``: the card is of this network alone.
    """

    title: str
    choices: str
    model: str | None
    curves: str | None
    command: str
    step: int | None = None
    exported: bool = False


def write_card(folder: RunFolder) -> Path:
    """Write ``README.md`` from what the folder holds now, and return it."""
    name = folder_name(folder.path)
    place = Place(
        title=name,
        choices=folder.config.name,
        model=folder.model.name if folder.model.is_dir() else None,
        curves=_curves(folder),
        command=name,
    )
    write_whole(folder.card, card(folder, place).encode())
    return folder.card


def exported_card(folder: RunFolder, name: str, choices: str, step: int | None = None) -> str:
    """The card of an export called ``name``, where the choices are in ``choices`` and curves, if
    the run has any, and the network lie beside the card. ``step`` as in :class:`Place`.
    """
    place = Place(
        title=name,
        choices=choices,
        model=".",
        curves=_curves(folder),
        command=name,
        step=step,
        exported=True,
    )
    return card(folder, place)


def adapter_card(
    folder: RunFolder, name: str, choices: str, adapter: Path, step: int | None = None
) -> str:
    """The card of an adapter alone, called ``name``, in folder ``adapter``; the rest as for
    :func:`exported_card`.
    """
    config = folder.read_config()
    what = (
        f"A low-rank adapter for `{model_name(config.model.id)}`, trained with the objective "
        f"**{config.objective.name}** of the Pearl toolkit: the adapter alone, with the rows of "
        "the tokens that the trainer added, and the matching processor.\n"
    )
    parts = [
        _front(config, library="peft"),
        f"# {name}\n",
        what,
        _at_step(config, step),
        _data(folder.read_data()),
        _training(config, [], step),
        f"Every choice is in `{choices}`.\n",
        adapter_usage(config, adapter),
    ]
    return "\n".join(part for part in parts if part)


def card(folder: RunFolder, place: Place) -> str:
    """What the run in ``folder`` was, for readers at ``place``."""
    config = folder.read_config()
    sessions = read_json(folder.environment, list) if folder.environment.is_file() else []
    # whoever came so far has all that a card speaks of; a checkpoint is what it is, come what may
    whole = place.model and (place.curves or place.step is not None)
    stop = None if whole else last_stop(folder.environment)
    parts = [
        _front(config),
        f"# {place.title}\n",
        _summary(config),
        _at_step(config, place.step),
        _stopped(stop, config, place, folder_name(folder.read_data().path)),
        _data(folder.read_data()),
        _training(config, sessions, stop["step"] if stop else place.step),
        f"Every choice is in `{place.choices}`.\n",
        _losses(folder, place.curves, place.step),
        scores(folder.path, place.step if place.exported else EVERY) or _not_yet(place),
        usage(config, place.model, place.command, folder.model) if place.model else "",
    ]
    return "\n".join(part for part in parts if part)


def _curves(folder: RunFolder) -> str | None:
    return folder.curves.name if folder.curves.is_file() else None


def _front(config: Config, library: str = "transformers") -> str:
    known = config.model.id != "nano" and not is_local(config.model.id)
    base = f"base_model: {config.model.id}\n" if known else ""
    tags = "".join(f"- {tag}\n" for tag in dict.fromkeys(("pearl", config.objective.name)))
    return (
        f"---\nlibrary_name: {library}\npipeline_tag: image-text-to-text\n{base}tags:\n{tags}---\n"
    )


def _summary(config: Config) -> str:
    objective = config.objective
    control = objective.name == "pearl" and not objective.weight
    purpose = _PURPOSE["sft" if control else objective.name]
    if objective.name == "sft" and objective.view in _WHOLE:
        purpose = f"answers questions about pictures; it was trained on {_WHOLE[objective.view]}"
    elif control:
        purpose += " (lambda 0: the control, no embedding was predicted)"
    adapted = " with low-rank adapters, merged in float32" if config.model.lora else ""
    return (
        f"`{model_name(config.model.id)}` trained{adapted} with the objective "
        f"**{config.objective.name}** of the Pearl toolkit: it {purpose}.\n"
    )


def _at_step(config: Config, step: int | None) -> str:
    """That the weights are not those of the end."""
    if step is None:
        return ""
    return f"These are the weights of a checkpoint, after step {step} of {config.optim.steps}.\n"


def _stopped(stop: Stop | None, config: Config, place: Place, data: str) -> str:
    """That the run did not come to its end, and why."""
    if stop is None:
        return ""
    where = f"after step {stop['step']} of" if stop["step"] else "before the first of"
    steps = "" if stop["step"] else " steps"
    lacks = "there are no curves yet" if place.model else "there is no model yet"
    return (
        f"**Not finished**: it stopped {where} {config.optim.steps}{steps}. "
        f"{stop['why']}\n\nWhat follows is what was reached by then; {lacks}. "
        f"{going_on(stop, place.command, config, data, quote='`')}.\n"
    )


def _data(data: DataFacts) -> str:
    lines = [
        "## Data\n",
        f"- {data.samples} trajectories of split `{data.split}` of `{folder_name(data.path)}`",
        f"- manifest sha256 `{data.manifest_sha256}`",
    ]
    if data.validation_samples:
        lines.append(f"- {data.validation_samples} of split `val` for the validation loss")
    lines += [f"- {what}: {n} samples" for what, n in sorted(data.left_out.items())]
    return "\n".join(lines) + "\n"


def _training(config: Config, sessions: list[Any], reached: int | None) -> str:
    """``reached`` is the step up to which this was trained, None for all."""
    optim, objective = config.optim, config.objective
    lines = ["## Training\n"]
    done = str(optim.steps) if reached is None else f"{reached} of {optim.steps}"
    lines.append(
        f"- {done} steps of {optim.batch} samples; AdamW, learning rate {optim.lr:g} "
        f"({optim.schedule}, warm-up {optim.warmup:g}), weight decay {optim.weight_decay:g}"
    )
    lines.append(
        f"- seed {config.seed}; computed in {config.model.dtype}; what was trained is stored in "
        "float32"
    )
    if objective.name == "pearl" and not objective.weight:
        lines.append("- lambda 0: the control without its term")
    elif objective.name == "pearl":
        lines.append(
            f"- lambda {objective.weight:g}, {objective.pred_tokens} [PRED] tokens, distance "
            f"{objective.distance}, target {objective.target.source} read at "
            f"{objective.target.read}, I0 in the target: {_yes(objective.target.include_image)}, "
            f"answer in it: {_yes(objective.target.include_answer)}"
        )
    for session in sessions:
        devices = ", ".join(device["name"] for device in session["devices"]) or "CPU"
        libraries = session["libraries"]
        ended = session.get("stopped")
        end = f" to {ended['step']}" if ended else ""
        lines.append(
            f"- from step {session['from_step']}{end}: {session['processes']} process(es) on "
            f"{devices}, torch {libraries.get('torch')}, transformers "
            f"{libraries.get('transformers')}"
        )
    return "\n".join(lines) + "\n"


def _losses(folder: RunFolder, curves: str | None, step: int | None) -> str:
    """The last value of every loss, the last reading of the panel, up to ``step`` if it is given,
    and the curves.
    """
    lines = read_metrics(folder.metrics)
    values = last_values([x for x in lines if step is None or x["step"] <= step])
    left_out = {"step", "lr", "samples", "tokens"}
    shown = {
        name: value
        for name, value in values.items()
        if name not in left_out and value is not None and "gradient/" not in name
    }
    losses = {name: value for name, value in shown.items() if not name.startswith(PANEL)}
    panel = {n.removeprefix(PANEL): value for n, value in shown.items() if n.startswith(PANEL)}
    tables = [
        f"| {head} | |\n|---|---|\n"
        + "".join(f"| {name} | {value:.4g} |\n" for name, value in rows.items())
        for head, rows in (
            ("mean over the last stretch of the log", losses),
            ("collapse panel, last reading", panel),
        )
        if rows
    ]
    if not tables:
        return ""
    picture = f"\n![curves]({curves})\n" if curves else ""
    return "## Losses\n\n" + "\n".join(tables) + picture


def _not_yet(place: Place) -> str:
    """What stands where the scores would; nothing before there is a model."""
    if not place.model:
        return ""
    return (
        f"## Scores\n\nNot evaluated yet: `pearl-train eval {place.command} --data DIR` measures it"
        f"{'' if place.model == '.' else ' and adds a table here'}.\n"
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"
