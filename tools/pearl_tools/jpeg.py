"""Strict JPEG decoding: a damaged file is an error, not grey pixels.

libjpeg warns of damaged or missing coded data and fills in grey; Pillow drops the warning and
OpenCV prints it. TurboJPEG (through ``simplejpeg``) stops at the warning, and is faster than both.
Warnings about harmless header fields are recorded, and the rest is decoded strictly. A flipped bit
that gives other valid codes remains undetected: JPEG has no checksum.
Used by :mod:`pearl_tools.tiff` too. Colours other than RGB are checked here and decoded by Pillow.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import cache
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from pearl_tools.containers import FileFault

#: Warnings about headers that affect no pixel.
_HARMLESS: Final = re.compile(
    "unknown JFIF revision|Invalid SOS parameters for sequential|Unknown Adobe color transform"
    "|extraneous bytes before marker"
)
_CUT: Final = re.compile("premature end", re.IGNORECASE)
_SEQUENTIAL = (0xC0, 0xC1, 0xC9)
_FRAMES = (*_SEQUENTIAL, 0xC2, 0xCA)
#: A marker with a segment behind it, or the end mark; not the stuffing and restarts of coded data.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")


def decode_strictly(data: bytes, *, colour: bool) -> tuple[NDArray[np.uint8] | None, list[str]]:
    """uint8 ``(h, w, 3)`` RGB pixels of the first picture in ``data``, and notes on oddities
    (``decoder:unknown JFIF revision number 9.01``).

    The pixels are None if Pillow must decode them: not ``colour`` (only checked), or a
    TurboJPEG whose pixels differ from Pillow's. Raises :class:`FileFault` for damage.
    """
    notes: list[str] = []
    try:
        pixels = _decode(data, colour=colour)
    except ValueError as warning:
        if not _HARMLESS.search(str(warning)):
            raise _fault(warning, data) from None
        try:
            pixels = _decode(_with_plain_headers(data), colour=colour)
        except ValueError as error:
            raise _fault(error, data) from None
        notes.append(f"decoder:{str(warning).removeprefix('Warning: ')}")
    _check_scans(data)
    return (pixels if colour and same_decoders() else None), notes


@cache
def same_decoders() -> bool:
    """True if TurboJPEG and Pillow decode test pictures of every common sampling, sequential and
    progressive, to equal pixels. Their builds may differ, and pixels must not depend on the path.
    """
    ramp = np.add.outer(np.arange(37) * 5, np.arange(53) * 3)
    noise = np.random.default_rng(0).integers(0, 64, (37, 53, 3))
    drawn = Image.fromarray(((ramp[:, :, None] * (1, 2, 3) + noise) % 256).astype(np.uint8))
    for sampling in (0, 1, 2):
        for progressive in (False, True):
            file = io.BytesIO()
            drawn.save(file, "JPEG", quality=80, subsampling=sampling, progressive=progressive)
            if not np.array_equal(_decode(file.getvalue()), np.asarray(Image.open(file))):
                return False
    return True


def _decode(data: bytes, *, colour: bool = True) -> NDArray[np.uint8]:
    """The pixels; raises ``ValueError`` at the decoder's first warning or error."""
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB" if colour else "GRAY")
    return pixels


def _fault(error: ValueError, data: bytes) -> FileFault:
    text = str(error)
    if "subsampling" in text:
        text = "a chroma sampling that no check for damage can read: save it as 4:4:4 or 4:2:0"
    ended = data.rstrip(b"\0").endswith(b"\xff\xd9")
    return FileFault(text, cut=not ended or _CUT.search(text) is not None)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, begin, end) of every segment's content up to the end mark, coded data skipped."""
    at = 2
    while found := _MARKER.search(data, at):
        marker, begin = found[1][0], found.end()
        if marker == 0xD9:
            return
        at = begin + int.from_bytes(data[begin : begin + 2])
        yield marker, begin + 2, at


def _check_scans(data: bytes) -> None:
    """Raise :class:`FileFault` if scans are missing. The decoder accepts a file that ends between
    two scans with an end mark, and shows it coarse or without colour.
    """
    sequential, least = True, dict[int, list[int]]()  # of every coefficient the last bit sent
    for marker, begin, end in _segments(data):
        content = data[begin:end]
        if marker in _FRAMES and len(content) > 5:
            sequential = marker in _SEQUENTIAL
            least = {number: [-1] * 64 for number in content[6 : 6 + 3 * content[5] : 3]}
        elif marker == 0xDA and content:
            count = content[0]
            named, rest = content[1 : 1 + 2 * count : 2], content[1 + 2 * count :]
            if sequential and count == len(least):
                return
            if len(rest) < 3:
                return  # the decoder reports it
            first, last, bit = (0, 63, 0) if sequential else (rest[0], rest[1], rest[2] & 15)
            for number in named:
                sent = least.get(number, [])
                sent[first : last + 1] = [bit] * len(sent[first : last + 1])
    if any(bit for sent in least.values() for bit in sent):
        raise FileFault("the end mark before the last scan", cut=True)


def _with_plain_headers(data: bytes) -> bytes:
    """``data`` with the faults of :data:`_HARMLESS` repaired in its headers, coded data unchanged;
    any further warning means damage.
    """
    out, before, scanned, sequential = bytearray(data[:2]), 2, False, False
    for marker, begin, end in _segments(data):
        content = bytearray(data[begin:end])
        if marker == 0xE0 and content[:5] == b"JFIF\0" and len(content) > 5:
            content[5] = 1
        elif marker == 0xEE and content[:5] == b"Adobe" and len(content) > 11 and content[11] > 2:
            content[11] = 1
        elif marker == 0xDA and sequential and len(content) > 3:
            content[-3:] = b"\x00\x3f\x00"
        sequential = sequential or marker in _SEQUENTIAL
        if scanned:
            out += data[before : begin - 4]  # coded data; before the first scan nothing is lost
        out += data[begin - 4 : begin] + content
        scanned, before = scanned or marker == 0xDA, end
    return bytes(out + data[before:])
