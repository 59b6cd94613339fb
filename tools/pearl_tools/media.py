"""Opens untrusted pictures as 8-bit RGB with a record of every change, or raises an error.

The bytes determine the format, never the name. Sizes are checked in the header before any pixel is
decoded. Damage that the container or a decoder reports is an error, even if it is only a warning.
Formats without checksums (JPEG, GIF, WebP, BMP, PPM, AVIF, JPEG 2000, most TIFF) can hide a flipped
bit that gives another valid picture. Only the formats of :data:`FORMATS` are tried: else Pillow
would also start Ghostscript for PostScript. Not here: video, writing.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from pearl_tools.color import NotAPictureError, profile_of, to_rgb8
from pearl_tools.containers import FileFault, check_container
from pearl_tools.errors import FaultOwner, ToolFailure, fail, short_repr, tool_error
from pearl_tools.files import open_regular
from pearl_tools.jpeg import decode_strictly
from pearl_tools.pixels import Pixels, decode_npy, encode_npy, encode_png, pixel_sha256
from pearl_tools.tiff import check_strips, load_strictly
from pearl_tools.types import Box, MediaFacts, Medium, OpenedFacts

__all__ = [
    "MAX_PIXELS",
    "MediaError",
    "decode_member",
    "encode_npy",
    "encode_png",
    "exif_orientation",
    "open_image",
    "pixel_sha256",
    "read_file",
    "turned_upright",
]

OPENING_BYTES: Final = 576_000_000
"""Most memory in bytes to open one picture, besides its file; stated in the help of ``synth``."""
BYTES_PER_PIXEL: Final = 9
"""Memory per pixel in bytes: Pillow's picture, the result, and the current band of rows."""
MAX_PIXELS: Final = OPENING_BYTES // BYTES_PER_PIXEL
MAX_SIDE_PX: Final = 100_000
MAX_FILE_BYTES: Final = OPENING_BYTES

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

#: Bytes per pixel for decoders that hold several copies of a picture. Measured at 48 MP.
_DEARER = {"WEBP": 16, "AVIF": 16, "JPEG2000": 20}

#: EXIF orientation -> (transpose first, axes to reverse) to turn the picture upright.
_UPRIGHT = {
    2: (False, (1,)),
    3: (False, (0, 1)),
    4: (False, (0,)),
    5: (True, ()),
    6: (True, (1,)),
    7: (True, (0, 1)),
    8: (True, (0,)),
}
_ORIENTATION_TAG = 0x0112
_ORIENTATION_CHANGE = "exif_orientation:"
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

#: Pillow's warnings about metadata, which affect no pixel.
_REMARKS = re.compile("malformed MPO|Invalid APNG|had too many entries")
_EXIF_DAMAGE = re.compile("EXIF|Skipping tag|Truncated File Read|Tag offset", re.IGNORECASE)
_SKIPPED_TAG = re.compile(r"[Tt]ag (\d+)")
#: TIFF tags below say how pixels are stored.
_FIRST_PRIVATE_TAG = 700

_FILE_ERRORS = {
    errno.ENOENT: "reference.no_such_file",
    errno.ENOTDIR: "reference.no_such_file",
    errno.ENAMETOOLONG: "reference.no_such_file",
    errno.EISDIR: "reference.wrong_kind",
    errno.EINVAL: "reference.wrong_kind",
    errno.ENXIO: "reference.wrong_kind",
}

_pillow_lock = threading.RLock()
# Pillow also raises what it logs; without a handler Python would print it on stderr
logging.getLogger("PIL").addHandler(logging.NullHandler())


class MediaError(ToolFailure):
    """A picture that cannot be used; carries the coded error, whose fault owner is the medium."""


def open_image(
    data: bytes,
    *,
    id: str = "i0",  # noqa: A002 - the record's own field name
    name: str = "",
    max_pixels: int | None = None,
) -> Medium:
    """The picture in ``data`` as a root medium: upright, 8-bit RGB, first frame, alpha on white.

    ``name`` is only for messages. Without ``max_pixels`` the limit is as many pixels as fit into
    :data:`OPENING_BYTES`, which depends on the format. ``facts.changes`` lists the changes:
    ``exif_orientation:6``, ``mode:CMYK``, ``bits:16/257``, ``range:0..9.5``, ``icc:Display P3``,
    ``alpha:on_white``, ``frame:0/12``, ``format:MPO``, and notes on the file:
    ``exif:unreadable``, ``decoder:...`` with a decoder's warning. Raises :class:`MediaError`:
    ``parse.truncated``, ``execution.decode`` or, for a picture beyond ``max_pixels``,
    ``execution.out_of_memory``.
    """
    where = f"media.{id}" + (f" ({name})" if name else "")
    if not data:
        raise _media_error("parse.truncated", where, "the bytes of a picture", "0 bytes")
    with _pillow_strictly() as said:
        image = _open_header(data, where, max_pixels)
        try:
            changes, suffix = _file_facts(image, data), FORMATS[image.format or ""]
            pixels, changed = _decode(image, data)
            changes += [*changed, *_judged(said, image.format)]
        except MemoryError:
            raise
        except NotAPictureError as error:
            raise _media_error("execution.decode", where, "a picture", str(error)) from None
        except FileFault as fault:
            raise _damaged(data, where, fault, cut=fault.cut) from None
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
        changes=changes,
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


def read_file(path: Path, where: str = "file_name", hint: str = "") -> bytes:
    """The bytes of a regular file; all pictures on disk are read here.

    Raises :class:`ToolFailure` with ``where`` as its path: ``reference.no_such_file``,
    ``reference.wrong_kind`` for a folder, pipe, socket or device, ``execution.out_of_memory``
    beyond :data:`MAX_FILE_BYTES`, and ``execution.decode`` for a file that cannot be read.
    """
    expected = f"a regular file named {short_repr(path.name, 80)!r}"
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                most = f"{expected} of at most {MAX_FILE_BYTES / 1e6:g} MB"
                raise fail("execution.out_of_memory", where, most, f"{size / 1e6:.0f} MB")
            return file.read()
    except ValueError as error:  # a name that no file can have
        raise fail("reference.no_such_file", where, expected, error, hint) from error
    except OSError as error:
        code = _FILE_ERRORS.get(error.errno or 0, "execution.decode")
        got = (error.strerror or str(error)).removeprefix("expected a regular file, got ")
        raise fail(code, where, expected, got, hint) from error


@contextmanager
def _pillow_strictly() -> Iterator[list[warnings.WarningMessage]]:
    """Pillow with its warnings recorded, without its own size limit, and without its option to fill
    in missing data.

    These settings are process-wide in Pillow, hence the lock.
    """
    with _pillow_lock, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        try:
            yield said
        finally:
            Image.MAX_IMAGE_PIXELS = limit
            ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def _judged(said: list[warnings.WarningMessage], picture_format: str | None) -> list[str]:
    """Notes on Pillow's warnings that affect no pixel; raises :class:`FileFault` for others."""
    notes = []
    for warning in said:
        text = str(warning.message)
        ours = Path(warning.filename).parent.name == "PIL"
        if not ours or issubclass(warning.category, DeprecationWarning):
            continue
        tag = _SKIPPED_TAG.search(text)
        metadata = picture_format != "TIFF" or (tag and int(tag[1]) >= _FIRST_PRIVATE_TAG)
        if not (_REMARKS.search(text) or (metadata and _EXIF_DAMAGE.search(text))):
            raise FileFault(text, cut="truncated" in text.lower())
        notes.append(f"decoder:{' '.join(text.split())[:100]}")
    return list(dict.fromkeys(notes))


def _open_header(data: bytes, where: str, max_pixels: int | None) -> Image.Image:
    """The image with only its header read; refuses sizes beyond the limits."""
    Image.init()  # all plugins at once: asking for a format that is not loaded yet is a KeyError
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except (UnidentifiedImageError, *_DECODE_ERRORS) as error:
        _check_unopened(data, where)
        if any(data.startswith(mark) for mark in _ENDINGS):
            raise _damaged(data, where, "its header cannot be read") from None
        if not isinstance(error, UnidentifiedImageError):
            raise _damaged(data, where, error) from None
        kinds = ", ".join(FORMATS)
        expected, got = f"a picture ({kinds})", f"{len(data)} bytes that are none"
        hint = next((hint for mark, hint in _NO_PICTURE if data.lstrip().startswith(mark)), "")
        raise _media_error("execution.decode", where, expected, got, hint) from None
    width, height = image.size
    cost = _DEARER.get(image.format or "", BYTES_PER_PIXEL)
    max_pixels = max_pixels or OPENING_BYTES // cost
    if width * height > max_pixels or max(width, height) > MAX_SIDE_PX:
        raise _media_error(
            "execution.out_of_memory",
            where,
            f"at most {max_pixels / 1e6:.3g} megapixels and {MAX_SIDE_PX} px a side",
            f"{width}x{height} px declared in {len(data)} bytes",
            f"nothing was decoded, which takes {width * height * cost / 1e9:.1f} GB;"
            " shrink it or cut it into tiles",
            fault_owner="media",
        )
    return image


def _check_unopened(data: bytes, where: str) -> None:
    """Raise :class:`MediaError` if the container itself gives the reason for the failure."""
    try:
        check_container(data)
    except FileFault as fault:
        raise _damaged(data, where, fault, cut=fault.cut) from None


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
    check_container(data)
    notes: list[str] = []
    converted: list[str] = []
    turned_by_pillow = 1
    plain: NDArray[np.uint8] | None = None
    if image.format in ("JPEG", "MPO"):
        plain, notes = decode_strictly(data, colour=image.mode == "RGB")
    if image.format == "TIFF":
        # Pillow turns TIFF by itself while loading and removes the tag
        turned_by_pillow = _orientation(image)[0]
        check_strips(image, data)
        load_strictly(image)
    elif plain is None:
        image.load()
    # only now: PNG may store the orientation after the pixels, and reading it loads them
    orientation, damaged = _orientation(image)
    if plain is not None and plain.shape[1::-1] == image.size and not _profile(image):
        pixels = plain
    else:
        pixels, converted = to_rgb8(image, white_16=image.format == "PPM")
    stated = turned_by_pillow if turned_by_pillow in _UPRIGHT else orientation
    changes = [f"{_ORIENTATION_CHANGE}{stated}"] if stated in _UPRIGHT else []
    if orientation in _UPRIGHT:
        swap, axes = _UPRIGHT[orientation]
        pixels = np.flip(pixels.transpose(1, 0, 2) if swap else pixels, axes)
        pixels = np.ascontiguousarray(pixels)
    return pixels, [*changes, *converted, *damaged, *notes]


def exif_orientation(facts: MediaFacts) -> int:
    """The EXIF orientation applied when the picture was opened; 1 without one."""
    found = [change for change in facts.changes if change.startswith(_ORIENTATION_CHANGE)]
    return int(found[0].removeprefix(_ORIENTATION_CHANGE)) if found else 1


def turned_upright(box: Box, orientation: int) -> Box:
    """``box``, fractions of a picture as stored, on the upright picture.

    >>> turned_upright((0.0, 0.25, 0.5, 1.0), 6)
    (0.0, 0.0, 0.75, 0.5)
    """
    swap, axes = _UPRIGHT.get(orientation, (False, ()))
    x0, y0, x1, y1 = (box[1], box[0], box[3], box[2]) if swap else box
    if 1 in axes:
        x0, x1 = 1 - x1, 1 - x0
    if 0 in axes:
        y0, y1 = 1 - y1, 1 - y0
    return (x0, y0, x1, y1)


def _profile(image: Image.Image) -> str:
    """The name of the colour profile, if it changes colours."""
    return profile_of(image.info.get("icc_profile"), image.mode).name


def _orientation(image: Image.Image) -> tuple[int, list[str]]:
    """The EXIF orientation (1 without one), and a note if the EXIF data cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DECODE_ERRORS:  # damaged EXIF does not make the picture unusable
        return 1, ["exif:unreadable"]
    return (value if isinstance(value, int) else 1), []


def _damaged(data: bytes, where: str, error: object, *, cut: bool | None = None) -> MediaError:
    """The error for a file that starts like a picture and cannot be decoded: truncated (``cut``) or
    damaged; None decides by the end of the file.
    """
    if cut is None:
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


#: How files begin that stand where a picture should be -> what to do.
_NO_PICTURE = (
    (b"version https://git-lfs", "this is a Git LFS pointer: run git lfs pull"),
    (b"<svg", "this is a drawing: export it as PNG"),
    (b"<", "this is a web page or another text, saved by a failed download: fetch the file again"),
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
