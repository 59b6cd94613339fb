"""Opens untrusted paths safely: only regular files, and only inside the given folder.

A FIFO would block forever, and a device may never end. Not here: the content of files.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from pearl_tools.errors import BadInput

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def open_regular(path: Path | str) -> BufferedReader:
    """The file ``path``, open for reading bytes.

    Raises ``OSError`` with the file's name if it cannot be opened or is not a regular file. Never
    waits for the writer of a FIFO.
    """
    _require_regular(path, Path(path).stat().st_mode)  # a device may act on being opened
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _require_regular(path, os.fstat(handle).st_mode)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path | str) -> bytes:
    """All bytes of the regular file ``path``; raises ``OSError`` as :func:`open_regular` does."""
    with open_regular(path) as stream:
        return stream.read()


def inside(folder: Path, name: str) -> Path:
    """``folder / name``, which must lie in ``folder`` after resolving links.

    Raises ``BadInput`` for a ``name`` that is absolute, has ``..`` in it, or passes a symbolic link
    that leads out of ``folder``. The file need not exist.

    >>> inside(Path("set"), "shards/000000.tar").as_posix()
    'set/shards/000000.tar'
    """
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise BadInput(f"{folder}: expected the name of a file in this folder, got {name!r}")
    whole = folder / path
    real = Path(os.path.realpath(whole))
    if not real.is_relative_to(os.path.realpath(folder)):
        raise BadInput(
            f"{whole}: expected a file in its own folder, got a symbolic link out of it; "
            "put a copy of the file there (cp -L)"
        )
    return whole


def is_regular_inside(folder: Path, name: str) -> bool:
    """True if ``name`` is a regular file in ``folder``."""
    try:
        return inside(folder, name).is_file()
    except BadInput:
        return False


def _require_regular(path: Path | str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        got = _KINDS.get(stat.S_IFMT(mode), "something else")
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, f"expected a regular file, got {got}", str(path))
