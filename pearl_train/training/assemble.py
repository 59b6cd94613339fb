"""A configuration and a data set become what the loop drives: network, batches, targets, panel."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from pearl_data.progress import Progress, stage
from pearl_data.shards import DatasetReader
from pearl_data.shards.reader import Place
from pearl_data.terminal import say
from pearl_tools.errors import BadInput, UsageError
from pearl_train.errors import RunInterrupted
from pearl_train.model.backbone import Backbone
from pearl_train.model.build import build_backbone
from pearl_train.objectives import needs, plan_views
from pearl_train.objectives.pearl import target_plan
from pearl_train.objectives.schedule import moment
from pearl_train.objectives.target_cache import TargetCache, fill, target_identity
from pearl_train.objectives.target_files import shared_folder
from pearl_train.objectives.trainee import Trainee, make_trainee
from pearl_train.run.folder import NOT_COMMON, OF_VALIDATION, DataFacts, RunFolder, data_sha256
from pearl_train.settings.config import Config
from pearl_train.training.collapse import Panel
from pearl_train.training.ingredients import Ingredients, no_targets
from pearl_train.training.interrupt import UpdateAborted, catch_stop_request
from pearl_train.training.loader import TrainingData, numbers_of
from pearl_train.training.processes import first_process, from_all, said_by_first
from pearl_train.views.batch import Batch, ViewPlan
from pearl_train.views.encode import Encoder
from pearl_train.views.left_out import how_to_keep, too_many_refused
from pearl_train.views.tally import TRAINING, Account, Outcome

#: The split whose loss is measured at every checkpoint, and how much of it.
VALIDATION, MOST = "val", 256


@dataclass(frozen=True, kw_only=True)
class Assembled:
    """What a run is made of, and what of it is written down."""

    ingredients: Ingredients
    trainee: Trainee
    facts: DataFacts
    left_out: Account


def assemble(
    config: Config,
    data: Path,
    folder: RunFolder,
    accelerator: Any,
    *,
    opened: Callable[[DataFacts], None] | None = None,
    shared_targets: Path | None = None,
    without: Mapping[str, str] | None = None,
) -> Assembled:
    """Open the data and build the model; nothing is trained yet.

    Cached targets are computed in ``folder`` if the objective needs them, which may take long:
    ``opened`` is called before. ``shared_targets`` is where runs share them if ``config`` names no
    folder. ``without``: as for :func:`pearl_train.training.loop.train`. Raises ``UsageError`` and
    ``BadInput`` naming what does not fit together, and ``RunInterrupted`` once the targets made
    so far are written.
    """
    plan = plan_views(config.objective)
    stage("run", f"opening {data}")
    sha256 = data_sha256(data)
    reader = DatasetReader(data, allow_unfinished=config.data.allow_unfinished)
    numbers_of(reader, config.data.split)  # before minutes are spent on a large model
    stage("run", f"loading the model {config.model.id}")
    backbone = build_trained(config)
    encoder = Encoder(
        backbone.processor,
        backbone.tokens,
        data=config.data,
        objective=config.objective,
        max_pixels=config.model.max_pixels,
        model=config.model.id,
    )
    samples = partial(_samples, config, reader, encoder, accelerator)
    apart = frozenset(without or ())
    train = samples(plan, config.data.split, without=apart)
    measured = validation_plan(config, reader)
    validation = samples(measured, VALIDATION) if measured else None
    trainee = make_trainee(backbone, config)
    facts = DataFacts(
        path=str(data.resolve()),
        manifest_sha256=sha256,
        split=config.data.split,
        samples=len(train),
        validation_samples=min(len(validation), MOST) if validation else 0,
        left_out={NOT_COMMON: len(apart)} if apart else {},
    )
    if opened:
        opened(facts)
    cached: Callable[[Batch], Any] = no_targets
    if "cache" in needs(config.objective):
        whole = samples(target_plan(config.objective), config.data.split, without=apart)
        cached = _cached_targets(
            config, backbone, whole, folder, accelerator, shared_targets, apart
        )
        train.samples.beforehand = _without_target(cached, whole, accelerator)
    tallies = {TRAINING: train.tally}
    tallies |= {OF_VALIDATION: validation.tally} if validation else {}
    left_out = Account(tallies, samples=len(train), data=config.data)
    ingredients = Ingredients(
        trainee=trainee,
        batches=partial(_until, train, config.optim.steps),
        moment=partial(moment, config),
        targets=cached,
        after_update=trainee.after_update,
        panel=Panel(config.objective),
        validation=partial(validation.once, most=MOST) if validation else None,
        left_out=left_out,
        beside_checkpoint=partial(_save_processor, backbone),
    )
    return Assembled(ingredients=ingredients, trainee=trainee, facts=facts, left_out=left_out)


def build_trained(config: Config) -> Backbone:
    """The network with all tokens that any objective may ask for: controls differ in none."""
    return build_backbone(
        config.model,
        train_pred=config.objective.pred == "trained",
        by_length=config.parallel != "fsdp2",
        seed=config.seed,
    )


def _samples(
    config: Config,
    reader: DatasetReader,
    encoder: Encoder,
    accelerator: Any,
    plan: ViewPlan,
    split: str,
    *,
    without: Collection[str] = (),
) -> TrainingData:
    return TrainingData(
        reader,
        plan,
        encoder,
        split=split,
        seed=config.seed,
        batch=config.optim.batch,
        micro_batch=config.optim.micro_batch,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        workers=config.data.workers,
        without=without,
    )


def _until(train: TrainingData, steps: int, start: int) -> Iterator[Sequence[Batch]]:
    return train.batches(start, steps)


def validation_plan(config: Config, reader: DatasetReader) -> ViewPlan | None:
    """The views in which the validation split is read, those of the control (lambda 0, so no target
    is made); none where there is no such split or it is trained on.
    """
    if config.data.split == VALIDATION or not _has(reader.places, VALIDATION):
        return None
    return plan_views(msgspec.structs.replace(config.objective, weight=0.0))


def _has(places: Sequence[Place], split: str) -> bool:
    return any(place.line.split == split for place in places)


def _cached_targets(
    config: Config,
    backbone: Backbone,
    whole: TrainingData,
    folder: RunFolder,
    accelerator: Any,
    shared: Path | None,
    apart: Collection[str],
) -> TargetCache:
    """All targets of the samples of ``whole``, computed now where they are not there yet."""
    keys = _numbers_by_key(whole)
    identity = target_identity(backbone, config)
    if named := config.objective.target.cache:
        shared = Path(named).expanduser()
    if shared is not None:  # only those that this run would make itself, to the last bit
        device, size = accelerator.device.type, config.optim.micro_batch
        made_by = {"identity": identity.sha256, "device": device, "micro_batch": size}
        if apart:  # what shares a batch with a sample may change its last bits
            made_by["without"] = sorted(apart)
        shared = shared_folder(shared, made_by)
    cache = TargetCache(folder.targets, identity, _record_hashes(whole), shared=shared)
    first_process(lambda: cache.borrow(keys))
    accelerator.wait_for_everyone()
    cache.refresh()
    # one list for all: another process may have written files since
    lacking = set(said_by_first(accelerator, cache.missing(keys)))
    if lacking:
        backbone.to(accelerator.device)
        with ExitStack() as stack:
            bar = Progress("targets", len(lacking), "samples")
            if accelerator.is_main_process:
                stack.enter_context(bar)
            stop_request = stack.enter_context(catch_stop_request())

            def tell(done: int) -> None:
                if accelerator.is_main_process:
                    most = min(done * accelerator.num_processes, len(lacking))
                    bar.advance(most - bar.done)
                if any(from_all(accelerator, stop_request.stop)):
                    there = len(keys) - len(lacking) + sum(from_all(accelerator, done))
                    raise _interrupted(there, len(keys), folder)

            wanted = {keys[key] for key in lacking}
            batches = (batch for some in whole.once(wanted=wanted) for batch in some)
            try:
                with stop_request.abortable(allowed=accelerator.num_processes == 1):
                    fill(cache, backbone, batches, config, tally=whole.tally, tell=tell)
            except UpdateAborted:
                raise _interrupted(
                    len(keys) - len(cache.missing(keys)), len(keys), folder
                ) from None
        accelerator.wait_for_everyone()
        cache.refresh()
    return cache


def _without_target(
    cache: TargetCache, whole: TrainingData, accelerator: Any
) -> Mapping[str, Outcome]:
    """The changes of samples when their targets were computed, in this or an earlier run; raises
    ``UsageError`` if none has a target, ``BadInput`` if the model refuses too many.
    """
    found = cache.outcomes(_numbers_by_key(whole))
    dropped: dict[str, dict[str, str]] = {}
    for key, outcome in found.items():
        dropped.setdefault(outcome.reason, {})[key] = outcome.detail
    if wrong := too_many_refused(dropped, len(whole), whole.samples.encoder.data):
        raise BadInput(wrong)
    reasons = Counter(outcome.reason for outcome in found.values() if outcome.reason)
    told = ", ".join(f"{reason}: {number}" for reason, number in sorted(reasons.items()))
    if reasons.total() == len(whole):
        raise UsageError(
            f"expected samples with a target, got {len(whole)}, all of them dropped: {told}; "
            f"{how_to_keep(reasons, whole.samples.encoder.data)}"
        )
    if reasons and accelerator.is_main_process:
        say(
            f"{reasons.total()} of {len(whole)} samples have no target and are dropped: {told}",
            err=True,
        )
    return found


def _numbers_by_key(data: TrainingData) -> dict[str, int]:
    places = data.samples.reader.places
    return {places[number].line.key: number for number in data.numbers}


def _interrupted(there: int, wanted: int, folder: RunFolder) -> RunInterrupted:
    made = f"{there} of {wanted} targets"
    return RunInterrupted(
        f"interrupted before the first step; {made} are made and kept in {folder.targets}. Resume "
        f"with: pearl-train run --resume {folder.path}",
        during=f"while targets were made: {made} are kept",
    )


def _record_hashes(data: TrainingData) -> dict[str, str]:
    """The sha256 of each sample's record, from the index or, for a bare tar, from its bytes."""
    reader = data.samples.reader
    found = {}
    for number in data.numbers:
        line = reader.places[number].line
        known = next((slot.sha256 for slot in line.members if slot.name == "json"), None)
        if known is None:
            record = msgspec.json.encode(reader[number].trajectory)
            known = hashlib.sha256(record).hexdigest()
        found[line.key] = known
    return found


def _save_processor(backbone: Backbone, folder: Path) -> None:
    backbone.processor.save_pretrained(folder / "processor")
