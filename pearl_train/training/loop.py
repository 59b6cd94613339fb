"""A whole run: from a configuration and a data set to a folder with a trained model.

:func:`train` builds what there is to train (:mod:`pearl_train.training.assemble`), lets it train
(:mod:`pearl_train.training.session`), and writes what people want afterwards: the model for plain
transformers, the curves, the card. Without the model these are there for a run that stopped, too
(:mod:`pearl_train.training.stopped`).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pearl_tools.errors import UsageError
from pearl_train.errors import CannotWrite, RunInterrupted, writing
from pearl_train.model.manifest import damage
from pearl_train.model.whole import is_whole
from pearl_train.objectives import plan_views
from pearl_train.run.environment import describe
from pearl_train.run.folder import OF_VALIDATION, DataFacts, RunFolder, same_data, write_json
from pearl_train.run.going_on import after_full_disk
from pearl_train.run.result import RunResult
from pearl_train.run.undisturbed import undisturbed
from pearl_train.run.weights_and_biases import wandb_package
from pearl_train.settings.config import Config
from pearl_train.settings.conflicts import refuse_small_passes
from pearl_train.settings.variants import other_choices
from pearl_train.training.assemble import Assembled, assemble
from pearl_train.training.at_checkpoint import backbone_at
from pearl_train.training.checkpoint import newest_whole
from pearl_train.training.processes import accelerator_for, first_process
from pearl_train.training.quiet import no_bars
from pearl_train.training.session import fit
from pearl_train.training.stopped import show, told_if_stopped


def train(
    config: Config,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    progress: bool = True,
    shared_targets: Path | None = None,
    without: Mapping[str, str] | None = None,
) -> RunResult:
    """Train as ``config`` says on the dataset ``data`` and write the run to ``out``.

    ``resume`` continues the run in ``out`` from its newest intact checkpoint, with the ``config``
    and ``data`` of its start, or starts one if there is none. Otherwise ``out`` must be new.
    ``shared_targets`` is where runs share cached targets, unless ``config`` names a folder.
    ``without`` are dropped samples, by key, with the reason; a run that has begun knows its
    own. Several processes stay joined for another call; a script ends with ``processes.leave``.
    Raises ``UsageError``, ``BadInput``, ``RunInterrupted``, ``Diverged`` or ``Collapsed``; a run
    that has begun can then be resumed; if it diverged, the message says what to do instead.
    """
    folder = RunFolder(out)
    plan_views(config.objective)
    accelerator = accelerator_for(config)
    refuse_small_passes(config, accelerator.num_processes)
    if config.log.wandb:
        wandb_package()  # before targets are made, and before there is a folder
    begun = resume and folder.config.is_file()
    if begun:
        _same_choices(folder, config)
        same_data(folder, data)
        without = folder.read_without()
    else:
        first_process(folder.must_be_free)
    opened: list[DataFacts] = []
    main = accelerator.is_main_process
    with told_if_stopped(folder, main=main) as session:
        try:
            made = assemble(
                config,
                data,
                folder,
                accelerator,
                opened=opened.append,
                shared_targets=shared_targets,
                without=without,
            )
        except (RunInterrupted, KeyboardInterrupt):
            if opened and main:  # what the targets were made for, so that it can be resumed
                _begin(folder, config, opened[0], without)
                session.began(_session(accelerator, _reached(folder)))
            raise
        first_process(lambda: _begin(folder, config, made.facts, without))
        session.counts_with(made.left_out.counts)
        try:
            found = fit(
                made.ingredients,
                config,
                folder,
                resume=resume,
                progress=progress,
                accelerator=accelerator,
                began=lambda step: session.began(_session(accelerator, step)),
            )
        except KeyboardInterrupt:  # the last update was already complete
            if _reached(folder) == config.optim.steps:
                session.has_trained()
            raise
        session.has_trained()
        # what a release that kept it in no checkpoint wrote at the end of this run stays told
        left_out = folder.read_data().with_left_out(made.left_out.counts()).left_out
        try:
            first_process(lambda: _finish(folder, config, made, left_out))
        except CannotWrite as error:
            raise CannotWrite(error.what, remedy=after_full_disk(folder, trained=True)) from error
    return msgspec.structs.replace(found, left_out=left_out)


def _begin(
    folder: RunFolder, config: Config, facts: DataFacts, without: Mapping[str, str] | None
) -> None:
    """Write down what is trained on what, if the run did not begin before."""
    if not folder.config.is_file():
        folder.create(config, facts, without)


def _reached(folder: RunFolder) -> int:
    """The step from which the run resumes."""
    last = newest_whole(folder.checkpoints, lambda _: None)
    return last.step if last else 0


def _same_choices(folder: RunFolder, config: Config) -> None:
    if others := other_choices(folder.read_config(), config):
        raise UsageError(
            f"{folder.path}: expected the choices that the run began with (config.toml), got "
            f"another {', '.join(others)}; resume with those, or start a new run"
        )


def _session(accelerator: Any, step: int) -> dict[str, Any]:
    """This session, for ``environment.json``."""
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    processes = accelerator.num_processes
    return {"began": began, "from_step": step, "processes": processes, **describe()}


def _finish(
    folder: RunFolder, config: Config, made: Assembled, left_out: Mapping[str, int]
) -> None:
    """The model, the curves and the card; by the first process."""
    from pearl_train.model.export import export_model

    lost = sum(n for name, n in left_out.items() if name.startswith(f"{OF_VALIDATION}dropped"))
    facts = msgspec.structs.replace(
        folder.read_data(),
        left_out=dict(left_out),
        validation_samples=made.facts.validation_samples - lost,
    )
    with writing(folder.path):
        write_json(folder.data, facts)
    if not is_whole(folder.model) or damage(folder.model):
        shutil.rmtree(folder.model, ignore_errors=True)  # damaged later: it appears whole
        with no_bars():
            export_model(
                _bare_backbone(folder, config, made),
                folder.model,
                config.evaluate.longest_reply(config.objective.name),
            )
    # with the model these are soon done, and without them it has no words
    with undisturbed(), writing(folder.path):
        show(folder)


def _bare_backbone(folder: RunFolder, config: Config, made: Assembled) -> Any:
    """The trained backbone with whole weights: as it is, or, where it is sharded, from the last
    checkpoint.
    """
    backbone = made.trainee.backbone
    if not any(hasattr(p, "full_tensor") for p in backbone.parameters()):
        return backbone
    last = newest_whole(folder.checkpoints, lambda _: None)
    if last is None:
        raise UsageError(f"{folder.checkpoints}: expected a checkpoint to export, got none")
    return backbone_at(last, config)
