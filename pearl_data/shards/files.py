"""Files that appear under their name only when whole: temporary name, fsync, rename, fsync."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from pearl_tools.files import open_regular

_CHUNK = 1 << 20


class WholeFile:
    """A file being written beside its final ``path``, hashed on the way.

    :meth:`commit` makes it durable and gives it its name; leaving the ``with`` block or
    :meth:`discard` without a commit removes it. Several may write the same ``path`` at once if each
    says another word ``apart``: the last to commit counts.
    """

    def __init__(self, path: Path, *, apart: str = "") -> None:
        self.path = path
        self.temporary = temporary_name(path.with_name(f"{path.name}.{apart}") if apart else path)
        self.size = 0
        self._hash = hashlib.sha256()
        self._stream = self.temporary.open("wb", buffering=_CHUNK)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    def write(self, data: bytes) -> None:
        """Append ``data``; an ``OSError`` such as a full disk names the file."""
        with naming(self.path):
            self._stream.write(data)
        self._hash.update(data)
        self.size += len(data)

    def commit(self) -> str:
        """Make the file durable under its name; its sha256."""
        with naming(self.path):
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            self.temporary.replace(self.path)
            sync_folder(self.path.parent)
        return self._hash.hexdigest()

    def discard(self) -> None:
        """Remove what was written, unless it was committed."""
        if not self._stream.closed:
            with suppress(OSError):  # the unwritten rest no longer matters
                self._stream.close()
            self.temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path, doing: str = "") -> Iterator[None]:
    """Add ``path``, and the operation, to an ``OSError`` that names no file.

    Errors of opening name the file; those of writing, flushing and closing (a full disk) do not.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        why = error.strerror or str(error)
        told = f"{why} ({doing})" if doing else why
        raise OSError(error.errno, told, str(path)) from error


def write_whole(path: Path, data: bytes) -> str:
    """Write ``data`` to ``path`` so that a crash leaves the old file or the new; its sha256."""
    with WholeFile(path) as file:
        file.write(data)
        return file.commit()


def temporary_name(path: Path) -> Path:
    """The name that ``path`` has while it is written."""
    return path.with_name(f".{path.name}.tmp")


def sync_folder(folder: Path) -> None:
    """Make renames and removals in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_sha256(path: Path) -> str:
    """The sha256 of the bytes of ``path``."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
