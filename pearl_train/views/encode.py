"""A sample as the views that an objective asks for, in tokens.

Pictures are prepared one at a time and shared by the views that show them at one size. A view that
is too long gets smaller pictures, or the sample is dropped; nothing is ever cut off. The root
pictures are fitted to the question with its answer alone, so that every objective trains on the
same I0; what the tools showed is fitted to the view that shows it. A sample that the processor or
the tokenizer refuses is dropped, too. Not here: rows of a batch
(:mod:`pearl_train.views.collate`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from PIL import Image

from pearl_data.formats.chat import (
    Turn,
    answer_turns,
    context_turns,
    media_of,
    target_turns,
    trajectory_turns,
)
from pearl_data.shards import Sample
from pearl_data.trajectory import Trajectory
from pearl_tools.errors import PearlError
from pearl_train.errors import Refused
from pearl_train.views.batch import BranchName, EncodedSample, RegionToken, Span, ViewPlan
from pearl_train.views.encoder import Encoder, Growing, enough
from pearl_train.views.pictures import (
    Prepared,
    content_key,
    open_picture,
    shrunk,
    shrunk_size,
)
from pearl_train.views.prompt import encode_dialogue, encode_prompt, encode_replies, prepare_picture
from pearl_train.views.regions import grid_of, region_boxes, thinned, tokens_under

__all__ = [
    "Dropped",
    "Encoder",
    "encode_dialogue",
    "encode_prompt",
    "encode_replies",
    "encode_sample",
    "prepare_picture",
]

#: How often pictures are made smaller before a sample is given up, and to what part at least of
#: their pixels each time; families round sizes, so that a small step may change nothing.
SHRINKS = 8
SHRINK = 0.7

#: Reason to drop a sample whose root pictures leave no room in a longer view.
NO_ROOM = "no-room-beside-i0"


class Dropped(NamedTuple):
    """A sample that cannot be used as configured, and why; ``reason`` is one of a few words."""

    key: str
    shard: str
    reason: str
    detail: str = ""


class Pictures(Protocol):
    """The pictures of one sample, by medium."""

    def size(self, medium: str) -> tuple[int, int]:
        """(width, height) in pixels."""
        ...

    def prepared(self, medium: str, max_pixels: int | None) -> Prepared:
        """The picture with at most ``max_pixels``, as the processor makes it; raises ``Refused``
        if the processor refuses it.
        """
        ...


def encode_sample(
    sample: Sample, shard: str, plan: ViewPlan, encoder: Encoder
) -> EncodedSample | Dropped:
    """The views of ``sample`` that ``plan`` asks for, or the reason to drop it.

    Raises ``BadInput`` or ``UsageError`` naming the shard and the key if the sample, the
    processor or the template is faulty.
    """
    return encode_with(_Opened(sample, encoder), sample.trajectory, shard, plan, encoder)


def encode_with(
    pictures: Pictures, record: Trajectory, shard: str, plan: ViewPlan, encoder: Encoder
) -> EncodedSample | Dropped:
    """:func:`encode_sample` for a record and its ``pictures``."""
    try:
        return _Encoding(pictures, record, shard, plan, encoder).encode()
    except Refused as refused:
        return Dropped(record.id, shard, refused.reason, str(refused))
    except PearlError as error:
        raise type(error)(f"{shard}, sample {record.id}: {error}") from error


class _Opened:
    """The pictures of ``sample``, each opened once and prepared once at each size."""

    def __init__(self, sample: Sample, encoder: Encoder) -> None:
        self._sample, self._encoder = sample, encoder
        self._opened: dict[str, Image.Image] = {}
        self._prepared: dict[tuple[str, tuple[int, int]], Prepared] = {}

    def size(self, medium: str) -> tuple[int, int]:
        """(width, height) in pixels."""
        if medium not in self._opened:
            self._opened[medium] = open_picture(self._sample, medium)
        return self._opened[medium].size

    def prepared(self, medium: str, max_pixels: int | None) -> Prepared:
        """The picture with at most ``max_pixels`` as the processor makes it."""
        at = medium, shrunk_size(self.size(medium), max_pixels)
        if at not in self._prepared:
            fit = shrunk(self._opened[medium], max_pixels)
            key = content_key(self._sample, medium)
            self._prepared[at] = self._encoder.preparer.prepare(fit, medium, key)
        return self._prepared[at]


class _Fitted(NamedTuple):
    """A view that fits: its ``spans`` and the pictures that they show, by medium."""

    spans: tuple[Span, ...]
    pictures: Mapping[str, Prepared]


class _Encoding:
    """One sample during encoding: the turns of its views, its pictures at the size of each view.

    The question with its answer determines the size of the root pictures, so that I0 is equal for
    all objectives. Other pictures are fitted to the view that shows them.
    """

    def __init__(
        self,
        pictures: Pictures,
        record: Trajectory,
        shard: str,
        plan: ViewPlan,
        encoder: Encoder,
    ) -> None:
        self.pictures, self.trajectory, self.shard = pictures, record, shard
        self.plan, self.encoder = plan, encoder
        self.roots = [medium.id for medium in self.trajectory.media if medium.parent is None]
        data, task = encoder.data, self.trajectory.task
        self.context = context_turns(
            task.question, task.choices, self.roots, system=data.system, answers=data.answers
        )
        self.answer = answer_turns(task, data.answers)
        self.target = self._target_turns() if plan.target else ()
        follows = "trajectory" in plan.branches
        self.steps = trajectory_turns(self.trajectory, data.answers) if follows else ()
        shown = media_of([*self.context, *self.steps, *self.target])
        self.media = list(dict.fromkeys(shown))
        self.numbers = {medium: number for number, medium in enumerate(self.media)}
        enough("pred_tokens", plan.pred_tokens, encoder.tokens.pred)
        enough("pause_tokens", plan.pause_tokens, encoder.tokens.pause)

    def encode(self) -> EncodedSample | Dropped:
        if self.plan.target and not any(turn.role == "assistant" for turn in self.target):
            return self._dropped("empty-target", "no step and no conclusion is left in R")
        question = self._fitted(self.roots, {}, self._question)
        if isinstance(question, Dropped):
            return question
        (context, answer), roots = question
        row, branches = dict(roots), self._short_branches(answer, roots)
        if self.steps:
            later = [medium for medium in media_of(self.steps) if medium not in roots]
            steps = self._fitted(later, roots, lambda shown: (context, self._steps(shown)))
            if isinstance(steps, Dropped):
                return steps
            branches["trajectory"] = steps.spans[1]
            row |= steps.pictures
        target, of_target = None, dict[str, Prepared]()
        if self.plan.target:
            later = [medium for medium in media_of(self.target) if medium not in roots]
            fitted = self._fitted(later, roots, self._target)
            if isinstance(fitted, Dropped):
                return fitted
            target, of_target = fitted.spans[0], dict(fitted.pictures)
        return self._joined(context, branches, target, row, of_target)

    def _joined(
        self,
        context: Span,
        branches: Mapping[BranchName, Span],
        target: Span | None,
        row: Mapping[str, Prepared],
        of_target: Mapping[str, Prepared],
    ) -> EncodedSample:
        """The encoded sample; a picture that R shows at a smaller size is a separate one."""
        region, notes = self._region(row)
        ordered = {name: branches[name] for name in self.plan.branches}
        if self.plan.pred_in_question:
            context, ordered = _with_pred_in_question(context, ordered)
        images = [row[medium].image for medium in self.media if medium in row]
        numbers = {
            medium: number for number, medium in enumerate(m for m in self.media if m in row)
        }
        there = {medium: numbers[medium] for medium in numbers}
        for medium in dict.fromkeys(media_of(self.target)):
            if medium not in row or row[medium].size_px != of_target[medium].size_px:
                there[medium] = len(images)
                images.append(of_target[medium].image)

        def numbered(span: Span, by: Mapping[str, int]) -> Span:
            return replace(span, images=tuple(by[self.media[number]] for number in span.images))

        return EncodedSample(
            key=self.trajectory.id,
            shard=self.shard,
            images=tuple(images),
            context=numbered(context, numbers),
            branches={name: numbered(span, numbers) for name, span in ordered.items()},
            target=target and numbered(target, there),
            region=tuple(region),
            notes=self._changes([*row.values(), *of_target.values()]) + notes,
        )

    def _fitted(
        self,
        media: Sequence[str],
        fixed: Mapping[str, Prepared],
        spans_of: Callable[[Mapping[str, Prepared]], tuple[Span, ...]],
    ) -> _Fitted | Dropped:
        """A view of at most ``data.max_tokens``, with ``media`` shrunk to fit; ``fixed``
        pictures keep their size. ``spans_of`` makes the view from the pictures.
        """
        most, limit = self.encoder.data.max_tokens, self.encoder.shrink_to
        for attempt in range(SHRINKS + 1):
            pictures = {medium: self.pictures.prepared(medium, limit) for medium in media}
            spans = spans_of({**fixed, **pictures})
            length = _length(spans)
            if length <= most:
                return _Fitted(spans, {**fixed, **pictures})
            detail = f"{length} tokens, of {most}"
            if self.encoder.data.too_long == "drop":
                return self._dropped("too-long", detail)
            if attempt == SHRINKS:
                return self._dropped("too-long-at-any-size", detail)
            fits = _pixel_limit(spans, pictures, self.media, most, self.encoder.max_pixels)
            if fits < 1:
                words = length - sum(sum(span.is_image) for span in spans)
                return self._dropped(
                    "text-too-long" if words > most or not fixed else NO_ROOM, detail
                )
            limit = fits if limit is None or not attempt else min(fits, int(limit * SHRINK))
        raise AssertionError("the loop returns")

    def _question(self, pictures: Mapping[str, Prepared]) -> tuple[Span, Span]:
        """The context and the answer that follows it."""
        template = self.encoder.template
        parts = template.parts(self.context, prompt=True)
        context, self.before = self.encoder.span(parts, pictures, self.numbers)
        return context, self._following(self.answer, pictures)

    def _steps(self, pictures: Mapping[str, Prepared]) -> Span:
        return self._following(self.steps, pictures)

    def _following(self, turns: Sequence[Turn], pictures: Mapping[str, Prepared]) -> Span:
        """``turns`` as a continuation of the context."""
        parts = self.encoder.template.parts(turns, after=self.context)
        return self.encoder.span(parts, pictures, self.numbers, self.before)[0]

    def _target(self, pictures: Mapping[str, Prepared]) -> tuple[Span]:
        """R."""
        prompt = self.target[-1].role != "assistant"
        parts = self.encoder.template.parts(self.target, prompt=prompt)
        target, _ = self.encoder.span(parts, pictures, self.numbers)
        return (_with_conclusion(target, stated=self.target[-1].conclusion),)

    def _short_branches(
        self, answer: Span, roots: Mapping[str, Prepared]
    ) -> dict[BranchName, Span]:
        """The branches of ``plan`` that are the answer or tokens of ours."""
        tokens, found = self.encoder.tokens, dict[BranchName, Span]()
        for name in self.plan.branches:
            grown = Growing()
            if name == "pred":
                grown.add(tokens.pred[: self.plan.pred_tokens])
                grown.marks["last-pred"] = len(grown.ids) - 1
            elif name == "answer":
                grown.add(tokens.pause[: self.plan.pause_tokens])
                grown.append(answer)
            elif name == "lvr":
                grown.add([tokens.lvr_start], learn=True)
                grown.marks["latents"] = len(grown.ids)
                grown.add([tokens.lvr] * len(self._region(roots)[0]))
                grown.add([tokens.lvr_end], learn=True)
                grown.append(answer)
            found[name] = grown.done()
        return found

    def _changes(self, pictures: Iterable[Prepared]) -> tuple[str, ...]:
        """The changes to ``pictures`` that made them fit."""
        limit, first = self.encoder.max_pixels, self.encoder.shrink_to
        sizes = [(self.pictures.size(p.image.medium), p.size_px) for p in pictures]
        beyond = limit is not None and any(w * h > limit for (w, h), _ in sizes)
        smaller = any(shown != shrunk_size(whole, first) for whole, shown in sizes)
        return ("max-pixels",) * beyond + ("downscaled",) * smaller

    def _target_turns(self) -> tuple[Turn, ...]:
        data, options = self.encoder.data, self.encoder.objective.target
        turns = target_turns(
            self.trajectory,
            self.roots,
            system=data.system,
            answers=data.answers,
            include_image=options.include_image,
            include_answer=options.include_answer,
            wrong_steps=options.wrong_steps,
        )
        first = next((turn.role for turn in turns if turn.role != "system"), "user")
        if first == "assistant" and not self.encoder.template.takes_assistant_first:
            at = 1 if turns[0].role == "system" else 0
            turns = (*turns[:at], Turn("user", ("",)), *turns[at:])
        return turns

    def _region(
        self, pictures: Mapping[str, Prepared]
    ) -> tuple[list[RegionToken], tuple[str, ...]]:
        """The tokens that latents replace, and True if these are fewer than the region has."""
        if "lvr" not in self.plan.branches:
            return [], ()
        whole = [
            RegionToken(self.numbers[root], token)
            for root, boxes in region_boxes(self.trajectory).items()
            for token in tokens_under(grid_of(self.encoder.processor, pictures[root]), boxes)
        ]
        found = thinned(whole, self.encoder.objective.lvr.max_latents)
        return found, ("latents-thinned",) * (len(found) < len(whole))

    def _dropped(self, reason: str, detail: str) -> Dropped:
        return Dropped(self.trajectory.id, self.shard, reason, detail)


def _with_pred_in_question(
    context: Span, branches: Mapping[BranchName, Span]
) -> tuple[Span, dict[BranchName, Span]]:
    """The question, with [PRED] tokens and what closes its turn behind it as one branch.

    As the release has them: h_hat_R is read where the turn is closed after the [PRED] tokens. No
    other view may see these, so that what follows the question begins every other branch.
    """
    at, end = context.marks["closing"], context.marks["end-of-question"]
    question, rest = _part(context, 0, at), _part(context, at, len(context.ids))
    assert not any(rest.is_image), "pictures stand before what closes the turn"
    moved: dict[BranchName, Span] = {}
    for name, span in branches.items():
        grown = Growing()
        if name == "pred":
            grown.append(span)
            grown.append(_part(context, at, end + 1))
            grown.marks["end-of-question"] = len(grown.ids) - 1
        else:
            grown.append(rest)
            grown.append(span)
        moved[name] = grown.done()
    return question, moved


def _part(span: Span, start: int, end: int) -> Span:
    """Tokens ``start`` to ``end`` of ``span``, which hold all of its pictures or none."""
    shown = span.is_image[start:end]
    return Span(
        ids=span.ids[start:end],
        learn=span.learn[start:end],
        is_image=shown,
        images=span.images if any(shown) else (),
    )


def _with_conclusion(span: Span, *, stated: bool) -> Span:
    """A target without a conclusion is about to state one at its end, one of nothing else at its
    first token.
    """
    if "conclusion" in span.marks:
        return span
    place = 0 if stated else len(span.ids) - 1
    return Span(
        ids=span.ids,
        learn=span.learn,
        is_image=span.is_image,
        images=span.images,
        marks={**span.marks, "conclusion": place},
    )


def _length(view: Sequence[Span]) -> int:
    return sum(len(span.ids) for span in view)


def _pixel_limit(
    view: Sequence[Span],
    pictures: Mapping[str, Prepared],
    media: Sequence[str],
    most: int,
    allowed: int | None,
) -> int:
    """The most pixels of each of ``pictures`` such that ``view`` fits, if tokens are proportional
    to pixels; 0 if no size fits. Other pictures of the view keep their size.

    The processor shrinks every picture to ``allowed`` pixels.
    """
    shown = [
        pictures[media[number]]
        for span in view
        for number in span.images
        if media[number] in pictures
    ]
    room = most - (_length(view) - sum(p.image.tokens for p in shown))
    pixels = [p.size_px[0] * p.size_px[1] for p in shown]
    sizes = [(min(n, allowed or n), p.image.tokens) for n, p in zip(pixels, shown, strict=True)]
    if room < len(shown) or not shown:
        return 0
    low, high = 1, max(pixels for pixels, _ in sizes)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(tokens * min(1.0, middle / pixels) for pixels, tokens in sizes) <= room:
            low = middle
        else:
            high = middle - 1
    return int(low * 0.95)
