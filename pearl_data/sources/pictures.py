"""Reading the pictures that annotations name: inside one folder only, size checked."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from pearl_tools.errors import fail
from pearl_tools.media import open_image
from pearl_tools.types import Medium


def pictures_sha256(folder: Path, names: Iterable[str | None]) -> str:
    """Hash of which pictures are there, by name and size in bytes: a run that goes on with other
    ones would mix two sets. What is inside is hashed when a picture is read.
    """
    digest = hashlib.sha256()
    for name in sorted({name for name in names if name}):
        try:
            size = (folder / name).stat().st_size
        except (OSError, ValueError):
            size = -1
        digest.update(f"{name!r} {size}\n".encode())
    return digest.hexdigest()


def read_picture(
    folder: Path, name: str | None, *, medium_id: str = "i0", size: tuple[int, int] | None = None
) -> Medium:
    """Picture ``name`` in ``folder``, opened as the medium ``medium_id``.

    ``size`` is the (width, height) that the annotation was made on: a picture of another size would
    put every box elsewhere, so it is refused. Raises ``ToolFailure`` with a coded error for a name
    that leaves the folder, a missing or unreadable file, or another size.
    """
    if not name:
        raise fail("schema.missing_field", "file_name", "the name of a picture", "nothing")
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or "\\" in name:
        raise fail("parse.unsafe_member", "file_name", "a path inside the folder", name)
    path = folder / relative
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        # a file that is there but cannot be read is a fault of the medium, not of the name
        unreadable = isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EIO)
        code = "execution.decode" if unreadable else "reference.no_such_file"
        hint = f"looked in {folder}; pass the right folder as --images"
        got = getattr(error, "strerror", None) or str(error)
        raise fail(code, "file_name", f"a picture named {name!r}", got, hint) from error
    medium = open_image(data, id=medium_id, name=name)
    turned = [change for change in medium.facts.changes if change.startswith("exif_orientation")]
    if turned:
        raise fail(
            "semantic.ambiguous",
            "file_name",
            "a picture stored upright, so that boxes can mean only one thing",
            f"{name} with {turned[0]}",
            "store it upright and check its boxes: they may be meant before or after the rotation",
        )
    got = (medium.facts.width, medium.facts.height)
    if size is not None and got != size:
        raise fail(
            "result.size_mismatch",
            "file_name",
            f"{size[0]}x{size[1]} as annotated",
            f"{got[0]}x{got[1]} after EXIF orientation",
            "use the pictures that were annotated",
        )
    return medium
