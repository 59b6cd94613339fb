"""Opening pictures that other people made: 8-bit RGB with a record of every change, or a refusal.

The format is read from the bytes, never from the name. Sizes are checked in the header, before any
pixel is decoded. Only the formats of :data:`FORMATS` are tried: Pillow would otherwise also start
Ghostscript for PostScript. Left out: colour profiles, video, writing anything.
"""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pearl_tools.color import NotAPictureError, to_rgb8
from pearl_tools.errors import FaultOwner, ToolFailure, tool_error
from pearl_tools.jpeg import plain_pixels
from pearl_tools.pixels import Pixels, decode_npy, encode_npy, encode_png, pixel_sha256
from pearl_tools.types import Medium, OpenedFacts

__all__ = [
    "MAX_PIXELS",
    "MediaError",
    "decode_member",
    "encode_npy",
    "encode_png",
    "open_image",
    "pixel_sha256",
]

MAX_PIXELS = 200_000_000
MAX_SIDE_PX = 100_000

#: Pillow format -> suffix of the bytes as they are kept.
FORMATS = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "GIF": ".gif",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "PPM": ".ppm",
    "AVIF": ".avif",
    "JPEG2000": ".jp2",
}

#: EXIF orientation -> what makes it upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG = 0x0112
_TIFF_BITS = 0x0102
#: The declared white of a colour PPM, behind its width and height.
_PPM_WHITE = re.compile(rb"P[36]" + rb"(?:\s|#[^\n]*\n)+(\d+)" * 3)
#: Bits a sample, less one, with a sign above: in the header box, or in a bare codestream's.
_JP2_DEPTH = re.compile(rb"ihdr.{10}(.)|\xff\x4f\xff\x51.{38}(.)", re.DOTALL)

#: What Pillow raises about damaged files; anything else is a bug and not hidden.
_DECODE_ERRORS = (
    OSError,
    RuntimeError,
    EOFError,
    SyntaxError,
    ValueError,
    struct.error,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    AttributeError,
    ZeroDivisionError,
)

#: Format signature -> how its bytes end when they are all there.
_ENDINGS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG\r\n\x1a\n": b"IEND\xaeB`\x82", b"GIF8": b";"}

_pillow_lock = threading.RLock()


class MediaError(ToolFailure):
    """A picture that cannot be used; carries the coded error, whose fault owner is the medium."""


def open_image(
    data: bytes,
    *,
    id: str = "i0",  # noqa: A002 - the record's own field name
    name: str = "",
    max_pixels: int = MAX_PIXELS,
) -> Medium:
    """The picture in ``data`` as a root medium: upright, 8-bit RGB, first frame, alpha on white.

    ``name`` is only for messages. ``facts.changes`` lists what was done: ``exif_orientation:6``,
    ``mode:CMYK``, ``bits:16/257``, ``range:0..9.5``, ``alpha:on_white``, ``frame:0/12``,
    ``format:MPO``. Raises :class:`MediaError`: ``parse.truncated``, ``execution.decode`` or, for a
    picture beyond ``max_pixels``, ``execution.out_of_memory``.
    """
    where = f"media.{id}" + (f" ({name})" if name else "")
    if not data:
        raise _media_error("parse.truncated", where, "the bytes of a picture", "0 bytes")
    with _pillow_quietly():
        image = _open_header(data, where, max_pixels)
        try:
            changes, suffix = _file_facts(image, data), FORMATS[image.format or ""]
            pixels, changed = _decode(image, data)
        except MemoryError:
            raise
        except NotAPictureError as error:
            raise _media_error("execution.decode", where, "a picture", str(error)) from None
        except _DECODE_ERRORS as error:
            raise _damaged(data, where, error) from None
        finally:
            image.close()
    height, width = pixels.shape[:2]
    pixels.setflags(write=False)
    facts = OpenedFacts(
        id=id,
        width=width,
        height=height,
        name_in_sample=id + suffix,
        changes=[*changes, *changed],
    )
    return Medium(facts=facts, pixels=pixels, file_bytes=data, file_suffix=suffix)


def decode_member(name: str, data: bytes) -> Pixels:
    """The exact pixels of a stored member: ``.npy`` as a float32 map, pictures as uint8 RGB.

    >>> import numpy as np
    >>> pixels = np.zeros((4, 6, 3), np.uint8)
    >>> bool((decode_member("o1.png", encode_png(pixels)) == pixels).all())
    True
    """
    if name.endswith(".npy"):
        return decode_npy(data, name)
    return open_image(data, name=name).pixels


@contextmanager
def _pillow_quietly() -> Iterator[None]:
    """Pillow without warnings and without its own size limit, which is below ours.

    Both are process-wide in Pillow, hence the lock.
    """
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _open_header(data: bytes, where: str, max_pixels: int) -> Image.Image:
    """The image with only its header read; refuses sizes beyond the limits."""
    Image.init()  # all plugins at once: asking for a format that is not loaded yet is a KeyError
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError:
        if any(data.startswith(mark) for mark in _ENDINGS):
            raise _damaged(data, where, "its header cannot be read") from None
        kinds = ", ".join(FORMATS)
        raise _media_error(
            "execution.decode", where, f"a picture ({kinds})", f"{len(data)} bytes that are none"
        ) from None
    except _DECODE_ERRORS as error:
        raise _damaged(data, where, error) from None
    width, height = image.size
    if width * height > max_pixels or max(width, height) > MAX_SIDE_PX:
        raise _media_error(
            "execution.out_of_memory",
            where,
            f"at most {max_pixels / 1e6:g} megapixels and {MAX_SIDE_PX} px a side",
            f"{width}x{height} px declared in {len(data)} bytes",
            "nothing was decoded; make the picture smaller or raise max_pixels",
            fault_owner="media",
        )
    return image


def _file_facts(image: Image.Image, data: bytes) -> list[str]:
    """What the file holds besides one 8-bit picture."""
    facts = []
    if image.format == "MPO":
        facts.append("format:MPO")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        facts.append(f"frame:0/{frames}")
    image.seek(0)
    bits = _bits_lost(image, data)
    return [*facts, bits] if bits else facts


def _bits_lost(image: Image.Image, data: bytes) -> str | None:
    """What makes deeper colour 8-bit while Pillow reads it: the high bits are kept, or of PPM the
    share of its declared white. Grey keeps all its bits until :mod:`pearl_tools.color`.
    """
    if image.mode.startswith(("I", "F")):
        return None
    depth = 8
    if image.format == "PNG" and len(data) > 24:
        depth = data[24]
    elif image.format == "TIFF":
        depth = max(image.tag_v2.get(_TIFF_BITS, (8,)))  # type: ignore[attr-defined]
    elif image.format == "PPM" and (found := _PPM_WHITE.match(data)) and int(found[3]) > 255:
        white = int(found[3])
        return "bits:16/257" if white == 65535 else f"range:0..{white}"
    elif image.format == "JPEG2000" and (found := _JP2_DEPTH.search(data)):
        depth = ((found[1] or found[2])[0] & 0x7F) + 1
    return f"bits:{depth}/{2 ** (depth - 8)}" if depth > 8 else None


def _decode(image: Image.Image, data: bytes) -> tuple[NDArray[np.uint8], list[str]]:
    """The upright 8-bit RGB pixels of the first frame, and the changes that made them."""
    if _orientation(image) not in _UPRIGHT:
        plain = plain_pixels(image, data)
        if plain is not None:
            return plain, []
    upright, turned = _load_upright(image)
    pixels, converted = to_rgb8(upright, white_16=image.format == "PPM")
    return pixels, [*turned, *converted]


def _load_upright(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """The decoded first frame, turned as its EXIF orientation says, and the change that was made.

    Pillow turns TIFF by itself while loading and removes the tag, so it is read before and after.
    """
    before = _orientation(image)
    image.load()
    after = _orientation(image)
    changes = [f"exif_orientation:{before}"] if before in _UPRIGHT else []
    return (image.transpose(_UPRIGHT[after]) if after in _UPRIGHT else image), changes


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or it cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DECODE_ERRORS:  # damaged EXIF does not make the picture unusable
        return 1
    return value if isinstance(value, int) else 1


def _damaged(data: bytes, where: str, error: object) -> MediaError:
    """A file that starts like a picture and cannot be decoded: cut short, or broken inside."""
    ending = next((end for mark, end in _ENDINGS.items() if data.startswith(mark)), None)
    says_so = "truncated" in str(error).lower() or isinstance(error, EOFError)
    cut = says_so or (ending is not None and not data.rstrip(b"\0").endswith(ending))
    return _media_error(
        "parse.truncated" if cut else "execution.decode",
        where,
        "a whole picture file",
        f"{len(data)} bytes: {error}",
        "fetch the file again" if cut else "save the picture again from its source",
    )


def _media_error(
    code: str,
    where: str,
    expected: str,
    got: str,
    hint: str = "",
    *,
    fault_owner: FaultOwner | None = None,
) -> MediaError:
    return MediaError(tool_error(code, where, expected, got, hint, fault_owner=fault_owner))


def as_medium(pixels: NDArray[np.uint8], *, id: str = "i0") -> Medium:  # noqa: A002 - as above
    """Drawn pixels as a root medium whose file is their lossless PNG."""
    return open_image(encode_png(pixels), id=id, name=f"{id}.png")
