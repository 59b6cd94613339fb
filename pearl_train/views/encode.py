"""A sample as the views that an objective asks for, in tokens.

Pictures are prepared one at a time and shared by all views. A row that is too long gets smaller
pictures or is dropped; nothing is ever cut off.
Left out: rows of a batch (:mod:`pearl_train.views.collate`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pearl_data.shards import Sample
from pearl_data.trajectory import Trajectory
from pearl_tools.errors import PearlError
from pearl_train.views.batch import BranchName, EncodedSample, RegionToken, Span, ViewPlan
from pearl_train.views.chat import (
    Turn,
    answer_turns,
    context_turns,
    media_of,
    target_turns,
    trajectory_turns,
)
from pearl_train.views.encoder import Encoder, Growing, enough
from pearl_train.views.pictures import Prepared, content_key, open_picture, shrunk
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


class Dropped(NamedTuple):
    """A sample that cannot be used as configured, and why; ``reason`` is one of a few words."""

    key: str
    shard: str
    reason: str
    detail: str = ""


def encode_sample(
    sample: Sample, shard: str, plan: ViewPlan, encoder: Encoder
) -> EncodedSample | Dropped:
    """The views of ``sample`` that ``plan`` asks for, or why it is left out.

    Raises ``BadInput`` or ``UsageError`` naming the shard and the key where the sample, the
    processor or the template is faulty.
    """
    try:
        return _Encoding(sample, shard, plan, encoder).encode()
    except PearlError as error:
        raise type(error)(f"{shard}, sample {sample.trajectory.id}: {error}") from error


class _Encoding:
    """One sample on its way: the turns of its views, its pictures at a size, its spans."""

    def __init__(self, sample: Sample, shard: str, plan: ViewPlan, encoder: Encoder) -> None:
        self.sample, self.shard, self.plan, self.encoder = sample, shard, plan, encoder
        self.trajectory: Trajectory = sample.trajectory
        self.roots = [medium.id for medium in self.trajectory.media if medium.parent is None]
        data, task = encoder.data, self.trajectory.task
        self.context = context_turns(
            task.question, task.choices, self.roots, system=data.system, answers=data.answers
        )
        self.target = self._target_turns() if plan.target else ()
        self.after: dict[BranchName, tuple[Turn, ...]] = {}
        for name in plan.branches:
            self.after[name] = self._branch_turns(name)
        shown = [*media_of(self.context), *media_of(t for ts in self.after.values() for t in ts)]
        self.media = list(dict.fromkeys([*shown, *media_of(self.target)]))
        self.numbers = {medium: number for number, medium in enumerate(self.media)}

    def encode(self) -> EncodedSample | Dropped:
        if self.plan.target and not any(turn.role == "assistant" for turn in self.target):
            return self._dropped("empty-target", "no step and no conclusion is left in R")
        opened = {medium: open_picture(self.sample, medium) for medium in self.media}
        limit, notes = self.encoder.shrink_to, list[str]()
        allowed = self.encoder.max_pixels
        if allowed is not None and any(p.width * p.height > allowed for p in opened.values()):
            notes.append("max-pixels")
        pictures: dict[str, Prepared] = {}
        for attempt in range(SHRINKS + 1):
            for medium, picture in opened.items():
                fit = shrunk(picture, limit)
                if medium not in pictures or fit.size != pictures[medium].size_px:
                    key = content_key(self.sample, medium)
                    pictures[medium] = self.encoder.preparer.prepare(fit, medium, key)
            encoded = self._with(pictures, tuple(notes))
            rows = _rows(encoded)
            excess = max(_length(row) for row in rows)
            most = self.encoder.data.max_tokens
            if excess <= most:
                return encoded
            detail = f"{excess} tokens, of {most}"
            if self.encoder.data.too_long == "drop":
                return self._dropped("too-long", detail)
            if attempt == SHRINKS:
                return self._dropped("too-long-at-any-size", detail)
            caps = [_pixel_limit(row, pictures, self.media, most, allowed) for row in rows]
            fits = min(cap for cap in caps if cap is not None)
            if fits < 1:
                return self._dropped("text-too-long", detail)
            limit = fits if limit is None or not attempt else min(fits, int(limit * SHRINK))
            if "downscaled" not in notes:
                notes.append("downscaled")
        raise AssertionError("the loop returns")

    def _with(self, pictures: Mapping[str, Prepared], notes: tuple[str, ...]) -> EncodedSample:
        encoder, template = self.encoder, self.encoder.template
        parts = template.parts(self.context, prompt=True)
        context, before = encoder.span(parts, pictures, self.numbers)
        region: tuple[RegionToken, ...] = ()
        if "lvr" in self.plan.branches:
            whole = self._region(pictures)
            region = tuple(thinned(whole, encoder.objective.lvr.max_latents))
            notes = (*notes, *["latents-thinned"] * (len(region) < len(whole)))
        branches: dict[BranchName, Span] = {}
        for name, turns in self.after.items():
            grown = Growing()
            if name == "pred":
                grown.add(encoder.tokens.pred[: self.plan.pred_tokens])
                grown.marks["last-pred"] = len(grown.ids) - 1
            else:
                if name == "answer":
                    grown.add(encoder.tokens.pause[: self.plan.pause_tokens])
                elif name == "lvr":
                    grown.add([encoder.tokens.lvr_start], learn=True)
                    grown.marks["latents"] = len(grown.ids)
                    grown.add([encoder.tokens.lvr] * len(region))
                    grown.add([encoder.tokens.lvr_end], learn=True)
                follow = template.parts(turns, after=self.context)
                span, _ = encoder.span(follow, pictures, self.numbers, before)
                grown.append(span)
            branches[name] = grown.done()
        if self.plan.pred_in_question:
            context, branches = _with_pred_in_question(context, branches)
        target = None
        if self.plan.target:
            prompt = self.target[-1].role != "assistant"
            parts = template.parts(self.target, prompt=prompt)
            target, _ = encoder.span(parts, pictures, self.numbers)
            target = _with_conclusion(target, stated=self.target[-1].conclusion)
        return EncodedSample(
            key=self.trajectory.id,
            shard=self.shard,
            images=tuple(pictures[medium].image for medium in self.media),
            context=context,
            branches=branches,
            target=target,
            region=region,
            notes=notes,
        )

    def _branch_turns(self, name: BranchName) -> tuple[Turn, ...]:
        answers = self.encoder.data.answers
        if name == "pred":
            enough("pred_tokens", self.plan.pred_tokens, self.encoder.tokens.pred)
            return ()
        if name == "trajectory":
            return trajectory_turns(self.trajectory, answers)
        if name == "answer":
            enough("pause_tokens", self.plan.pause_tokens, self.encoder.tokens.pause)
        return answer_turns(self.trajectory.task, answers)

    def _target_turns(self) -> tuple[Turn, ...]:
        data, options = self.encoder.data, self.encoder.objective.target
        turns = target_turns(
            self.trajectory, self.roots, options, system=data.system, answers=data.answers
        )
        first = next((turn.role for turn in turns if turn.role != "system"), "user")
        if first == "assistant" and not self.encoder.template.takes_assistant_first:
            at = 1 if turns[0].role == "system" else 0
            turns = (*turns[:at], Turn("user", ("",)), *turns[at:])
        return turns

    def _region(self, pictures: Mapping[str, Prepared]) -> list[RegionToken]:
        return [
            RegionToken(self.numbers[root], token)
            for root, boxes in region_boxes(self.trajectory).items()
            for token in tokens_under(grid_of(self.encoder.processor, pictures[root]), boxes)
        ]

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


def _rows(encoded: EncodedSample) -> list[list[Span]]:
    row = [encoded.context, *encoded.branches.values()]
    return [row, [encoded.target]] if encoded.target is not None else [row]


def _length(row: Sequence[Span]) -> int:
    return sum(len(span.ids) for span in row)


def _pixel_limit(
    row: Sequence[Span],
    pictures: Mapping[str, Prepared],
    media: Sequence[str],
    most: int,
    allowed: int | None,
) -> int | None:
    """Pixels a picture may have so that ``row`` fits, if tokens are as pixels; None if it fits.

    The processor leaves none more than ``allowed``.
    """
    if _length(row) <= most:
        return None
    shown = [pictures[media[number]] for span in row for number in span.images]
    room = most - (_length(row) - sum(sum(span.is_image) for span in row))
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
