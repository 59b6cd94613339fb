"""Pictures for reports: roots, observations, boxes drawn on roots.

A broken or missing member becomes a grey field with a message, because a report must show
the rest. Not here: the colours of depth (:mod:`pearl_data.report.depth_colours`) and layout
(:mod:`pearl_data.report.figure`, :mod:`pearl_data.html`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pearl_data.report.depth_colours import (
    Ends,
    colour_depth,
    ends_of,
    is_log,
    limits_of,
    mark_ends,
    with_legend,
)
from pearl_data.report.type_setting import face
from pearl_data.report.view import CallView
from pearl_tools.errors import ToolFailure
from pearl_tools.media import open_image
from pearl_tools.types import MediaRecord

#: A depth map larger than this is refused, as pictures are by ``open_image``.
MAX_DEPTH_BYTES = 256 << 20

_DEPTH_WIDTH = 640
_LEAST_SIDE = 256


class Shown(NamedTuple):
    """A picture to show; ``problem`` says why it is only a grey field, and is empty otherwise.

    ``ends`` are the nearest and farthest place of a depth map; draw them last, at the final size.
    ``log`` says that its colours follow a logarithm.
    """

    image: Image.Image
    problem: str = ""
    ends: Ends | None = None
    log: bool = False

    @property
    def scale(self) -> str:
        """What colours and words mean, for a caption; empty where both are on one scale."""
        return "colours on a log scale, words on a linear one" if self.log else ""


def show_medium(
    medium: MediaRecord, members: Mapping[str, bytes], *, of: tuple[int, int] | None = None
) -> Shown:
    """The pixels of ``medium`` as RGB: depth in colour (bright = near), the others as they are.

    ``of`` is the width and height of the picture that a depth map is of (:func:`size_of_parent`):
    the map of a network that works on squares is stretched back to that shape.
    """
    name = medium.name_in_sample
    if not name or name not in members:
        return _missing(medium, "the picture is not stored here")
    try:
        if medium.kind == "depth":
            depth = _load_depth(members[name])
            limits = limits_of(depth)
            coloured = _in_shape(Image.fromarray(colour_depth(depth, limits)), of)
            return Shown(coloured, ends=ends_of(depth), log=is_log(limits))
        opened = open_image(members[name], id=medium.id, name=name)
        return Shown(Image.fromarray(np.asarray(opened.pixels, dtype=np.uint8)))
    except ToolFailure as failure:
        return _missing(medium, str(failure.error))
    except (ValueError, EOFError, OSError, MemoryError) as error:
        return _missing(medium, str(error))


def size_of_parent(medium: MediaRecord, media: Sequence[MediaRecord]) -> tuple[int, int] | None:
    """Width and height of what ``medium`` was made from; None where ``media`` do not hold it."""
    return next(((m.width, m.height) for m in media if m.id == medium.parent), None)


def depth_for_eyes(shown: Shown) -> Image.Image:
    """A depth map as :func:`show_medium` gives it, at least :data:`_DEPTH_WIDTH` pixels wide, its
    ends marked and the legend under it.
    """
    scale = max(1.0, _DEPTH_WIDTH / shown.image.width)
    size = (round(shown.image.width * scale), round(shown.image.height * scale))
    return with_legend(mark_ends(shown.image.resize(size), shown.ends), log=shown.log)


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


def _in_shape(picture: Image.Image, of: tuple[int, int] | None) -> Image.Image:
    """``picture`` with the ratio of sides of ``of``, neither side smaller than it was; as it is
    where that differs by a pixel only.
    """
    if of is None or abs(picture.width * of[1] / (picture.height * of[0]) - 1) < 0.01:
        return picture
    # tiny maps are enlarged, or rounding would be seen
    scale = max(picture.width / of[0], picture.height / of[1], min(1, _LEAST_SIDE / max(of)))
    size = (max(1, round(of[0] * scale)), max(1, round(of[1] * scale)))
    return picture.resize(size, Image.Resampling.BILINEAR)


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
