"""Words and pictures to tokens, through any transformers processor: the views of one sample.

Texts are tokenised part by part, each as what follows the part before, so that training sees the
tokens that inference sees. Pictures are prepared one at a time and shared by all views. A row that
is too long gets smaller pictures or is dropped; nothing is ever cut off.
Left out: rows of a batch (:mod:`pearl_train.collate`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from pearl_data.shards import Sample
from pearl_data.trajectory import Trajectory
from pearl_tools.errors import PearlError, UsageError
from pearl_train.batch import BranchName, EncodedSample, RegionToken, Span, ViewPlan
from pearl_train.chat import (
    ANSWER_PREFIX,
    Turn,
    answer_turns,
    context_turns,
    media_of,
    target_turns,
    trajectory_turns,
)
from pearl_train.config import DataConfig, ObjectiveConfig
from pearl_train.pictures import (
    PicturePreparer,
    Prepared,
    content_key,
    open_picture,
    shrunk,
)
from pearl_train.regions import grid_of, region_boxes, thinned, tokens_under
from pearl_train.templates import ChatTemplate, Part

if TYPE_CHECKING:
    from pearl_train.model.tokens import SpecialTokens

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


@dataclass
class _Growing:
    """A span in the making."""

    ids: list[int] = field(default_factory=list)
    learn: list[bool] = field(default_factory=list)
    is_image: list[bool] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)

    def add(self, ids: Sequence[int], *, learn: bool = False) -> None:
        self.ids += ids
        self.learn += [learn] * len(ids)
        self.is_image += [False] * len(ids)

    def show(self, number: int, prepared: Prepared) -> None:
        self.ids += prepared.ids
        self.learn += [False] * len(prepared.ids)
        self.is_image += prepared.is_image
        self.images.append(number)

    def done(self) -> Span:
        return Span(
            ids=tuple(self.ids),
            learn=tuple(self.learn),
            is_image=tuple(self.is_image),
            images=tuple(self.images),
            marks=self.marks,
        )


class Encoder:
    """All that turns samples and questions into tokens; may be pickled for loader workers.

    ``tokens`` are the ids of the special tokens, which the processor's tokenizer already has.
    ``max_pixels`` limits every picture. ``stop_ids`` end a reply.
    """

    def __init__(
        self,
        processor: Any,
        tokens: SpecialTokens,
        *,
        data: DataConfig | None = None,
        objective: ObjectiveConfig | None = None,
        max_pixels: int | None = None,
    ) -> None:
        self.processor = processor
        self.tokens = tokens
        self.data = data or DataConfig()
        self.objective = objective or ObjectiveConfig()
        self.max_pixels = max_pixels
        self.template = ChatTemplate(processor)
        self.preparer = PicturePreparer(processor, self.template.placeholder)
        self.tokenizer = processor.tokenizer
        stop = self.ids(self.template.stop)[0]
        eos = self.tokenizer.eos_token_id
        self.stop_ids: tuple[int, ...] = tuple(dict.fromkeys([stop, stop if eos is None else eos]))
        self._bos, self._start = self._find_start()
        self._known: dict[tuple[str, str], list[int]] = {}

    @property
    def pad_id(self) -> int:
        """The id that fills rows: the tokenizer's pad token, or else its stop token."""
        pad = self.tokenizer.pad_token_id
        return int(self.stop_ids[0] if pad is None else pad)

    def ids(self, text: str) -> list[int]:
        """The tokens of ``text`` by itself, nothing added."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]  # type: ignore[no-any-return]

    def following(self, before: str, text: str) -> list[int]:
        """The tokens of ``text`` as they follow those of ``before``, which stay as they are."""
        head = self.ids(before)
        whole = self.ids(before + text)
        if whole[: len(head)] == head:
            return whole[len(head) :]
        anchored = self.ids(self.template.stop + text)
        return anchored[len(self.ids(self.template.stop)) :]

    def span(
        self,
        parts: Sequence[Part],
        pictures: Mapping[str, Prepared],
        numbers: Mapping[str, int],
        before: str | None = None,
    ) -> tuple[Span, str]:
        """``parts`` as tokens, and the text that influences what follows them.

        ``before`` is that text for what comes before; None begins a conversation. ``numbers`` are
        the places of the pictures among those of the sample.
        """
        grown = _Growing()
        if before is None:
            if not (self._bos and parts and parts[0].text.startswith(self._bos)):
                grown.add(self._start)
            before = ""
        for part in parts:
            if part.medium is not None:
                prepared = pictures[part.medium]
                if self._adjoins(grown, prepared):
                    grown.add(self.ids("\n"))
                grown.show(numbers[part.medium], prepared)
                before = part.text
            else:
                for text in filter(None, _at_prefix(part)):
                    grown.add(self._following(before, text), learn=part.learn)
                    before = self.template.tail(before + text)
            if part.mark:
                grown.marks[part.mark] = max(len(grown.ids) - 1, 0)
        return grown.done(), before

    def _following(self, before: str, text: str) -> Sequence[int]:
        """As :meth:`following`; what is short is the template's and comes again and again."""
        if len(before) + len(text) > 64:
            return self.following(before, text)
        known = self._known.get((before, text))
        if known is None:
            if len(self._known) > 4096:
                self._known.clear()
            known = self._known[before, text] = self.following(before, text)
        return known

    def _adjoins(self, grown: _Growing, prepared: Prepared) -> bool:
        """Whether two pictures would be read as one where runs of image tokens are counted."""
        return (
            "image_grid_thw" in prepared.image.inputs
            and bool(grown.is_image)
            and grown.is_image[-1]
            and prepared.is_image[0]
        )

    def _find_start(self) -> tuple[str, list[int]]:
        """The tokenizer's first token, as text, and the ids that it puts before any text."""
        bare = self.ids("a")
        full = self.tokenizer("a")["input_ids"]
        at = next((n for n in range(len(full)) if full[n : n + len(bare)] == bare), 0)
        return str(self.tokenizer.bos_token or ""), list(full[:at])


def _at_prefix(part: Part) -> list[str]:
    """A learned answer is cut after its prefix, with which inference may begin it."""
    text = part.text
    words = text.lstrip()
    if part.learn and words.startswith(ANSWER_PREFIX):
        cut = len(text) - len(words) + len(ANSWER_PREFIX)
        return [text[:cut], text[cut:]]
    return [text]


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
        limit, notes = self.encoder.max_pixels, list[str]()
        if limit is not None and any(p.width * p.height > limit for p in opened.values()):
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
            caps = [_pixel_limit(row, pictures, self.media, most) for row in rows]
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
        region = self._region(pictures) if "lvr" in self.plan.branches else ()
        branches: dict[BranchName, Span] = {}
        for name, turns in self.after.items():
            grown = _Growing()
            if name == "pred":
                grown.add(encoder.tokens.pred[: self.plan.pred_tokens])
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
                _append(grown, span)
            branches[name] = grown.done()
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
            _enough("pred_tokens", self.plan.pred_tokens, self.encoder.tokens.pred)
            return ()
        if name == "trajectory":
            return trajectory_turns(self.trajectory, answers)
        if name == "answer":
            _enough("pause_tokens", self.plan.pause_tokens, self.encoder.tokens.pause)
        return answer_turns(self.trajectory.task, answers)

    def _target_turns(self) -> tuple[Turn, ...]:
        data, options = self.encoder.data, self.encoder.objective.target
        turns = target_turns(
            self.trajectory, self.roots, options, system=data.system, answers=data.answers
        )
        first = next((turn.role for turn in turns if turn.role != "system"), "user")
        if first == "assistant" and not self.encoder.template.takes_assistant_first():
            at = 1 if turns[0].role == "system" else 0
            turns = (*turns[:at], Turn("user", ("",)), *turns[at:])
        return turns

    def _region(self, pictures: Mapping[str, Prepared]) -> tuple[RegionToken, ...]:
        found = [
            RegionToken(self.numbers[root], token)
            for root, boxes in region_boxes(self.trajectory).items()
            for token in tokens_under(grid_of(self.encoder.processor, pictures[root]), boxes)
        ]
        return tuple(thinned(found, self.encoder.objective.lvr.max_latents))

    def _dropped(self, reason: str, detail: str) -> Dropped:
        return Dropped(self.trajectory.id, self.shard, reason, detail)


def encode_prompt(
    pictures: Sequence[Image.Image],
    question: str,
    choices: Sequence[str] = (),
    *,
    encoder: Encoder,
    key: str = "",
    prefill: str = ANSWER_PREFIX,
    pause_tokens: int = 0,
) -> EncodedSample:
    """(I0, Q) as at inference: the context, then pause tokens and ``prefill``, all in one span.

    With an empty ``prefill`` the row ends with the generation prompt.
    """
    prepared = {
        f"i{number}": prepare_picture(picture, f"i{number}", encoder)
        for number, picture in enumerate(pictures)
    }
    data = encoder.data
    turns = context_turns(
        question, choices, tuple(prepared), system=data.system, answers=data.answers
    )
    return encode_dialogue(
        turns, prepared, encoder=encoder, key=key, prefill=prefill, pause_tokens=pause_tokens
    )


def prepare_picture(picture: Image.Image, medium: str, encoder: Encoder) -> Prepared:
    """A picture for :func:`encode_dialogue`, made smaller where ``max_pixels`` says so."""
    return encoder.preparer.prepare(shrunk(picture.convert("RGB"), encoder.max_pixels), medium)


def encode_dialogue(
    turns: Sequence[Turn],
    pictures: Mapping[str, Prepared],
    *,
    encoder: Encoder,
    key: str = "",
    prefill: str = "",
    pause_tokens: int = 0,
) -> EncodedSample:
    """Any conversation that the assistant is to continue: all of it in the ``context`` span.

    ``pictures`` by the ids that ``turns`` show. The tool loop adds an assistant turn with the reply
    and an :func:`~pearl_train.chat.observation_turn`, and encodes again.
    """
    media = list(dict.fromkeys(media_of(turns)))
    numbers = {medium: number for number, medium in enumerate(media)}
    span, before = encoder.span(encoder.template.parts(turns, prompt=True), pictures, numbers)
    grown = _Growing()
    _append(grown, span)
    _enough("pause_tokens", pause_tokens, encoder.tokens.pause)
    grown.add(encoder.tokens.pause[:pause_tokens])
    if prefill:
        grown.add(encoder.following(before, encoder.template.glue + prefill))
    images = tuple(pictures[medium].image for medium in media)
    return EncodedSample(key=key, shard="", images=images, context=grown.done(), branches={})


def _append(grown: _Growing, span: Span) -> None:
    grown.marks |= {name: len(grown.ids) + place for name, place in span.marks.items()}
    grown.ids += span.ids
    grown.learn += span.learn
    grown.is_image += span.is_image
    grown.images += span.images


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
    row: Sequence[Span], pictures: Mapping[str, Prepared], media: Sequence[str], most: int
) -> int | None:
    """Pixels a picture may have so that ``row`` fits, if tokens are as pixels; None if it fits."""
    if _length(row) <= most:
        return None
    shown = [pictures[media[number]] for span in row for number in span.images]
    room = most - (_length(row) - sum(sum(span.is_image) for span in row))
    sizes = [(p.size_px[0] * p.size_px[1], p.image.tokens) for p in shown]
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


def _enough(name: str, wanted: int, there: Sequence[int]) -> None:
    if wanted > len(there):
        raise UsageError(
            f"objective.{name}: expected at most {len(there)}, the tokens that were added to the "
            f"model, got {wanted}"
        )
