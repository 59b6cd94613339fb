"""Texts and pictures to tokens, through any transformers processor.

Texts are tokenised part by part, each as what follows the part before, so that training sees the
tokens that inference sees. Not here: which views a sample has (:mod:`pearl_train.views.encode`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pearl_data.formats.chat import ANSWER_PREFIX
from pearl_tools.errors import UsageError, short_repr
from pearl_train.errors import BY_TOKENIZER, Refused
from pearl_train.settings.config import DataConfig, ObjectiveConfig
from pearl_train.views.batch import Span
from pearl_train.views.pictures import PicturePreparer, Prepared, pixel_limit
from pearl_train.views.templates import ChatTemplate, Part

if TYPE_CHECKING:
    from pearl_train.model.tokens import SpecialTokens


@dataclass
class Growing:
    """A span in the making."""

    ids: list[int] = field(default_factory=list)
    learn: list[bool] = field(default_factory=list)
    is_image: list[bool] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)

    def add(self, ids: Sequence[int], *, learn: bool = False) -> None:
        """Tokens of text."""
        self.ids += ids
        self.learn += [learn] * len(ids)
        self.is_image += [False] * len(ids)

    def show(self, number: int, prepared: Prepared) -> None:
        """Picture ``number`` of the sample."""
        self.ids += prepared.ids
        self.learn += [False] * len(prepared.ids)
        self.is_image += prepared.is_image
        self.images.append(number)

    def append(self, span: Span) -> None:
        """A whole span."""
        self.marks |= {name: len(self.ids) + place for name, place in span.marks.items()}
        self.ids += span.ids
        self.learn += span.learn
        self.is_image += span.is_image
        self.images += span.images

    def done(self) -> Span:
        """The span as it is now."""
        return Span(
            ids=tuple(self.ids),
            learn=tuple(self.learn),
            is_image=tuple(self.is_image),
            images=tuple(self.images),
            marks=self.marks,
        )


class Encoder:
    """Turns samples and questions into tokens; may be pickled for loader workers.

    ``tokens`` are the ids of the special tokens, which the processor's tokenizer already has.
    ``max_pixels`` limits every picture: ``shrink_to`` before the processor sees it, None where the
    processor itself has that limit. ``model`` is named where its template does not work.
    ``stop_ids`` end a reply.
    """

    def __init__(
        self,
        processor: Any,
        tokens: SpecialTokens,
        *,
        data: DataConfig | None = None,
        objective: ObjectiveConfig | None = None,
        max_pixels: int | None = None,
        model: str = "",
    ) -> None:
        self.processor = processor
        self.tokens = tokens
        self.data = data or DataConfig()
        self.objective = objective or ObjectiveConfig()
        self.max_pixels = max_pixels
        self.shrink_to = None if pixel_limit(processor) == max_pixels else max_pixels
        self.model = model
        self.template = ChatTemplate(processor, model)
        self.preparer = PicturePreparer(processor, self.template.placeholder)
        self.tokenizer = processor.tokenizer
        self.stop_ids = self.template.stop_ids
        self._bos, self._start = self._find_start()
        self._known: dict[tuple[str, str], list[int]] = {}

    @property
    def pad_id(self) -> int:
        """The id that fills rows: the tokenizer's pad token, or else its stop token."""
        pad = self.tokenizer.pad_token_id
        return int(self.stop_ids[0] if pad is None else pad)

    def ids(self, text: str) -> list[int]:
        """The tokens of ``text`` without additions; ``Refused`` for a text that the tokenizer does
        not accept.
        """
        try:
            found: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        except (ValueError, TypeError, LookupError) as error:
            raise Refused(
                f"expected words that {type(self.tokenizer).__name__} accepts, got "
                f"{short_repr(text)}: {error}",
                BY_TOKENIZER,
            ) from error
        return found

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
        grown = Growing()
        if before is None:
            if not (self._bos and parts and parts[0].text.startswith(self._bos)):
                grown.add(self._start)
            before = ""
        for part in parts:
            start = len(grown.ids)
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
            if part.mark == "end-of-question":
                grown.marks["closing"] = start if part.closes else len(grown.ids)
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

    def _adjoins(self, grown: Growing, prepared: Prepared) -> bool:
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


def enough(name: str, wanted: int, there: Sequence[int]) -> None:
    """Refuses a number of tokens that were not added to the model."""
    if wanted > len(there):
        raise UsageError(
            f"objective.{name}: expected at most {len(there)}, the tokens that were added to the "
            f"model, got {wanted}"
        )
