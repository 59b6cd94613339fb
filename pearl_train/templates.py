"""A conversation through a processor's own chat template, cut into parts that can be tokenised.

A template is rendered once for each *shape* (who speaks, how many texts and pictures) with marks in
place of the texts; what stands between the marks is the template's. So nothing of ours can be lost
or altered unseen, and a sample costs no rendering. Left out: tokens (:mod:`pearl_train.encode`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from pearl_tools.errors import UsageError, short_repr
from pearl_train.chat import Show, Turn

Mark = Literal["", "end-of-question", "conclusion"]
Shape = tuple[tuple[str, tuple[bool, ...]], ...]
#: Roles whose contents are given as texts, in the order in which it is tried.
_AS_TEXT = tuple(
    frozenset(roles) for roles in ((), ("system", "assistant"), ("system", "user", "assistant"))
)
_MARK = "\ue000{}\ue001"
_MARKS = "\ue000([0-9]+)\ue001"


class Part(NamedTuple):
    """A text, or the picture ``medium``; ``mark`` names the last token of it."""

    text: str
    medium: str | None = None
    learn: bool = False
    mark: Mark = ""


class Words(NamedTuple):
    """Where the template put a text: number of the turn, place in its content."""

    turn: int
    place: int


class Picture(NamedTuple):
    """Where the template put a picture: number of the turn, place in its content."""

    turn: int
    place: int


Slot = str | Words | Picture


class ChatTemplate:
    """The chat template of ``processor``.

    Attributes:
        placeholder: what the template writes for a picture and the processor replaces.
        stop: the special token that ends an assistant's turn.
        closing: how the template closes an assistant's turn, up to ``stop``; empty where it has no
            special token for that: then the tokenizer's end of sequence is added.
        glue: what the template writes between the generation prompt and a reply, such as a space:
            it belongs to the reply, at inference as well.

    Raises ``UsageError`` for a template that drops texts or pictures.

    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._layouts: dict[tuple[Shape, bool], tuple[Slot, ...]] = {}
        tokenizer = processor.tokenizer
        special = [str(t) for t in tokenizer.added_tokens_decoder.values() if t.special]
        self.placeholder = self._find_placeholder()
        names = {*special, *tokenizer.all_special_tokens, self.placeholder}
        self._special = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))
        self.closing, self.stop = self._find_closing()
        self.glue = self._find_glue()

    def parts(
        self, turns: Sequence[Turn], *, after: Sequence[Turn] = (), prompt: bool = False
    ) -> list[Part]:
        """``turns`` as they follow the prompt of ``after``, or as they begin a conversation.

        With ``prompt`` the opening of the next assistant turn is added; else a last assistant turn
        ends with its stop token.
        """
        every = (*after, *turns)
        slots = list(self._layout(every, prompt=prompt))
        if after:
            slots = self._behind(list(self._layout(after, prompt=True)), slots)
        return [part for part in self._walk(every, slots, prompt=prompt) if part.text]

    def defused(self, text: str) -> str:
        """``text`` without special tokens: a space breaks what would be read as one."""
        return self._special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    def tail(self, text: str) -> str:
        """``text`` from its last special token on: what can influence the tokens that follow."""
        starts = [found.start() for found in self._special.finditer(text)]
        return text[starts[-1] :] if starts else text

    def takes_assistant_first(self) -> bool:
        """Whether a conversation may begin with the assistant."""
        try:
            self._layout((Turn("assistant", ("",)),), prompt=False)
        except UsageError:
            return False
        return True

    def _walk(self, turns: Sequence[Turn], slots: list[Slot], *, prompt: bool) -> Iterator[Part]:
        question = max((n for n, turn in enumerate(turns) if turn.role == "user"), default=-1)
        for number, slot in enumerate(slots):
            before = slots[number - 1] if number else None
            following = slots[number + 1] if number + 1 < len(slots) else None
            if isinstance(slot, Picture):
                show = turns[slot.turn].content[slot.place]
                assert isinstance(show, Show)
                yield Part(self.placeholder, medium=show.medium)
            elif isinstance(slot, Words):
                turn = turns[slot.turn]
                asked = prompt and slot.turn == question and _ends_turn(slot, following)
                mark: Mark = "end-of-question" if asked and not self._closes(following) else ""
                text = self.defused(str(turn.content[slot.place]))
                glued = turn.role == "assistant" and isinstance(before, str)
                yield Part(self.glue * glued + text, learn=turn.learn, mark=mark)
                if turn.role == "assistant" and not isinstance(following, str):
                    yield Part(self.stop, learn=turn.learn)
            else:
                opens = isinstance(following, Words) and turns[following.turn].conclusion
                mark = "conclusion" if opens else ""
                replies = isinstance(following, Words) and turns[following.turn].role == "assistant"
                slot = slot.removesuffix(self.glue) if replies else slot  # noqa: PLW2901
                rest = slot
                if isinstance(before, Words | Picture) and _ends_turn(before, following):
                    turn = turns[before.turn]
                    if turn.role == "assistant":
                        closing = self.closing if slot.startswith(self.closing) else ""
                        rest = slot[len(closing) :] if following is not None or prompt else ""
                        at_end = mark if not rest else ""
                        yield Part(closing or self.stop, learn=turn.learn, mark=at_end)
                    elif prompt and before.turn == question and (end := self._closes(slot)):
                        yield Part(end, mark="end-of-question")
                        rest = slot[len(end) :]
                yield Part(rest, mark=mark)

    def _closes(self, slot: Slot | None) -> str:
        """The beginning of ``slot`` up to the special token that closes the turn before."""
        if not isinstance(slot, str):
            return ""
        found = self._special.search(slot)
        return slot[: found.end()] if found and not slot[: found.start()].strip() else ""

    def _behind(self, head: list[Slot], slots: list[Slot]) -> list[Slot]:
        """What follows the prompt ``head`` in ``slots``; that it begins so is what makes training
        and inference see the same tokens.
        """
        last = len(head) - 1
        at_cut = slots[last] if last < len(slots) else None
        end = head[last]
        if slots[:last] == head[:last]:
            if at_cut == end:
                return slots[last + 1 :]
            if isinstance(at_cut, str) and isinstance(end, str) and at_cut.startswith(end):
                return [at_cut[len(end) :], *slots[last + 1 :]]
        raise UsageError(
            "the model's chat template: expected a conversation to begin with its own generation "
            f"prompt, got {short_repr(at_cut)} after a prompt that ends with {short_repr(end)}; "
            "use a template whose turns do not change when others follow"
        )

    def _layout(self, turns: Sequence[Turn], *, prompt: bool) -> tuple[Slot, ...]:
        shape = tuple((t.role, tuple(isinstance(c, Show) for c in t.content)) for t in turns)
        key = (shape, prompt)
        if key not in self._layouts:
            self._layouts[key] = self._read(shape, prompt=prompt)
        return self._layouts[key]

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
            f"the model's chat template: expected every text and picture of the turns {roles} "
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
        with_it = self._render([shown], prompt=True)
        without = self._render([bare], prompt=True)
        for name in names:
            if with_it.count(name) == without.count(name) + 1:
                return name
        raise UsageError(
            f"the model's chat template: expected one of {names} for a picture, got "
            f"{short_repr(with_it)}; use the processor of an image-text-to-text model with the "
            "template for list contents"
        )

    def _find_glue(self) -> str:
        asked, replied = Turn("user", ("",)), Turn("assistant", ("",))
        head = list(self._layout((asked,), prompt=True))
        first = self._behind(head, list(self._layout((asked, replied), prompt=False)))[0]
        return first if isinstance(first, str) else ""

    def _find_closing(self) -> tuple[str, str]:
        turns = (Turn("user", ("",)), Turn("assistant", ("",)))
        end = self._layout(turns, prompt=False)[-1]
        closing = self._closes(end)
        found = self._special.search(closing)
        if found:
            return closing, found[0]
        eos = self._processor.tokenizer.eos_token
        if eos is None:
            raise UsageError(
                "the model's chat template: expected a special token after an assistant's turn, "
                f"got {short_repr(end)} and no eos_token in the tokenizer; set one of them"
            )
        return "", str(eos)


def _ends_turn(slot: Words | Picture, following: Slot | None) -> bool:
    """Whether nothing more of the turn of ``slot`` comes."""
    return not (isinstance(following, Words | Picture) and following.turn == slot.turn)


def _content(marks: list[str | None], *, plain: bool) -> str | list[dict[str, str]]:
    """The content of a message: texts by their marks, pictures (None) as such."""
    if plain and None not in marks:
        return "".join(mark for mark in marks if mark)
    return [{"type": "image"} if m is None else {"type": "text", "text": m} for m in marks]
