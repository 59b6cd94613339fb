"""A model examined on a data set: opens both, asks every question, keeps lines and scores.

Lines lie in a folder named after what was examined on what, so that nothing is ever mixed: of a run
in ``RUN/eval/<digest>/``, from where its model card takes them. Only a model trained to call tools
gets tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from pearl_data.shards import DatasetReader
from pearl_train.asking.answering import Answerer
from pearl_train.asking.evaluate import Evaluation, Task, evaluate
from pearl_train.asking.explicit_tools import ToolExecutor, executor_for
from pearl_train.asking.item_lines import Header
from pearl_train.asking.likelihood import RULE, RULE_WITH_TOOLS
from pearl_train.asking.trained import (
    AtStep,
    find,
    open_answerer,
    refuse_unread,
    weights_sha256,
)
from pearl_train.report.card import write_card
from pearl_train.run.data import open_dataset
from pearl_train.run.folder import data_sha256, trained_on
from pearl_train.run.names import folder_name
from pearl_train.settings.config import Config


def examine(
    where: str,
    data: Path,
    *,
    split: str | None = None,
    out: Path | None = None,
    sets: Sequence[str] = (),
    limit: int | None = None,
    at: AtStep | None = None,
    device: str | None = None,
    allow_unfinished: bool = False,
) -> Evaluation:
    """The scores of the model at ``where`` on ``data``.

    ``split`` falls back on ``evaluate.split``; without either all samples are asked. ``out`` is
    where lines and scores go; of a run by default its own folder, else nowhere. ``limit`` takes the
    first so many questions; ``at`` as for :func:`pearl_train.asking.trained.find`.
    """
    place = find(where, sets, at)
    if place.trained and place.config.objective.name == "tools":
        why = "evaluate.tool_turn_tokens limits the turns of a model that calls tools"
        refuse_unread(sets, ("evaluate.max_new_tokens",), why)
    with open_dataset(data, allow_unfinished=allow_unfinished) as reader:
        model = open_answerer(place, executor=executor_of(reader), device=device)
        header = header_of(
            place.name, weights_sha256(place), data, split or place.config.evaluate.split, model
        )
        if limit is not None:  # scores of some questions never replace those of all
            header = msgspec.structs.replace(header, options={**header.options, "limit": limit})
        if place.step is not None:  # nor those of a checkpoint those of the end
            header = msgspec.structs.replace(
                header, options={**header.options, "checkpoint": place.step}
            )
        folder = out
        if folder is None and place.run is not None:
            folder = place.run.path / "eval" / header.digest
        learned = place.run is not None and trained_on(
            place.run, str(header.options["data_sha256"]), header.split
        )
        task = Task(header, reader, place.config.data.answers, limit, learned, place.step)
        found = evaluate(model, task, folder)
    if place.run is not None and out is None:
        write_card(place.run)
    return found


def header_of(name: str, weights: str, data: Path, split: str | None, model: Answerer) -> Header:
    """What exactly is examined: weights, data, and every choice that can change a reply."""
    config: Config = model.config
    options = {
        "weights_sha256": weights,
        "data_sha256": data_sha256(data),
        "answers": config.data.answers,
        "ranked_by": RULE_WITH_TOOLS if model.mode == "tools" else RULE,
        "system": config.data.system,
        "max_pixels": config.model.max_pixels,
        "dtype": config.model.dtype,
        "device": model.backbone.device.type,
    }
    limits = config.evaluate
    if model.mode == "tools":
        options |= {"max_turns": limits.max_turns, "turn_tokens": limits.tool_turn_tokens}
    else:
        options["max_new_tokens"] = limits.max_new_tokens
    if model.mode == "pause":
        options["pause_tokens"] = config.objective.pause_tokens
    if model.mode == "lvr":
        options |= {"latents": config.objective.lvr.latents, "latents_are": model.latents}
    if model.mode == "tools" and model.executor is not None:
        options["executor"] = msgspec.to_builtins(model.executor.settings)
    return Header(model=name, data=folder_name(data), split=split, mode=model.mode, options=options)


def executor_of(reader: DatasetReader) -> ToolExecutor:
    """An executor that works as the one did which made the data."""
    return executor_for(reader.manifest.header.config if reader.manifest else {})
