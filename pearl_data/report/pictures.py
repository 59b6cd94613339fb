"""Pictures to look at: roots, observations, depth in colour, boxes drawn on roots.

Pictures of broken or missing members become a grey field that says so, because a report must show
the rest. Left out: layout (:mod:`pearl_data.report.figure`, :mod:`pearl_data.report.html`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pearl_data.report.view import CallView
from pearl_tools.errors import ToolFailure
from pearl_tools.media import open_image
from pearl_tools.types import MediaRecord

#: A depth map larger than this is refused, as pictures are by ``open_image``.
MAX_DEPTH_BYTES = 256 << 20
#: Only these types take a text size, so the default face is always the scalable one.
Font = ImageFont.FreeTypeFont


class Shown(NamedTuple):
    """A picture to show; ``problem`` says why it is only a grey field, and is empty otherwise."""

    image: Image.Image
    problem: str = ""


def show_medium(medium: MediaRecord, members: Mapping[str, bytes]) -> Shown:
    """The pixels of ``medium`` as RGB: depth in colour (bright = near), the others as they are."""
    name = medium.name_in_sample
    if not name or name not in members:
        return _missing(medium, "the picture is not stored here")
    try:
        if medium.kind == "depth":
            return Shown(Image.fromarray(colour_depth(_load_depth(members[name]))))
        opened = open_image(members[name], id=medium.id, name=name)
        return Shown(Image.fromarray(np.asarray(opened.pixels, dtype=np.uint8)))
    except ToolFailure as failure:
        return _missing(medium, str(failure.error))
    except (ValueError, EOFError, OSError, MemoryError) as error:
        return _missing(medium, str(error))


def colour_depth(depth: NDArray[np.float32]) -> NDArray[np.uint8]:
    """``(h, w)`` relative inverse depth as ``(h, w, 3)`` RGB: dark violet = far, yellow = near.

    The range is stretched from the 1st to the 99th percentile of the finite values; values that are
    not finite are grey.
    """
    finite = np.isfinite(depth)
    if not finite.any():
        return np.full((*depth.shape, 3), 128, np.uint8)
    low, high = np.percentile(depth[finite], (1, 99))
    scaled = np.clip((np.nan_to_num(depth) - low) / max(float(high - low), 1e-12), 0, 1)
    colours = cv2.applyColorMap((255 * scaled).astype(np.uint8), cv2.COLORMAP_INFERNO)
    rgb = np.ascontiguousarray(colours[:, :, ::-1])
    rgb[~finite] = 128
    return rgb.astype(np.uint8)


def with_legend(picture: Image.Image, size: int = 16) -> Image.Image:
    """A depth picture with the bar from far to near under it."""
    bar = depth_bar(picture.width, size)
    out = Image.new("RGB", (picture.width, picture.height + bar.height + 4), "white")
    out.paste(picture, (0, 0))
    out.paste(bar, (0, picture.height + 4))
    return out


def depth_bar(width: int, size: int) -> Image.Image:
    """A bar ``width`` pixels wide from far to near, named at both ends in letters of ``size``."""
    font = face(size)
    out = Image.new("RGB", (width, round(1.3 * size)), "white")
    draw = ImageDraw.Draw(out)
    left, right = round(font.getlength("far ")), round(font.getlength(" near"))
    ramp = np.linspace(0, 1, max(width - left - right, 8), dtype=np.float32)[None]
    middle = round(0.65 * size)
    strip = Image.fromarray(np.repeat(colour_depth(ramp), max(size // 2, 2), axis=0))
    out.paste(strip, (left, middle - strip.height // 2))
    draw.text((0, middle), "far", "#555555", font, anchor="lm")
    draw.text((width, middle), "near", "#555555", font, anchor="rm")
    return out


def draw_boxes(
    picture: Image.Image, size_px: tuple[int, int], calls: Sequence[CallView], *, size: int = 0
) -> Image.Image:
    """A copy of ``picture`` with the box of each call in its colour and its number at the box.

    ``size_px`` is the width and height that the boxes are in; ``picture`` may be scaled. ``size``
    is that of the numbers' letters (default: by the size of the picture).
    """
    out = picture.copy()
    draw = ImageDraw.Draw(out)
    size = size or max(12, min(out.size) // 24)
    line = max(2, size // 5)
    scale_x, scale_y = out.width / size_px[0], out.height / size_px[1]
    taken: list[tuple[int, int]] = []
    for call in calls:
        if call.box_root is None:
            continue
        x0, y0, x1, y1 = call.box_root
        box = [x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y]
        draw.rectangle(
            [box[0] - line - 1, box[1] - line - 1, box[2] + line + 1, box[3] + line + 1],
            outline="white",
        )
        draw.rectangle(
            [box[0] - line, box[1] - line, box[2] + line, box[3] + line],
            outline=call.colour,
            width=line,
        )
        # The number stands left above its box, inside the picture, beside numbers already there.
        tag = round(1.3 * size)
        left = min(max(round(box[0]) - line, 0), out.width - tag)
        top = round(box[1]) - line - tag
        if top < 0:
            top = min(round(box[3]) + line, out.height - tag)
        while any(abs(left - x) < tag and abs(top - y) < tag for x, y in taken):
            left += tag
        taken.append((left, top))
        draw.rectangle([left, top, left + tag, top + tag], fill=call.colour)
        draw.text(
            (left + tag / 2, top + tag / 2), str(call.number), "white", face(size), anchor="mm"
        )
    return out


def encode(picture: Image.Image, form: str, **options: int) -> bytes:
    """``picture`` as PNG or JPEG bytes."""
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def face(size: float) -> Font:
    """Pillow's own scalable face, so that figures look the same on every machine."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _load_depth(data: bytes) -> NDArray[np.float32]:
    if len(data) > MAX_DEPTH_BYTES:
        raise ValueError(f"expected at most {MAX_DEPTH_BYTES} bytes of depth, got {len(data)}")
    depth = np.load(io.BytesIO(data), allow_pickle=False)
    if depth.ndim != 2 or depth.dtype != np.float32:
        raise ValueError(f"expected float32 of two dimensions, got {depth.dtype} {depth.shape}")
    return np.asarray(depth, dtype=np.float32)


def _missing(medium: MediaRecord, problem: str) -> Shown:
    scale = min(1.0, 640 / max(medium.width, medium.height))
    size = (max(1, round(medium.width * scale)), max(1, round(medium.height * scale)))
    return Shown(Image.new("RGB", size, "#d8d8d8"), problem)
