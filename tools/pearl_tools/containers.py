"""Checks that a picture file is complete, by its container: lengths, checksums, end marks.

Pillow reads only as much of a file as it needs: it skips the checksums of PNG's pixels, and accepts
a truncated file once the rows are filled. The checks here use everything that a format states. Not
here: the coded pixels (:mod:`pearl_tools.jpeg`, :mod:`pearl_tools.tiff`, or Pillow, which reports
their damage).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

_PNG_END = b"IEND\xaeB`\x82"
#: No checked coder ends in so many zeros.
_ZERO_TAIL = 64
#: TIFF field type -> bytes of an item.
_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
               16: 8, 17: 8, 18: 8}  # fmt: skip


class FileFault(ValueError):
    """A picture file is damaged or, if ``cut``, truncated; the message says what and where."""

    def __init__(self, message: str, *, cut: bool) -> None:
        super().__init__(message)
        self.cut = cut


def check_container(data: bytes) -> None:
    """Raise :class:`FileFault` for a file that contradicts its container."""
    for at, mark, check in _CHECKS:
        if data.startswith(mark, at):
            try:
                check(data)
            except (struct.error, IndexError):
                raise FileFault("the end of the file within a header", cut=True) from None


def _png(data: bytes) -> None:
    """Check that every chunk up to IEND is complete and has the right CRC."""
    at = 8
    while True:
        length, kind = struct.unpack_from(">I4s", data, at) if at + 8 <= len(data) else (0, b"")
        end = at + 12 + length
        name = kind.decode("latin-1")
        if not kind or end > len(data):
            ended = data.rstrip(b"\0").endswith(_PNG_END)
            raise FileFault(f"chunk {name} at byte {at} beyond the end of the file", cut=not ended)
        body = memoryview(data)[at + 4 : end - 4]
        if zlib.crc32(body) != int.from_bytes(data[end - 4 : end]):
            raise FileFault(f"chunk {name} at byte {at} with a wrong CRC", cut=False)
        if kind == b"IEND":
            return
        at = end


def _gif(data: bytes) -> None:
    """Check that every block up to the trailer is complete."""
    at = 13 + _colours(data[10])
    while at < len(data):
        mark, at = data[at], at + 1
        if mark == 0x3B:
            return
        if mark == 0x2C and at + 9 < len(data):
            at += 9 + _colours(data[at + 8]) + 1
        elif mark == 0x21:
            at += 1
        elif mark == 0:  # some writers pad
            continue
        else:
            raise FileFault(f"byte {at - 1} begins no block", cut=at + 9 >= len(data))
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    raise FileFault("no trailer after the last block", cut=not data.endswith(b";"))


def _colours(flags: int) -> int:
    """The size of a colour table in bytes, according to ``flags``."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _webp(data: bytes) -> None:
    """Check the length in the RIFF header; the padding byte at the end may be missing."""
    stated = 8 + int.from_bytes(data[4:8], "little")
    if stated > len(data) + 1:
        raise FileFault(f"{len(data)} of {stated} bytes", cut=True)
    if data[12:16] == b"VP8L":
        _check_tail(data)


def _boxes(data: bytes) -> None:
    """Check that every top-level box of an ISO file (AVIF, JP2) is complete, with its end mark."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at) if at + 8 <= len(data) else (0, b"")
        if size == 1 and at + 16 <= len(data):
            size = int.from_bytes(data[at + 8 : at + 16])
        end = at + size if size else len(data)
        if not kind or end > len(data):
            raise FileFault(f"box at byte {at} beyond the end of the file", cut=True)
        if kind == b"mdat":
            _check_tail(data[at:end])
        if kind == b"jp2c":
            _codestream(data[at:end])
        at = max(end, at + 8)


def _codestream(data: bytes) -> None:
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise FileFault("no end mark after the codestream", cut=True)
    _check_tail(data.rstrip(b"\0")[:-2])


def _check_tail(coded: bytes) -> None:
    """Reject coded pixels that end in zeros: space reserved by an incomplete download. AVIF, JPEG
    2000 and lossless WebP never end in zeros; lossy WebP may, if the picture is flat.
    """
    if coded.endswith(bytes(_ZERO_TAIL)):
        raise FileFault(f"{_ZERO_TAIL} zeros at the end of the coded pixels", cut=True)


def _tiff(data: bytes) -> None:
    """Check that every directory, and the data of its public tags, lies within the file."""
    order = "<" if data.startswith(b"II") else ">"
    big = 43 in data[2:4]
    first, count, entry, link = (8, "Q", 20, "Q") if big else (4, "H", 12, "I")
    at, seen = struct.unpack_from(order + link, data, first)[0], set[int]()
    while at and at not in seen:
        seen.add(at)
        if at >= len(data):
            raise FileFault(f"directory {len(seen) - 1} beyond the end of the file", cut=True)
        (entries,) = struct.unpack_from(order + count, data, at)
        at += struct.calcsize(order + count)
        for each in range(at, at + entries * entry, entry):
            tag, kind, items = struct.unpack_from(order + "HH" + link, data, each)
            size = items * _TIFF_BYTES.get(kind, 0)
            place = each + entry - struct.calcsize(order + link)
            if tag < 700 and size > struct.calcsize(order + link):
                (place,) = struct.unpack_from(order + link, data, place)
                if place + size > len(data):
                    raise FileFault(f"tag {tag} beyond the end of the file", cut=True)
        (at,) = struct.unpack_from(order + link, data, at + entries * entry)


#: Position and bytes of a signature, and the check for files with it.
_CHECKS: tuple[tuple[int, bytes, Callable[[bytes], None]], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", _png),
    (0, b"GIF8", _gif),
    (8, b"WEBP", _webp),
    (4, b"ftyp", _boxes),
    (4, b"jP  ", _boxes),
    (0, b"\xff\x4f\xff\x51", _codestream),
    (0, b"II*\0", _tiff),
    (0, b"MM\0*", _tiff),
    (0, b"II+\0", _tiff),
    (0, b"MM\0+", _tiff),
)
