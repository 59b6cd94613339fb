"""Strict TIFF decoding: libtiff's errors are raised, and strips are checked if possible.

libtiff prints errors on stderr, and Pillow returns pixels in spite of some of them. A handler is
set through :mod:`ctypes`, once per process, if Pillow's copy of the library is found; else
libtiff prints as before and only the strips are checked. Deflate strips have a checksum, JPEG
strips are decoded strictly; other codings have neither.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import PIL
from PIL import Image

from pearl_tools.containers import FileFault
from pearl_tools.jpeg import decode_strictly

_COMPRESSION, _JPEG_TABLES = 0x0103, 0x015B
#: Tags of offsets and of byte counts: of strips, or of tiles.
_PLACES = ((0x0111, 0x0117), (0x0144, 0x0145))
_JPEG, _DEFLATE = (7,), (8, 32946)

#: Errors of libtiff since the last check. Pictures are opened one at a time.
_said: list[str] = []


def check_strips(image: Image.Image, data: bytes) -> None:
    """Raise :class:`FileFault` for a strip or tile of the first picture that is incomplete or
    damaged.
    """
    tags = image.tag_v2  # type: ignore[attr-defined]  # of every TIFF image
    for offsets, counts in _PLACES:
        for number, (at, size) in enumerate(
            zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)
        ):
            if at + size > len(data):
                raise FileFault(f"strip {number} beyond the end of the file", cut=True)
            strip = data[at : at + size]
            if tags.get(_COMPRESSION) in _DEFLATE:
                _check_deflate(strip, number)
            elif tags.get(_COMPRESSION) in _JPEG:
                tables = tags.get(_JPEG_TABLES, b"\xff\xd8\xff\xd9")
                decode_strictly(tables[:-2] + strip[2:], colour=False)


def _check_deflate(strip: bytes, number: int) -> None:
    unpacked = zlib.decompressobj()
    try:
        while strip and not unpacked.eof:
            unpacked.decompress(strip, 1 << 20)
            strip = unpacked.unconsumed_tail
    except zlib.error as error:
        raise FileFault(f"strip {number}: {error}", cut=False) from None
    if not unpacked.eof:
        raise FileFault(f"strip {number} ends too early", cut=True)


def load_strictly(image: Image.Image) -> None:
    """Load ``image``; raises :class:`FileFault` for every error of libtiff."""
    _listen()
    _said.clear()
    try:
        image.load()
    except OSError:
        if not _said:
            raise
    if _said:
        raise FileFault(_said[0], cut=False)


@cache
def _listen() -> Callable[..., None] | None:
    """The error handler; a reference is kept, since libtiff may call it at any time."""
    package = Path(PIL.__file__).parent
    found = [*package.parent.glob("pillow.libs/libtiff*"), *package.glob(".dylibs/libtiff*")]
    path = str(found[0]) if found else ctypes.util.find_library("tiff")
    try:
        library, c = ctypes.CDLL(path), ctypes.CDLL(None)
        install, write = library.TIFFSetErrorHandler, c.vsnprintf
    except (OSError, AttributeError, TypeError):
        return None
    kind = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)

    def hear(module: bytes, form: bytes, arguments: int) -> None:
        text = ctypes.create_string_buffer(300)
        write(text, ctypes.c_size_t(300), ctypes.c_char_p(form), ctypes.c_void_p(arguments))
        _said.append(text.value.decode("latin-1"))

    install.restype, install.argtypes = ctypes.c_void_p, [kind]
    handler = kind(hear)
    install(handler)
    return handler
