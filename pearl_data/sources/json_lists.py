"""The lists of one JSON object, item by item: a file of any size in the memory of its largest item.

Finds where each item ends by its brackets and strings alone, so that an item that is no sound JSON
(NaN, another encoding) costs itself only; its reader decodes it. Not here: what the items mean.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Collection, Iterator
from typing import BinaryIO, Final

import msgspec

from pearl_tools.errors import BadInput, short_repr

_CHUNK_BYTES: Final = 2**20
#: An item beyond this is no item: a bracket is missing.
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
    of ``names`` that is no list comes with index -1. Other values are skipped, whatever their size.

    ``saw`` is given all bytes once, in order. Raises what ``refuse`` makes of a reason: no object,
    one name twice, brackets that do not fit, an end before the end.
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
        raise refuse(f"more behind its end, at byte {text.offset}")


class _Text:
    """A part of the file in memory, and the place in it up to which it was read."""

    def __init__(
        self, stream: BinaryIO, refuse: Callable[[str], BadInput], saw: Callable[[bytes], None]
    ) -> None:
        self._stream, self._refuse, self._saw = stream, refuse, saw
        self._bytes, self._at, self._dropped = b"", 0, 0
        self._more()
        self._at = len(codecs.BOM_UTF8) if self._bytes.startswith(codecs.BOM_UTF8) else 0

    @property
    def offset(self) -> int:
        """Bytes of the file up to here."""
        return self._dropped + self._at

    def next_byte(self) -> bytes:
        """The next byte that is no space, not taken; empty at the end of the file."""
        while True:
            self._at = _SPACE.match(self._bytes, self._at).end()  # type: ignore[union-attr]  # matches anything
            if self._at < len(self._bytes) or not self._more():
                return self._bytes[self._at : self._at + 1]

    def take(self, byte: bytes) -> None:
        """Pass over ``byte``, which must come next."""
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
        """The text of the value that comes next; empty if it is not to be kept."""
        first = self.next_byte()
        if first not in (b"{", b"["):
            pattern = _STRING if first == b'"' else _SCALAR
            # a scalar that touches the end of what is in memory may go on behind it
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
                raise self._refuse(f"{where}, which begins at byte {begin}, has no end")

    def _more(self) -> bool:
        """Read on, forgetting what is behind; False at the end of the file."""
        kept = self._bytes[self._at :]
        self._dropped += self._at
        new = self._stream.read(max(_CHUNK_BYTES, len(kept)))
        self._saw(new)
        self._bytes, self._at = kept + new, 0
        return bool(new)
