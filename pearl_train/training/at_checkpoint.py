"""A run's network as one of its checkpoints holds it: the best by validation, or that of a step.

A checkpoint holds what was trained alone, so the network is built as the run built it, is given
those weights, and is written as the end of the run is (:mod:`pearl_train.model.export`). Left out:
going on from a checkpoint (:mod:`pearl_train.training.session`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from pearl_tools.errors import BadInput, UsageError
from pearl_train.asking.trained import AtStep
from pearl_train.model.backbone import Backbone
from pearl_train.model.export import export_model
from pearl_train.objectives.trainee import make_trainee
from pearl_train.run.folder import RunFolder
from pearl_train.settings.config import Config
from pearl_train.training.assemble import build_trained
from pearl_train.training.checkpoint import (
    Checkpoint,
    best_checkpoint,
    expect_names,
    expect_shapes,
    manifests,
    whole,
)
from pearl_train.training.quiet import no_bars
from pearl_train.training.state import frozen_fingerprint, kept_names

LAST, BEST = "last", "best"


@contextmanager
def network_at(where: str, checkpoint: str) -> Iterator[AtStep | None]:
    """The network of the run at ``where`` as ``checkpoint`` (``best``, or a step) holds it, in a
    folder that is there inside the ``with`` alone; None for ``last``, the model at the end.

    Raises ``UsageError`` where there is no such checkpoint, saying which there are, ``BadInput``
    for one that is torn or belongs to another network.
    """
    if checkpoint == LAST:
        yield None
        return
    run = RunFolder(Path(where).expanduser())
    found = chosen(run, checkpoint)
    with tempfile.TemporaryDirectory(prefix="pearl-checkpoint-") as scratch:
        folder, config = Path(scratch) / "model", run.read_config()
        with no_bars():
            export_model(
                backbone_at(found, config),
                folder,
                config.evaluate.longest_reply(config.objective.name),
            )
        yield AtStep(folder, found.step)


def chosen(run: RunFolder, checkpoint: str) -> Checkpoint:
    """The checkpoint of ``run`` that ``checkpoint`` (``best``, or a step) names; it is whole."""
    option = f"--checkpoint {checkpoint}"
    if checkpoint != BEST and not checkpoint.isdecimal():
        raise UsageError(f"{option}: expected {LAST}, {BEST} or a step. {_there(run)}")
    if not run.config.is_file():
        raise UsageError(
            f"{option}: expected the folder of a run, which alone has checkpoints, got {run.path}; "
            "leave it out"
        )
    if checkpoint == BEST:
        path = _best(run, option)
    else:
        by_step = {one.step: path for path, one in manifests(run.checkpoints).items()}
        if int(checkpoint) not in by_step:
            raise UsageError(
                f"{option}: expected the step of a checkpoint in {run.checkpoints}, got one that "
                f"has none. {_there(run)}"
            )
        path = by_step[int(checkpoint)]
    found = whole(path)
    if isinstance(found, str):
        raise BadInput(f"{option}: {path} is damaged: {found}. {_there(run)}")
    return found


def backbone_at(found: Checkpoint, config: Config) -> Backbone:
    """The network that a run of ``config`` had when it wrote ``found``, on the CPU.

    Raises ``BadInput`` where the base model is not the one that the run began with.
    """
    trainee = make_trainee(build_trained(config), config)
    whole_state = trainee.state_dict()
    kept = kept_names(trainee)
    weights = weights_for(
        found,
        base=frozen_fingerprint(trainee),
        kept=kept,
        shapes={name: tuple(whole_state[name].shape) for name in sorted(kept)},
        config=config,
    )
    trainee.load_state_dict(weights, strict=False)
    return trainee.backbone


def weights_for(
    found: Checkpoint,
    *,
    base: str,
    kept: AbstractSet[str],
    shapes: Mapping[str, tuple[int, ...]],
    config: Config,
) -> dict[str, Tensor]:
    """The weights in ``found``, for a trainee whose frozen weights have the fingerprint ``base``
    and whose others are called ``kept`` and have ``shapes``; raises ``BadInput`` for others.
    """
    if found.state()["base"] != base:
        raise BadInput(
            f"{found.path}: expected the frozen weights that the run began with, got others; "
            f"check model.id {config.model.id} and model.revision"
        )
    weights = found.tensors("weights")
    expect_names(found.path, set(kept), set(weights))
    expect_shapes(found.path, shapes, weights)
    return weights


def _best(run: RunFolder, option: str) -> Path:
    """The checkpoint with the lowest validation loss of all that the run wrote."""
    if not run.read_config().checkpoint.keep_best:
        raise UsageError(
            f"{option}: expected a run that kept its best checkpoint, got one with "
            f"checkpoint.keep_best = false, which may have removed it. {_there(run)}"
        )
    path = best_checkpoint(run.checkpoints)
    if path is None:
        raise UsageError(
            f"{option}: expected a checkpoint with a validation loss, got none: the data have no "
            f"split val, or it is trained on, or none is written yet. {_there(run)}"
        )
    return path


def _there(run: RunFolder) -> str:
    """What can be chosen instead."""
    known = [
        str(one.step)
        + ("" if one.validation is None else f" (validation loss {one.validation:.4g})")
        for one in manifests(run.checkpoints).values()
    ]
    steps = f"steps {', '.join(known)}" if known else "no checkpoints"
    end = f", and {LAST}, the model at the end" if run.model.is_dir() else ""
    return f"There are {steps}{end}"
