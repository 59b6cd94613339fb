"""A dialect: the form in which one family of models writes calls, with declared units.

A dialect parses text into :class:`ParsedCall`, translates it to our own form, and writes our calls
in its form. Invalid input becomes a coded error in the caller's own names.
Not here: running calls (:class:`~pearl_tools.executor.ToolExecutor`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from pearl_tools.errors import ToolError, ToolFailure
from pearl_tools.geometry import Naming
from pearl_tools.types import Coordinates, MediaMap, ToolCall


@dataclass(frozen=True, kw_only=True)
class ParsedCall:
    """One call as a model wrote it: its own tool name, its own arguments, its exact text."""

    name: str
    arguments: dict[str, Any] | str
    raw: str


@dataclass(frozen=True)
class BrokenCall:
    """Text that looks like a call and cannot be parsed."""

    raw: str
    error: ToolError


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One way to write calls.

    ``translate`` and ``write`` raise ``ToolFailure``; callers use the methods below. ``example``
    is one call as its models write it; ``words`` gives their name for a medium with our id.
    """

    name: str
    description: str
    coordinates: Coordinates
    naming: Naming
    parse: Callable[[str], list[ParsedCall | BrokenCall]]
    translate: Callable[[ParsedCall, MediaMap], tuple[str, dict[str, Any] | str]]
    write: Callable[[ToolCall, MediaMap], str]
    example: str
    words: Callable[[str, MediaMap], str] = lambda name, _: name

    def read(self, text: str) -> list[ParsedCall | BrokenCall]:
        """The calls in ``text``; the error of one that cannot be read shows the right form."""
        return [
            BrokenCall(item.raw, msgspec.structs.replace(item.error, hint=f"write {self.example}"))
            if isinstance(item, BrokenCall) and not item.error.hint
            else item
            for item in self.parse(text)
        ]

    def naming_on(self, media: MediaMap) -> Naming:
        """The names used in errors about ``media``."""
        return replace(self.naming, medium=lambda name: self.words(name, media))

    def to_call(
        self,
        parsed: ParsedCall | BrokenCall,
        media: MediaMap,
        id: str = "c1",  # noqa: A002 - the record's own field name
    ) -> ToolCall | ToolError:
        """``parsed`` as a call of ours on ``media``, or the error that a model can repair."""
        if isinstance(parsed, BrokenCall):
            return parsed.error
        try:
            tool, arguments = self.translate(parsed, media)
        except ToolFailure as failure:
            return failure.error
        return ToolCall(id=id, tool=tool, arguments=arguments)

    def from_call(self, call: ToolCall, media: MediaMap) -> str:
        """``call`` as this dialect writes it; raises ``ToolFailure`` for what it cannot say."""
        return self.write(call, media)


def ordered_ids(media: MediaMap) -> list[str]:
    """Ids in the order in which a conversation shows them: roots, then results, by number."""
    return sorted(media, key=lambda name: (name[:1] == "o", name[:1], int(name[1:] or 0)))
