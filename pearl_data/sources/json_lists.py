"""Streams the lists of one JSON object, item by item; memory is bounded by the largest item.

Brackets and strings alone determine the end of an item, so that an invalid item (NaN, another
encoding) does not affect the others; the caller decodes it. Not here: the meaning of items.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Collection, Iterator
from typing import BinaryIO, Final

import msgspec

from pearl_tools.errors import BadInput, short_repr

_CHUNK_BYTES: Final = 2**20
#: A longer item means that a bracket is missing.
LARGEST_ITEM_BYTES: Final = 256 * 2**20
#: Up to the next bracket of a kind outside strings; up to a quote if its string has not ended yet.
#: An object ends where its braces do, a list where its brackets do: the others are inside.
_BRACKET = {
    b"{": re.compile(rb'[^"{}]*(?:"[^"\\]*(?:\\.[^"\\]*)*"[^"{}]*)*(["{}])', re.DOTALL),
    b"[": re.compile(rb'[^"\[\]]*(?:"[^"\\]*(?:\\.[^"\\]*)*"[^"\[\]]*)*(["\[\]])', re.DOTALL),
}
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SCALAR = re.compile(rb'[^\s,:"{}\[\]]+')
_SPACE = re.compile(rb"[ \t\r\n]*")


def read_lists(
    stream: BinaryIO,
    names: Collection[str],
    refuse: Callable[[str], BadInput],
    saw: Callable[[bytes], None],
) -> Iterator[tuple[str, int, bytes]]:
    """(name, index, text) of every item of the lists ``names`` of the object in ``stream``; a value
    of ``names`` that is not a list has index -1. Other values are skipped.

    ``saw`` gets all bytes once, in order. Raises ``refuse(reason)`` if the stream is not an object,
    repeats a name, has mismatched brackets, or ends early.
    """
    text = _Text(stream, refuse, saw)
    text.take(b"{")
    found: set[str] = set()
    while text.next_byte() != b"}":
        name = text.name()
        if name in found:
            raise refuse(f"{name!r} twice in one object [parse.duplicate_key]")
        found.add(name)
        text.take(b":")
        if name not in names:
            text.value(name, keep=False)
        elif text.next_byte() == b"[":
            text.take(b"[")
            index = 0
            while text.next_byte() != b"]":
                yield name, index, text.value(f"{name}[{index}]")
                index += 1
                if text.next_byte() != b"]":
                    text.take(b",")
            text.take(b"]")
        else:
            yield name, -1, text.value(name)
        if text.next_byte() != b"}":
            text.take(b",")
    text.take(b"}")
    if text.next_byte():
        raise refuse(f"extra text after the end of the object, at byte {text.offset}")


class _Text:
    """The part of the file in memory, and the position of the reader in it."""

    def __init__(
        self, stream: BinaryIO, refuse: Callable[[str], BadInput], saw: Callable[[bytes], None]
    ) -> None:
        self._stream, self._refuse, self._saw = stream, refuse, saw
        self._bytes, self._at, self._dropped = b"", 0, 0
        self._more()
        self._at = len(codecs.BOM_UTF8) if self._bytes.startswith(codecs.BOM_UTF8) else 0

    @property
    def offset(self) -> int:
        """The position in the file, in bytes."""
        return self._dropped + self._at

    def next_byte(self) -> bytes:
        """The next byte that is not a space, without consuming it; empty at the end of the file."""
        while True:
            self._at = _SPACE.match(self._bytes, self._at).end()  # type: ignore[union-attr]  # matches anything
            if self._at < len(self._bytes) or not self._more():
                return self._bytes[self._at : self._at + 1]

    def take(self, byte: bytes) -> None:
        """Consume ``byte``, which must come next."""
        if (got := self.next_byte()) != byte:
            found = short_repr(got.decode("latin-1")) if got else "the end of the file"
            raise self._refuse(f"expected {byte.decode()} at byte {self.offset}, got {found}")
        self._at += 1

    def name(self) -> str:
        """The name that comes next."""
        self.next_byte()
        while not (found := _STRING.match(self._bytes, self._at)):
            if not self._more() or len(self._bytes) > LARGEST_ITEM_BYTES:
                raise self._refuse(f"expected a name in quotes at byte {self.offset}")
        self._at = found.end()
        try:
            return msgspec.json.decode(found[0], type=str)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._refuse(f"a name before byte {self.offset}: {error}") from None

    def value(self, where: str, *, keep: bool = True) -> bytes:
        """Consume the next value; returns its text, or nothing if it is not kept."""
        first = self.next_byte()
        if first not in (b"{", b"["):
            pattern = _STRING if first == b'"' else _SCALAR
            # a scalar at the end of the buffer may be incomplete
            while not (found := pattern.match(self._bytes, self._at)) or (
                found.end() == len(self._bytes) and pattern is _SCALAR
            ):
                if not self._more() or len(self._bytes) > LARGEST_ITEM_BYTES:
                    break
            if found is None:
                raise self._refuse(f"{where}: expected a value at byte {self.offset}")
            self._at = found.end()
            return found[0]
        if first == b"{":  # most items: one object, and no brace in its strings
            end = self._bytes.find(b"}", self._at) + 1
            text = self._bytes[self._at : end]
            if text.count(b"{") == 1 and text.count(b'"') % 2 == 0 and b"\\" not in text:
                self._at = end
                return text
        begin, bracket = self.offset, _BRACKET[first]
        depth, at = 0, self._at
        while True:
            while (found := bracket.match(self._bytes, at)) and found[1] != b'"':
                at = found.end()
                depth += 1 if found[1] == first else -1
                if depth == 0:
                    text = self._bytes[self._at : at] if keep else b""
                    self._at = at
                    return text
            if not keep:
                self._at = at
            at -= self._at
            grown = self._more()
            at += self._at
            if not grown or (keep and len(self._bytes) > LARGEST_ITEM_BYTES):
                raise self._refuse(
                    f"{where}: expected an end of the value that begins at byte {begin}"
                )

    def _more(self) -> bool:
        """Read more and discard consumed bytes; False at the end of the file."""
        kept = self._bytes[self._at :]
        self._dropped += self._at
        new = self._stream.read(max(_CHUNK_BYTES, len(kept)))
        self._saw(new)
        self._bytes, self._at = kept + new, 0
        return bool(new)
