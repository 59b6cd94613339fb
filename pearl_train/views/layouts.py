"""The places of texts and pictures in a processor's chat template, found by rendering marks.

A template is rendered once for each *shape* of conversation (who speaks, how many texts and
pictures) with marks in place of the texts; what stands between the marks is the template's. So
nothing of ours can be lost or altered unseen. Not here: the texts
(:mod:`pearl_train.views.templates`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from pearl_data.formats.chat import Show, Turn
from pearl_tools.errors import UsageError, short_repr

Shape = tuple[tuple[str, tuple[bool, ...]], ...]
#: Roles whose contents are given as texts, in the order in which it is tried.
_AS_TEXT = tuple(
    frozenset(roles) for roles in ((), ("system", "assistant"), ("system", "user", "assistant"))
)
_MARK = "\ue000{}\ue001"
_MARKS = "\ue000([0-9]+)\ue001"


class Words(NamedTuple):
    """Where the template put a text: number of the turn, place in its content."""

    turn: int
    place: int


class Picture(NamedTuple):
    """Where the template put a picture: number of the turn, place in its content."""

    turn: int
    place: int


Slot = str | Words | Picture


class Layouts:
    """The layouts of ``processor``'s template; ``placeholder`` is what it writes for a picture.

    ``model`` is whose template it is, for messages. Raises ``UsageError`` for a template that drops
    texts or pictures.
    """

    def __init__(self, processor: Any, model: str = "") -> None:
        self._processor = processor
        self.whose = f"the chat template of model {model}" if model else "the model's chat template"
        self._known: dict[tuple[Shape, bool], tuple[Slot, ...]] = {}
        self.placeholder = self._find_placeholder()

    def of(self, turns: Sequence[Turn], *, prompt: bool) -> tuple[Slot, ...]:
        """Texts of the template and places of ours, in order; with ``prompt`` the opening of the
        next assistant turn is added.
        """
        shape = tuple((t.role, tuple(isinstance(c, Show) for c in t.content)) for t in turns)
        key = (shape, prompt)
        if key not in self._known:
            self._known[key] = self._read(shape, prompt=prompt)
        return self._known[key]

    def behind(self, head: Sequence[Turn], turns: Sequence[Turn], *, prompt: bool) -> list[Slot]:
        """What follows the prompt of ``head`` where ``turns``, which begin with it, go on.

        That they begin so is what makes training and inference see the same tokens.
        """
        opening = self.of(head, prompt=True)
        slots = self.of(turns, prompt=prompt)
        last = len(opening) - 1
        at_cut = slots[last] if last < len(slots) else None
        end = opening[last]
        if slots[:last] == opening[:last]:
            if at_cut == end:
                return list(slots[last + 1 :])
            if isinstance(at_cut, str) and isinstance(end, str) and at_cut.startswith(end):
                return [at_cut[len(end) :], *slots[last + 1 :]]
        raise UsageError(
            f"{self.whose}: expected a conversation to begin with its own generation prompt, got "
            f"{short_repr(at_cut)} after a prompt that ends with {short_repr(end)}; "
            "use a template whose turns do not change when others follow"
        )

    def _read(self, shape: Shape, *, prompt: bool) -> tuple[Slot, ...]:
        """The layout of ``shape``, with contents as lists or, where that fails, as texts."""
        wrong = ""
        for as_text in _AS_TEXT:
            layout = self._cut(shape, prompt=prompt, as_text=as_text)
            if not isinstance(layout, str):
                return layout
            wrong = wrong or layout
        roles = ", ".join(role for role, _ in shape)
        raise UsageError(
            f"{self.whose}: expected every text and picture of the turns {roles} "
            f"once and in order, got {wrong}; use a processor whose template takes them"
        )

    def _cut(
        self, shape: Shape, *, prompt: bool, as_text: frozenset[str]
    ) -> tuple[Slot, ...] | str:
        """The layout, or what is wrong with it; turns of the roles ``as_text`` are one text where
        they show nothing.
        """
        words = [Words(n, k) for n, (_, of) in enumerate(shape) for k, p in enumerate(of) if not p]
        shows = [Picture(n, k) for n, (_, of) in enumerate(shape) for k, p in enumerate(of) if p]
        numbers = {place: number for number, place in enumerate(words)}
        messages = []
        for turn, (role, parts) in enumerate(shape):
            marks = [
                None if p else _MARK.format(numbers[Words(turn, k)]) for k, p in enumerate(parts)
            ]
            content = _content(marks, plain=role in as_text)
            messages.append({"role": role, "content": content})
        try:
            text = self._render(messages, prompt=prompt)
        except Exception as error:  # noqa: BLE001  # a template may raise anything
            return f"{type(error).__name__}: {error}"
        if "'type':" in text:
            return "a list written out as text"
        slots: list[Slot] = []
        end, found_words, found_shows = 0, [], 0
        for found in re.finditer(f"{_MARKS}|{re.escape(self.placeholder)}", text):
            if found.start() > end:
                slots.append(text[end : found.start()])
            end = found.end()
            if found[1] is not None:
                found_words.append(int(found[1]))
                slots.append(words[int(found[1])])
            elif found_shows < len(shows):
                slots.append(shows[found_shows])
                found_shows += 1
            else:
                return "a picture that was not there"
        if end < len(text):
            slots.append(text[end:])
        if found_words != list(range(len(words))):
            return f"texts {found_words} of {len(words)}"
        if found_shows != len(shows):
            return f"{found_shows} of {len(shows)} pictures"
        return tuple(slots)

    def _render(self, messages: list[dict[str, Any]], *, prompt: bool) -> str:
        text = self._processor.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=prompt
        )
        assert isinstance(text, str)
        return text

    def _find_placeholder(self) -> str:
        """What the template writes for a picture, of the names that processors give it."""
        fields = ("image_token", "boi_token", "start_image_token")
        names = [str(n) for field in fields if (n := getattr(self._processor, field, None))]
        shown = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "x"}]}
        bare = {"role": "user", "content": [{"type": "text", "text": "x"}]}
        try:
            with_it = self._render([shown], prompt=True)
            without = self._render([bare], prompt=True)
        except Exception as error:  # a template may raise anything
            raise UsageError(
                f"{self.whose}: expected a picture and a text of one turn to be written, got "
                f"{type(error).__name__}: {error}; use a template that takes list contents"
            ) from error
        for name in names:
            if with_it.count(name) == without.count(name) + 1:
                return name
        raise UsageError(
            f"{self.whose}: expected one of {names} for a picture, got "
            f"{short_repr(with_it)}; use the processor of an image-text-to-text model with the "
            "template for list contents"
        )


def _content(marks: list[str | None], *, plain: bool) -> str | list[dict[str, str]]:
    """The content of a message: texts by their marks, pictures (None) as such."""
    if plain and None not in marks:
        return "".join(mark for mark in marks if mark)
    return [{"type": "image"} if m is None else {"type": "text", "text": m} for m in marks]
