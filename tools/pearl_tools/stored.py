"""A medium as it is kept: the files, and its record naming and hashing them.

Roots keep the bytes they came in; results are lossless PNG, depth maps float32 ``.npy`` with a grey
picture beside them. :func:`pearl_tools.pixels.decode_npy` and
:func:`pearl_tools.media.decode_member` read them back exactly.
"""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np

from pearl_tools.depth import depth_picture
from pearl_tools.pixels import encode_npy, encode_png
from pearl_tools.types import MediaRecord, Medium


def stored_form(medium: Medium) -> tuple[MediaRecord, dict[str, bytes]]:
    """The record with ``name_in_sample``, ``picture_in_sample`` and ``file_sha256`` set, and the
    files by name (``i0.jpg``, ``o1.png``, ``o2.npy`` with ``o2.png``).
    """
    record = medium.record
    picture = None
    if medium.file_bytes is not None:
        name, data = f"{record.id}{medium.file_suffix}", medium.file_bytes
        files = {name: data}
    elif record.kind == "depth":
        name, picture = f"{record.id}.npy", f"{record.id}.png"
        values = np.asarray(medium.pixels, dtype=np.float32)
        data = encode_npy(values)
        files = {name: data, picture: encode_png(depth_picture(values))}
    else:
        name, data = f"{record.id}.png", encode_png(medium.pixels)
        files = {name: data}
    named = msgspec.structs.replace(
        record,
        name_in_sample=name,
        picture_in_sample=picture,
        file_sha256=hashlib.sha256(data).hexdigest(),
    )
    return named, files
