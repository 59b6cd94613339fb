"""TIFF decoded with libtiff's errors heard, and its strips checked where they can be.

libtiff prints errors on stderr, and Pillow returns pixels in spite of some of them. Its handler is
set through :mod:`ctypes`, once a process, if the library that Pillow uses is found beside it; else
libtiff prints as before and the checks of strips remain. Strips packed by Deflate carry a checksum,
those coded as JPEG are decoded strictly; the other codings have neither.
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

#: What libtiff has said since the last check. Pictures are opened one at a time.
_said: list[str] = []


def check_strips(image: Image.Image, data: bytes) -> None:
    """Raises :class:`FileFault` for a strip or tile of the first picture that is not all there, or
    is damaged.
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
    """Loads ``image``; raises :class:`FileFault` for whatever libtiff calls an error."""
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
    """The handler, which must live as long as libtiff may call it."""
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
