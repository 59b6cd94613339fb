"""Objectives side by side: the same data in the same order, the same seed, the same questions.

Each is trained into a folder of its own, then asked all held-out questions; beside them stands the
model before training. Every row has its count, interval and exact paired test against ``sft``;
above them stand what chance gives and what a rule without eyes gives. Finished runs and answered
questions are kept, so an interrupted comparison resumes, and objectives can be added later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from pearl_data.formats.chat import ANSWER_PREFIX
from pearl_data.shards import DatasetReader
from pearl_tools.errors import UsageError
from pearl_tools.types import Record
from pearl_train.asking.answering import Answerer
from pearl_train.asking.evaluate import Evaluation, Task, ToolUse, evaluate
from pearl_train.asking.item_lines import ITEMS, ItemLine, read_lines
from pearl_train.asking.questions import places
from pearl_train.asking.statistics import Paired, paired
from pearl_train.asking.trained import Place, find, open_answerer, weights_sha256
from pearl_train.comparing.blind_rule import BlindRule, most_frequent
from pearl_train.comparing.common import Common, agreed, common_samples, must_leave_some
from pearl_train.comparing.examine import executor_of, header_of
from pearl_train.comparing.held_out import SHARE, HeldOut, hold_out, sides_sha256
from pearl_train.comparing.latents import LatentDiagnosis, diagnosis, look
from pearl_train.comparing.training_cost import Training, training_cost
from pearl_train.errors import Diverged
from pearl_train.model.whole import is_whole
from pearl_train.objectives import plan_views
from pearl_train.report.card import write_card
from pearl_train.run.folder import RunFolder, same_data, write_json
from pearl_train.settings.config import OBJECTIVES, Config
from pearl_train.settings.load import load_config
from pearl_train.settings.variants import Variant, other_choices
from pearl_train.views.encode import Encoder

Samples = Literal["common", "each"]

BASE = "base"
REFERENCE = "sft"
RESULT, PAGE, PICTURE = "comparison.json", "comparison.html", "accuracy.png"
TARGETS = "targets"
"""Folder of the cached targets that rows share: each is made once."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Options of a comparison.

    ``configs``, ``sets`` and ``flags`` make the configuration that all share, as for ``run``;
    ``variants`` what differs. ``test``, ``share``: as for
    :func:`pearl_train.comparing.held_out.hold_out`. ``samples``: all rows train on those that every
    row can use (``common``), or each on all it can use (``each``).
    """

    data: Path
    out: Path
    variants: Sequence[Variant]
    configs: Sequence[str] = ()
    sets: Sequence[str] = ()
    flags: Mapping[str, Any] = field(default_factory=dict)
    test: Path | None = None
    share: float = SHARE
    device: str | None = None
    samples: Samples = "common"


class Row(Record, frozen=True, kw_only=True):
    """One model's results. ``against`` is the paired test against the reference row; ``folder``,
    below that of the comparison, holds a line for every question. ``asked`` is the start of its
    answers; ``otherwise``: it differs from training.
    """

    name: str
    result: Evaluation
    against: Paired | None
    training: Training | None
    folder: str
    asked: str = ""
    otherwise: bool = False

    @property
    def tools(self) -> ToolUse | None:
        """Calls made at test time, if it may make any."""
        return self.result.tools


class Comparison(Record, frozen=True, kw_only=True):
    """The data of the table and the page. ``train_samples`` of ``train_of`` are trained
    on, or fewer by each row with ``samples`` "each"; ``cannot_take`` counts what each row cannot.
    """

    data: str
    test: str
    how: str
    train_samples: int
    train_of: int = 0
    samples: Samples = "common"
    cannot_take: dict[str, int] = {}
    test_questions: int
    shared_pictures: int
    seed: int
    model: str
    steps: int
    chance: float
    most_frequent: BlindRule
    reference: str
    rows: list[Row]
    latents: LatentDiagnosis | None
    sides_sha256: str


def compare(request: Request) -> Comparison:
    """Train and examine every variant; writes ``comparison.json``, a page and a picture to ``out``.

    Raises ``UsageError`` where train and test share a question, or ``out`` holds another
    comparison.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageError(
            "compare: expected one process, got several; train each objective with torchrun "
            "pearl-train run, into OUT/runs/NAME, then compare keeps what is finished there"
        )
    configs = [configured(request, variant) for variant in request.variants]
    shared = configs[0]
    held = hold_out(
        request.data,
        shared.data.split,
        request.out,
        test=request.test,
        test_split=shared.evaluate.split,
        seed=shared.seed,
        share=request.share,
        allow_unfinished=shared.data.allow_unfinished,
    )
    session = _Session(request, held)
    for variant, config in zip(request.variants, configs, strict=True):
        session.must_fit(variant.name, config)
    named = {v.name: config for v, config in zip(request.variants, configs, strict=True)}
    rows = [session.base(shared, named)]
    for variant, config in zip(request.variants, configs, strict=True):
        rows.append(session.row(variant.name, config))
    found = session.conclude(shared, rows)
    write_json(request.out / RESULT, found)
    from pearl_train.report.comparison import write_page

    write_page(found, request.out / PAGE, request.out / PICTURE)
    return found


def configured(request: Request, variant: Variant) -> Config:
    """The configuration of one variant: what all share, then what it changes.

    What is shared may be meant for rows that are finished, or still to be added.
    """
    return load_config(
        request.configs,
        request.sets,
        {**request.flags, "objective.name": None},
        row=variant.sets,
        among=OBJECTIVES,
    )


class _Subject(NamedTuple):
    """A model under examination; what it says lies below ``folder``."""

    name: str
    weights: str
    model: Answerer
    folder: Path


class _Asked(NamedTuple):
    """What a model said, question by question, and where that lies."""

    result: Evaluation
    lines: list[ItemLine]
    folder: Path


class _Session:
    """One comparison being carried out."""

    def __init__(self, request: Request, held: HeldOut) -> None:
        self.request, self.held = request, held
        self.lines: dict[str, list[ItemLine]] = {}
        self.diagnosis: LatentDiagnosis | None = None
        self.common = Common(samples=len(held.train.samples))

    def base(self, config: Config, rows: Mapping[str, Config]) -> Row:
        """Evaluate the model before training; first settle the samples that ``rows`` train on."""
        # in the dtype of the trained rows
        model = msgspec.structs.replace(config.model, lora=None, dtype="float32")
        objective = msgspec.structs.replace(config.objective, name="sft", pause_tokens=0)
        plain = msgspec.structs.replace(config, model=model, objective=objective)
        place = Place(BASE, plain, None, trained=False)
        folder = self.request.out / BASE
        return self._examined(BASE, place, folder, None, lambda one: self._agree(rows, one.encoder))

    def _agree(self, rows: Mapping[str, Config], encoder: Encoder) -> None:
        """Settle the samples that all rows train on; ``UsageError`` if a run uses others."""
        split = next(iter(rows.values())).data.split
        path, out = self.held.train.path, self.request.out
        found = common_samples(path, split, rows, encoder, out)
        wanted: Mapping[str, str] = {}
        if self.request.samples == "common":
            must_leave_some(found, next(iter(rows.values())).data)
            wanted = found.without
        without = agreed(wanted, [self._run(name) for name in rows])
        self.common = msgspec.structs.replace(found, without=without)

    def row(self, name: str, config: Config) -> Row:
        """One variant: trained if it is not yet, then examined."""
        folder = self._run(name)
        training = self._trained(config, folder)
        place = find(str(folder.path))
        decoding = msgspec.structs.replace(place.config, evaluate=config.evaluate)
        place = place._replace(config=decoding)
        row = self._examined(name, place, folder.path / "eval", training)
        write_card(folder)
        return row

    def must_fit(self, name: str, config: Config) -> None:
        """Raises ``UsageError`` where a run of other choices or data lies in this one's place."""
        folder = self._run(name)
        if not folder.config.is_file():
            return
        # how answers are decoded may change afterwards: training knows nothing of it
        changed = other_choices(folder.read_config(), config)
        if trained := [key for key in changed if not key.startswith("evaluate.")]:
            raise UsageError(
                f"{folder.path}: expected a run with the same choices, got one that differs in "
                f"{', '.join(trained)}; name another --out"
            )
        same_data(folder, self.held.train.path)

    def _run(self, name: str) -> RunFolder:
        return RunFolder(self.request.out / "runs" / name)

    def _trained(self, config: Config, folder: RunFolder) -> Training:
        from pearl_train.training.loop import train

        begun = folder.config.is_file()
        if not is_whole(folder.model):
            known = folder.read_config() if begun else config
            try:
                train(
                    known,
                    self.held.train.path,
                    folder.path,
                    resume=begun,
                    shared_targets=self.request.out / TARGETS,
                    without=self.common.without,
                )
            except Diverged as error:
                raise Diverged(error.what, remedy=_lower(known)) from error
        return training_cost(folder, config)

    def _examined(
        self,
        name: str,
        place: Place,
        folder: Path,
        training: Training | None,
        opened: Callable[[Answerer], None] = lambda _: None,
    ) -> Row:
        weights = weights_sha256(place)
        # as hold_out has read it
        with DatasetReader(self.held.test.path, allow_unfinished=True) as reader:
            model = open_answerer(place, executor=executor_of(reader), device=self.request.device)
            opened(model)
            subject = _Subject(name, weights, model, folder)
            asked = self._asked(subject, reader)
            self.lines[name] = asked.lines
            if model.mode == "lvr" and self.diagnosis is None:
                self.diagnosis = self._diagnosed(subject, reader)
        return Row(
            name=name,
            result=asked.result,
            against=None,
            training=training,
            folder=str(asked.folder.relative_to(self.request.out)),
            asked=_asked_how(model),
            otherwise=place.trained and model.mode != "tools" and writes_calls(place.config),
        )

    def _asked(self, subject: _Subject, reader: DatasetReader) -> _Asked:
        side, model = self.held.test, subject.model
        header = header_of(subject.name, subject.weights, side.path, side.split, model)
        folder = subject.folder / header.digest
        result = evaluate(model, Task(header, reader, model.config.data.answers), folder)
        return _Asked(result, read_lines(folder / ITEMS)[1], folder)

    def _diagnosed(self, subject: _Subject, reader: DatasetReader) -> LatentDiagnosis:
        dummies = subject._replace(model=replace(subject.model, latents="dummies"))
        blank = self._asked(dummies, reader)
        against = paired(_verdicts(blank.lines), _verdicts(self.lines[subject.name]))
        looked = look(subject.model, reader, places(reader, self.held.test.split))
        return diagnosis(looked, subject.model, blank.result.overall.accuracy, against)

    def conclude(self, config: Config, rows: list[Row]) -> Comparison:
        """The rows paired with the reference, and what stands beside them."""
        names = [row.name for row in rows if row.name != BASE]
        reference = REFERENCE if REFERENCE in names else names[0]
        right = _verdicts(self.lines[reference])
        tested = [
            row
            if row.name == reference
            else msgspec.structs.replace(
                row, against=paired(_verdicts(self.lines[row.name]), right)
            )
            for row in rows
        ]
        held = self.held
        return Comparison(
            data=str(self.request.data),
            test=str(held.test.path),
            how=held.how,
            train_samples=self.common.kept,
            train_of=self.common.samples,
            samples=self.request.samples,
            cannot_take=self.common.by_row,
            test_questions=len(held.test.samples),
            shared_pictures=held.shared_pictures,
            seed=config.seed,
            model=config.model.id,
            steps=config.optim.steps,
            chance=rows[0].result.overall.chance,
            most_frequent=most_frequent(
                [one for one in held.train.samples if one.key not in self.common.without],
                held.test.samples,
            ),
            reference=reference,
            rows=tested,
            latents=self.diagnosis,
            sides_sha256=sides_sha256(held),
        )


def _asked_how(model: Answerer) -> str:
    """The start of the answers of ``model``, in a few words."""
    objective = model.config.objective
    thinking = {
        "pause": f"{objective.pause_tokens} pause tokens, ",
        "lvr": f"{objective.lvr.latents} latents, ",
    }
    if model.mode == "tools":
        return "its own turns, with tools"
    return f"{thinking.get(model.mode, '')}{ANSWER_PREFIX}"


def writes_calls(config: Config) -> bool:
    """True if training by ``config`` teaches answers that begin with thoughts and calls only."""
    return "answer" not in plan_views(config.objective).branches and config.objective.name != "lvr"


def _lower(config: Config) -> str:
    """What to do where training diverged: all rows share what is to be changed."""
    return (
        "The same comparison comes to the same point: compare anew with a lower optim.lr and "
        f"another --out, such as --set optim.lr={config.optim.lr / 10:g} --out OTHER"
    )


def _verdicts(lines: Sequence[ItemLine]) -> list[bool]:
    return [line.correct for line in lines]
