"""Is a picture file whole? What its container says: lengths, checksums, end marks.

Pillow reads as much of a file as it needs: it skips the checksums of PNG's pixels, and calls a
file whole whose end is missing once the rows are filled. Here every format is held to what it
states itself. Left out: the coded pixels (:mod:`pearl_tools.jpeg`, :mod:`pearl_tools.tiff`, or
Pillow, which reports damage there).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

_PNG_END = b"IEND\xaeB`\x82"
#: PNG chunks that no pixel depends on: their damage is noted, the picture is whole.
_PNG_REMARKS = frozenset({b"tEXt", b"zTXt", b"iTXt", b"tIME", b"pHYs"})


class FileFault(ValueError):
    """A picture file that is damaged or, if ``cut``, incomplete; the message says what and where"""

    def __init__(self, message: str, *, cut: bool) -> None:
        super().__init__(message)
        self.cut = cut


def check_container(picture_format: str, data: bytes) -> list[str]:
    """Notes on harmless damage (``crc:tEXt``); raises :class:`FileFault` for any other."""
    check = _CHECKS.get(picture_format)
    return check(data) if check else []


def _png(data: bytes) -> list[str]:
    """Every chunk whole and with the right CRC, up to IEND."""
    notes, at = [], 8
    while True:
        length, kind = struct.unpack_from(">I4s", data, at) if at + 8 <= len(data) else (0, b"")
        end = at + 12 + length
        name = kind.decode("latin-1")
        if not kind or end > len(data):
            ended = data.rstrip(b"\0").endswith(_PNG_END)
            raise FileFault(f"chunk {name} at byte {at} beyond the end of the file", cut=not ended)
        body = memoryview(data)[at + 4 : end - 4]
        if zlib.crc32(body) != int.from_bytes(data[end - 4 : end]):
            if kind not in _PNG_REMARKS:
                raise FileFault(f"chunk {name} at byte {at} with a wrong CRC", cut=False)
            notes.append(f"crc:{name}")
        if kind == b"IEND":
            return notes
        at = end


def _gif(data: bytes) -> list[str]:
    """Every block whole, up to the trailer."""
    at = 13 + _colours(data[10])
    while at < len(data):
        mark, at = data[at], at + 1
        if mark == 0x3B:
            return []
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
    """Bytes of a colour table as ``flags`` announces it."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _webp(data: bytes) -> list[str]:
    """As many bytes as the RIFF header states; the padding byte at the end may be missing."""
    stated = 8 + int.from_bytes(data[4:8], "little")
    if stated > len(data) + 1:
        raise FileFault(f"{len(data)} of {stated} bytes", cut=True)
    return []


def _boxes(data: bytes) -> list[str]:
    """Every top-level box of an ISO file (AVIF, JP2) whole; of a bare codestream its end mark."""
    if data.startswith(b"\xff\x4f\xff\x51"):
        return _codestream(data)
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at) if at + 8 <= len(data) else (0, b"")
        if size == 1 and at + 16 <= len(data):
            size = int.from_bytes(data[at + 8 : at + 16])
        end = at + size if size else len(data)
        if not kind or end > len(data):
            raise FileFault(f"box at byte {at} beyond the end of the file", cut=True)
        if kind == b"jp2c":
            _codestream(data[at:end])
        at = max(end, at + 8)
    return []


def _codestream(data: bytes) -> list[str]:
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise FileFault("no end mark after the codestream", cut=True)
    return []


_CHECKS: dict[str, Callable[[bytes], list[str]]] = {
    "PNG": _png,
    "GIF": _gif,
    "WEBP": _webp,
    "AVIF": _boxes,
    "JPEG2000": _boxes,
}
