"""A model to be asked, from wherever it lies: the folder of a run, an export, any other model.

A run and an export say themselves how they were trained (``config.toml``, ``pearl.toml``), so the
same words, the same system message and the same way of answering are used. Any other model (a hub
id, a folder, ``nano``) is asked directly, with the defaults.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch

from pearl_data.shards.files import file_sha256
from pearl_tools.errors import UsageError
from pearl_train.asking.answering import Answerer, Mode, mode_of
from pearl_train.asking.explicit_tools import ToolExecutor
from pearl_train.model.backbone import Backbone
from pearl_train.model.build import build_backbone
from pearl_train.model.load import NANO
from pearl_train.model.whole import is_whole
from pearl_train.run.folder import RunFolder
from pearl_train.run.going_on import how_to_go_on
from pearl_train.run.names import folder_name
from pearl_train.settings.config import Config
from pearl_train.settings.faults import Fault
from pearl_train.settings.load import judge, told
from pearl_train.views.encode import Encoder

EXPORTED = "pearl.toml"
"""What an export says of its training; plain transformers does not look at it."""


ASKING = (
    "evaluate.",
    "data.system",
    "data.answers",
    "objective.lvr.latents",
    "model.dtype",
    "model.attention",
    "model.max_pixels",
)
"""Choices, or beginnings of them, that are read when a model is asked; others train it."""

_READERS = {
    "evaluate.max_turns": "tools",
    "evaluate.tool_turn_tokens": "tools",
    "objective.lvr.latents": "lvr",
}
"""What of `ASKING` is read of models of one objective alone."""

REVISION = "model.revision"
"""Read besides for a model that was not trained here: a run holds its network."""


class AtStep(NamedTuple):
    """The network of a run as it was after ``step`` updates, written to ``folder``."""

    folder: Path
    step: int


class Place(NamedTuple):
    """Where a model lies and how it is to be asked.

    ``config`` has the model's own folder as ``model.id``; ``run`` is None but for a run, ``step``
    but for a checkpoint of one.
    """

    name: str
    config: Config
    run: RunFolder | None
    trained: bool
    step: int | None = None


def find(where: str, sets: Sequence[str] = (), at: AtStep | None = None) -> Place:
    """The model at ``where``: a run's folder, an export, another folder, a hub id or ``nano``.

    ``sets`` (``key=value``) change how it is asked (`ASKING`). With ``at`` the network is that of a
    checkpoint of the run at ``where``, which need not be finished. Raises ``UsageError`` for a run
    that is not finished, and for choices of training, which are made.
    """
    place = _found(where, sets, at)
    allowed = ASKING if place.trained else (*ASKING, REVISION)
    if made := [key for key in _keys(sets) if not key.startswith(allowed)]:
        known = ", ".join(name + "*" * name.endswith(".") for name in allowed)
        raise UsageError(
            f"--set {', '.join(made)}: expected a choice of how a model is asked ({known}), got "
            "one of how it is trained; leave it out"
        )
    return place


def refuse_unread(sets: Sequence[str], unread: Sequence[str], why: str) -> None:
    """Raises ``UsageError`` for keys of ``sets`` among ``unread``, which say nothing here."""
    if idle := [key for key in _keys(sets) if key in unread]:
        raise UsageError(
            f"--set {', '.join(idle)}: expected a choice that is read here, got one that is not: "
            f"{why}; leave it out"
        )


def _keys(sets: Sequence[str]) -> list[str]:
    return [text.partition("=")[0].strip() for text in sets]


def _found(where: str, sets: Sequence[str], at: AtStep | None) -> Place:
    folder = Path(where).expanduser()
    run = RunFolder(folder)
    if at is not None:
        config = _asked_at(_configured(where, [run.config], sets), at.folder, sets)
        return Place(f"{folder_name(folder)}, step {at.step}", config, run, True, at.step)
    if run.config.is_file():
        if not is_whole(run.model):
            lack = "a damaged" if run.model.is_dir() else "no"
            raise UsageError(
                f"{where}: expected a finished run, got one with {lack} {run.model.name}/. "
                f"{how_to_go_on(run, run.read_config())}"
            )
        config = _configured(where, [run.config], sets)
        return Place(folder_name(folder), _asked_at(config, run.model, sets), run, trained=True)
    exported = folder / EXPORTED
    if exported.is_file():
        config = _configured(where, [exported], sets)
        return Place(folder_name(folder), _asked_at(config, folder, sets), None, trained=True)
    config = _configured(where, [], sets)
    return Place(folder_name(folder), config, None, trained=False)


def _configured(where: str, files: Sequence[Path], sets: Sequence[str]) -> Config:
    """How the model at ``where``, trained as ``files`` say or not here, is asked.

    Raises ``UsageError`` with all faults. What rests on choices of training names no other choice
    of them as its remedy: those are made.
    """
    flags = {} if files else {"model.id": where, "objective.name": "sft"}
    config, faults, _, _ = judge(files, sets, flags)
    if faults:
        raise UsageError(told([_of_asking(where, fault, config, files) for fault in faults]))
    return config


def _of_asking(where: str, fault: Fault, config: Config, files: Sequence[Path]) -> Fault:
    """``fault`` in words for who asks a model that is as it is."""
    if fault.where == REVISION:
        return replace(
            fault, hint="leave it out, or name a hub id instead: no folder has revisions"
        )
    if fault.where not in _READERS or len(fault.rests_on) == 1:
        return fault
    reader, name = _READERS[fault.where], config.objective.name
    kind = (
        f"is a model of objective {name}" if files else "was not trained here, so is asked at once"
    )
    instead = "" if reader == "lvr" else "; evaluate.max_new_tokens limits its answer"
    return replace(
        fault,
        expected=f"a choice that is read of {where}, which {kind}",
        hint=f"leave it out{instead}. Only a run or an export of objective {reader} reads it",
    )


def _asked_at(config: Config, folder: Path, sets: Sequence[str]) -> Config:
    """``config`` with the trained network in ``folder``, whose adapters are merged already, in the
    type that it is stored in unless ``sets`` choose another.
    """
    dtype = config.model.dtype if "model.dtype" in _keys(sets) else "float32"
    model = msgspec.structs.replace(
        config.model, id=str(folder), revision=None, lora=None, dtype=dtype
    )
    return msgspec.structs.replace(config, model=model)


def open_answerer(
    place: Place,
    *,
    mode: Mode | None = None,
    executor: ToolExecutor | None = None,
    device: str | None = None,
) -> Answerer:
    """The model at ``place`` ready to be asked, on ``device`` (a GPU if there is one).

    ``mode`` overrides how it was trained to answer.
    """
    chosen = mode or (mode_of(place.config) if place.trained else "direct")
    backbone = asked_backbone(place.config, device)
    return Answerer(
        backbone,
        encoder_for(backbone, place.config),
        place.config,
        mode=chosen,
        executor=executor,
    )


def asked_backbone(config: Config, device: str | None = None) -> Backbone:
    """The network for inference: its weights in ``model.dtype``, as plain transformers runs it;
    float32 for what was trained here, in which it is stored.
    """
    built = build_backbone(config.model, seed=config.seed)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = torch.bfloat16 if config.model.dtype == "bfloat16" else torch.float32
    network = built.network.to(place, dtype).eval()
    return Backbone(network, built.processor, built.tokens)


def encoder_for(backbone: Backbone, config: Config) -> Encoder:
    """The encoder that puts questions into words as training did."""
    return Encoder(
        backbone.processor,
        backbone.tokens,
        data=config.data,
        objective=config.objective,
        max_pixels=config.model.max_pixels,
        model=config.model.id,
    )


def weights_sha256(place: Place) -> str:
    """A hash of the model's weights, or of its name where they are not in a folder here."""
    folder = NANO if place.config.model.id == "nano" else Path(place.config.model.id)
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        named = f"{place.config.model.id}@{place.config.model.revision}"
        return hashlib.sha256(named.encode()).hexdigest()
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()
