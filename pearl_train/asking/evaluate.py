"""Evaluation of a model: accuracy by task family with intervals, latency, tokens, tool errors.

Every question is asked alone, in the order of the data set, and its line is in ``items.jsonl``
before the next one is asked, so an interrupted evaluation resumes there. Replies and
verdicts are the same each time; latencies are not. Not here: how an answer is decoded
(:mod:`pearl_train.asking.answering`) and what a right one is (:mod:`pearl_train.asking.scoring`).

Latency is the time from opened pictures to the decoded reply: preparing the pictures, all passes of
the network, and running the tools if any; not reading the shard. The first question is
asked once beforehand as a warm-up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from pearl_data.progress import Progress
from pearl_data.shards import DatasetReader
from pearl_tools.errors import BadInput
from pearl_tools.types import Record
from pearl_train.asking.item_lines import Header, ItemLine, open_store
from pearl_train.asking.likelihood import ChoiceLikelihood, likeliest
from pearl_train.asking.questions import Item, Question, item_of, places
from pearl_train.asking.scoring import AnswerForm, judge, plain_words
from pearl_train.asking.statistics import Rate, quantile, rate
from pearl_train.errors import Refused

SCORES = "scores.json"
UNANSWERED = "no answer within the turns"
UNANSWERABLE = "not answerable: the model refuses the pictures or words; counted as wrong"


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A model's reply to one question.

    ``tokens`` counts those generated, over all turns; ``thought_tokens`` pause tokens and latents
    before the answer. ``tools`` and ``errors`` count calls by tool and by ``stage.code``.
    ``opening`` is the prefilled start of the reply, such as ``Answer:``; a reply is judged
    together with it. ``likelihoods`` are those of the choices,
    if there are any and the model answered; ``latency_s`` excludes them. ``refused`` is the reason
    why this model cannot be asked the question, else empty.
    """

    reply: str
    tokens: int
    latency_s: float
    ended: bool = True
    thought_tokens: int = 0
    turns: int = 1
    tools: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    opening: str = ""
    likelihoods: tuple[ChoiceLikelihood, ...] = ()
    refused: str = ""


class Answers(Protocol):
    """A model that can be asked."""

    def answer(self, question: Question) -> Answered:
        """The reply to ``question``, deterministic; raises ``Refused`` if it cannot be asked."""
        ...


class Score(Record, frozen=True, kw_only=True):
    """Verdicts on some questions. ``chance`` is the mean of 1/choices, 0 for open questions;
    ``by_likelihood`` counts questions whose likeliest choice is right, among the questions whose
    choices were ranked (None without any); a question without an answer counts as wrong.
    ``unanswerable`` are in ``n`` and wrong: the model refuses the picture or the words.
    """

    family: str
    accuracy: Rate
    lenient: Rate
    unparsed: int
    chance: float
    by_likelihood: Rate | None = None
    unanswerable: int = 0


class ToolUse(Record, frozen=True, kw_only=True):
    """Calls made at test time: by tool, failed ones by ``stage.code``, questions never answered.

    ``error_share`` counts failed calls of all calls; turns with neither call nor answer are in
    ``by_code`` as ``parse.no_call`` and no calls.
    """

    calls: dict[str, int]
    by_code: dict[str, int]
    error_share: Rate
    turns_mean: float
    unanswered: int


class Evaluation(Record, frozen=True, kw_only=True):
    """The scores of one model on one data set; ``trained_on``: it was trained on these questions,
    according to its run. ``checkpoint``: the step of the run that the weights come from,
    None for its end and for other models. ``unanswerable`` names the questions that the
    model refuses, with the reason.
    """

    model: str
    data: str
    split: str | None
    mode: str
    overall: Score
    families: list[Score]
    latency_ms_median: float | None
    latency_ms_p90: float | None
    tokens_mean: float
    thought_tokens_mean: float
    tools: ToolUse | None
    notes: dict[str, int] = {}
    trained_on: bool = False
    checkpoint: int | None = None
    unanswerable: dict[str, str] = {}


class Task(NamedTuple):
    """What is to be evaluated: the header, the samples, how answers are to be written."""

    header: Header
    reader: DatasetReader
    form: AnswerForm = "text"
    limit: int | None = None
    """Only the first so many questions."""
    trained_on: bool = False
    """The model learned these questions."""
    checkpoint: int | None = None
    """The step of the run at which the weights are those."""


def evaluate(model: Answers, task: Task, folder: Path | None = None) -> Evaluation:
    """Ask ``model`` every question of ``task``; lines and scores go to ``folder``, if given.

    A question that the model refuses is counted as wrong and named. Raises ``BadInput`` for samples
    that cannot be read, naming shard and key, and if the model refuses every question.
    """
    lines = list(_lines(model, task, folder))
    if lines and all(line.refused for line in lines):
        raise BadInput(
            f"expected questions that {task.header.model} can handle, got {len(lines)} that it "
            f"refuses, {lines[0].key} for one: {lines[0].refused}"
        )
    found = msgspec.structs.replace(
        summarise(task.header, lines), trained_on=task.trained_on, checkpoint=task.checkpoint
    )
    if folder is not None:
        from pearl_train.run.folder import write_json

        write_json(folder / SCORES, found)
    return found


def _lines(model: Answers, task: Task, folder: Path | None) -> Iterator[ItemLine]:
    chosen = places(task.reader, task.header.split)[: task.limit]
    with open_store(folder, task.header) as store:
        done = store.lines[: len(chosen)]
        yield from done
        todo = chosen[len(done) :]
        label = f"eval {task.header.mode}"
        with Progress(label, len(chosen), "questions", done=len(done)) as progress:
            for count, number in enumerate(todo):
                item = item_of(task.reader[number], task.reader.places[number].shard)
                if count == 0:
                    _asked(model, item.question)  # warm-up
                line = line_of(item, _asked(model, item.question), task.form)
                store.append(line)
                yield line
                progress.advance()


def _asked(model: Answers, question: Question) -> Answered:
    """The reply, or the reason why there is none."""
    try:
        return model.answer(question)
    except Refused as refused:
        notes = (UNANSWERABLE,)
        return Answered(
            reply="", tokens=0, latency_s=0, ended=False, turns=0, notes=notes, refused=str(refused)
        )


def line_of(item: Item, answered: Answered, form: AnswerForm) -> ItemLine:
    """The line of one question."""
    verdict = judge(answered.opening + answered.reply, item.expected, form)
    ranked = likeliest(answered.likelihoods)
    return ItemLine(
        key=item.question.key,
        family=item.family,
        identity=item.identity,
        answer=item.expected.answer,
        choices=len(item.expected.choices),
        reply=answered.reply,
        stated=verdict.stated,
        correct=verdict.correct and not answered.refused,
        lenient=verdict.lenient and not answered.refused,
        ended=answered.ended,
        latency_ms=round(1000 * answered.latency_s, 3),
        tokens=answered.tokens,
        thought_tokens=answered.thought_tokens,
        turns=answered.turns,
        tools=dict(answered.tools),
        errors=dict(answered.errors),
        notes=list(answered.notes),
        likeliest=ranked,
        likeliest_correct=_likeliest_is_right(ranked, answered, item),
        log_likelihoods=[one.per_token for one in answered.likelihoods],
        refused=answered.refused,
    )


def _likeliest_is_right(ranked: str | None, answered: Answered, item: Item) -> bool | None:
    """Whether the likeliest choice is the right one; None where nobody ranked them."""
    if ranked is not None:
        return plain_words(ranked) == plain_words(item.expected.answer)
    silent = answered.refused or UNANSWERED in answered.notes
    return False if silent and item.expected.choices else None


def summarise(header: Header, lines: Sequence[ItemLine]) -> Evaluation:
    """The scores that follow from ``lines``."""
    families = sorted({line.family for line in lines})
    answered = [line for line in lines if not line.refused]
    latencies = [line.latency_ms for line in answered]
    notes = Counter(note for line in lines for note in line.notes)
    return Evaluation(
        model=header.model,
        data=header.data,
        split=header.split,
        mode=header.mode,
        overall=score("all", lines),
        families=[score(name, [x for x in lines if x.family == name]) for name in families],
        latency_ms_median=quantile(latencies, 0.5),
        latency_ms_p90=quantile(latencies, 0.9),
        tokens_mean=_mean([line.tokens for line in answered]),
        thought_tokens_mean=_mean([line.thought_tokens for line in answered]),
        tools=_tool_use(answered) if header.mode == "tools" else None,
        notes=dict(sorted(notes.items())),
        unanswerable={line.key: line.refused for line in lines if line.refused},
    )


def score(family: str, lines: Sequence[ItemLine]) -> Score:
    """The verdicts of some lines, counted."""
    n = len(lines)
    ranked = [line.likeliest_correct for line in lines if line.likeliest_correct is not None]
    return Score(
        family=family,
        accuracy=rate(sum(line.correct for line in lines), n),
        lenient=rate(sum(line.lenient for line in lines), n),
        unparsed=sum(line.stated is None and not line.refused for line in lines),
        chance=_mean([1 / line.choices if line.choices else 0 for line in lines]),
        by_likelihood=rate(sum(ranked), len(ranked)) if ranked else None,
        unanswerable=sum(bool(line.refused) for line in lines),
    )


def _tool_use(lines: Sequence[ItemLine]) -> ToolUse:
    tools: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for line in lines:
        tools.update(line.tools)
        errors.update(line.errors)
    failed = sum(count for code, count in errors.items() if code != "parse.no_call")
    return ToolUse(
        calls=dict(sorted(tools.items())),
        by_code=dict(sorted(errors.items())),
        error_share=rate(failed, sum(tools.values())),
        turns_mean=_mean([line.turns for line in lines]),
        unanswered=sum(UNANSWERED in line.notes for line in lines),
    )


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0
