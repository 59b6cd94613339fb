"""JPEG decoded with every remark of the decoder heard: a damaged file is an error, not grey pixels.

libjpeg warns of damaged or missing coded data and fills in grey; Pillow drops the warning and
OpenCV prints it. TurboJPEG (through ``simplejpeg``) stops at it, and decodes faster than both.
Remarks on harmless oddities of headers are noted and the rest is decoded as strictly. A flipped bit
that leaves other valid codes behind is no error to any decoder: JPEG has no checksum.
Left out: JPEG in TIFF files (:mod:`pearl_tools.tiff` asks here), colours other than RGB (checked
here, decoded by Pillow).
"""

from __future__ import annotations

import io
import re
from functools import cache
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from pearl_tools.containers import FileFault

#: Remarks on headers that change no pixel.
_HARMLESS: Final = re.compile(
    "unknown JFIF revision|Invalid SOS parameters for sequential|Unknown Adobe color transform"
    "|extraneous bytes before marker"
)
_CUT: Final = re.compile("premature end", re.IGNORECASE)
_SEQUENTIAL = (0xC0, 0xC1)
_SOS = re.compile(rb"(\xff\xda\x00.(?P<count>[\x01-\x04]))", re.DOTALL)


def decode_strictly(data: bytes, *, colour: bool) -> tuple[NDArray[np.uint8] | None, list[str]]:
    """uint8 ``(h, w, 3)`` RGB pixels of the first picture in ``data``, and notes on oddities
    (``decoder:unknown JFIF revision number 9.01``).

    The pixels are None where Pillow must make them: not ``colour`` (only checked then), or a
    TurboJPEG that decodes otherwise than Pillow's. Raises :class:`FileFault` for damage.
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
    return (pixels if colour and same_decoders() else None), notes


@cache
def same_decoders() -> bool:
    """Whether TurboJPEG and Pillow give the same pixels for test pictures of every common sampling,
    sequential and progressive. Their builds may differ, and pixels must not depend on the path.
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


def _with_plain_headers(data: bytes) -> bytes:
    """``data`` with the oddities of :data:`_HARMLESS` mended in its headers, coded data as it is:
    what remains to warn of is damage.
    """
    out, at, sequential = bytearray(data[:2]), 2, False
    while (start := data.find(b"\xff", at)) >= 0:
        at = start + 1
        marker = data[at] if at < len(data) else 0
        if marker in (0, 0xFF) or 0xD0 <= marker <= 0xD9:
            continue
        end = at + 1 + int.from_bytes(data[at + 1 : at + 3])
        segment = bytearray(data[at + 1 : end])
        if marker == 0xE0 and segment[2:7] == b"JFIF\0" and len(segment) > 7:
            segment[7] = 1
        elif marker == 0xEE and segment[2:7] == b"Adobe" and len(segment) > 13 and segment[13] > 2:
            segment[13] = 1
        sequential = sequential or marker in _SEQUENTIAL
        out += bytes([0xFF, marker]) + segment
        at = end
        if marker == 0xDA:
            break
    out += data[at:]
    return _with_sequential_scans(out) if sequential else bytes(out)


def _with_sequential_scans(data: bytearray) -> bytes:
    """``data`` with the spectral parameters of every scan as sequential JPEG fixes them."""
    for scan in _SOS.finditer(bytes(data)):
        end = scan.end() + 2 * scan["count"][0]
        if data[scan.start() + 3] == 6 + 2 * scan["count"][0] and end + 3 <= len(data):
            data[end : end + 3] = b"\x00\x3f\x00"
    return bytes(data)
