"""A conversation through a processor's own chat template, cut into parts that can be tokenised.

The template's texts are known from its layout (:mod:`pearl_train.views.layouts`), so a sample costs
no rendering. Not here: tokens (:mod:`pearl_train.views.encoder`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from pearl_data.formats.chat import Role, Show, Turn
from pearl_tools.errors import UsageError, short_repr
from pearl_train.views.layouts import Layouts, Picture, Slot, Words

Mark = Literal["", "end-of-question", "conclusion"]


class Part(NamedTuple):
    """A text, or the picture ``medium``; ``mark`` names the last token of it, ``closes`` says that
    it closes the turn of the question.
    """

    text: str
    medium: str | None = None
    learn: bool = False
    mark: Mark = ""
    closes: bool = False


class ChatTemplate:
    """The chat template of ``processor``, which belongs to ``model``.

    Attributes:
        placeholder: what the template writes for a picture and the processor replaces.
        stop: the special token that ends an assistant's turn.
        stop_ids: the tokens that end a reply: that one, and the tokenizer's end of sequence.
        closing: how the template closes an assistant's turn, up to ``stop``; empty where it has no
            special token for that: then the tokenizer's end of sequence is added.
        glue: what the template writes between the generation prompt and a reply, such as a space:
            it belongs to the reply, at inference as well.
        takes_assistant_first: whether a conversation may begin with the assistant.

    Raises ``UsageError`` for a template that drops texts or pictures.

    """

    def __init__(self, processor: Any, model: str = "") -> None:
        self._layouts = Layouts(processor, model)
        self.placeholder = self._layouts.placeholder
        tokenizer = processor.tokenizer
        special = [str(t) for t in tokenizer.added_tokens_decoder.values() if t.special]
        names = {*special, *tokenizer.all_special_tokens, self.placeholder}
        self._special = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))
        self.closing, self.stop = self._find_closing(tokenizer.eos_token)
        stop = tokenizer(self.stop, add_special_tokens=False)["input_ids"][0]
        eos = tokenizer.eos_token_id
        self.stop_ids: tuple[int, ...] = tuple(dict.fromkeys([stop, stop if eos is None else eos]))
        self.glue = self._find_glue()
        self.takes_assistant_first = self._may_begin_with("assistant")

    def parts(
        self, turns: Sequence[Turn], *, after: Sequence[Turn] = (), prompt: bool = False
    ) -> list[Part]:
        """``turns`` as they follow the prompt of ``after``, or as they begin a conversation.

        With ``prompt`` the opening of the next assistant turn is added; else a last assistant turn
        ends with its stop token.
        """
        every = (*after, *turns)
        if after:
            slots = self._layouts.behind(after, every, prompt=prompt)
        else:
            slots = list(self._layouts.of(every, prompt=prompt))
        return [part for part in self._walk(every, slots, prompt=prompt) if part.text]

    def defused(self, text: str) -> str:
        """``text`` without special tokens: a space breaks what would be read as one."""
        return self._special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    def tail(self, text: str) -> str:
        """``text`` from its last special token on: what can influence the tokens that follow."""
        starts = [found.start() for found in self._special.finditer(text)]
        return text[starts[-1] :] if starts else text

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
                if turn.role == "assistant" and isinstance(before, str):
                    text = self.glue * before.endswith(self.glue) + text
                yield Part(text, learn=turn.learn, mark=mark)
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
                        yield Part(end, mark="end-of-question", closes=True)
                        rest = slot[len(end) :]
                yield Part(rest, mark=mark)

    def _closes(self, slot: Slot | None) -> str:
        """The beginning of ``slot`` up to the special token that closes the turn before."""
        if not isinstance(slot, str):
            return ""
        found = self._special.search(slot)
        return slot[: found.end()] if found and not slot[: found.start()].strip() else ""

    def _find_glue(self) -> str:
        asked, replied = Turn("user", ("",)), Turn("assistant", ("",))
        first = self._layouts.behind((asked,), (asked, replied), prompt=False)[0]
        return first if isinstance(first, str) else ""

    def _find_closing(self, eos: str | None) -> tuple[str, str]:
        turns = (Turn("user", ("",)), Turn("assistant", ("",)))
        end = self._layouts.of(turns, prompt=False)[-1]
        closing = self._closes(end)
        found = self._special.search(closing)
        if found:
            return closing, found[0]
        if eos is None:
            raise UsageError(
                f"{self._layouts.whose}: expected a special token after an assistant's turn, got "
                f"{short_repr(end)} and no eos_token in the tokenizer; set one of them"
            )
        return "", str(eos)

    def _may_begin_with(self, role: Role) -> bool:
        try:
            self._layouts.of((Turn(role, ("",)),), prompt=False)
        except UsageError:
            return False
        return True


def _ends_turn(slot: Words | Picture, following: Slot | None) -> bool:
    """Whether nothing more of the turn of ``slot`` comes."""
    return not (isinstance(following, Words | Picture) and following.turn == slot.turn)
