"""Random access to the bytes of a tar without loading it: plain, or unpacked from gz.

The file is not memory-mapped: a map counts as memory of the process, and truncating the file would
end it. Not here: the tar format (:mod:`pearl_data.shards.tar`).
"""

from __future__ import annotations

import gzip
import os
import tempfile
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pearl_data.shards.files import naming
from pearl_tools.errors import BadInput
from pearl_tools.files import open_regular

#: A gz archive is unpacked into an unnamed file of at most so many bytes over all its members,
MAX_UNPACKED = 8 << 30
#: and at most so many times its own size: tars of pictures and records shrink 1 to 30 times.
MAX_RATIO = 100
#: Small archives may have a higher ratio.
FREE_UNPACKED = 64 << 20

_WINDOW = 1 << 14
_CHUNK = 1 << 20


class FileBuffer:
    """The bytes of an open file: ``buffer[start:stop]`` reads them, ``len`` is their number. It
    owns its file handle and may be used after a fork.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._handle = os.dup(stream.fileno())
        self._close = weakref.finalize(self, os.close, self._handle)
        self._size = os.fstat(self._handle).st_size
        self._start, self._window = 0, b""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        wanted = max(0, stop - start)
        if wanted > _WINDOW // 2:
            return self._read(start, wanted)
        within = start - self._start
        if within < 0 or within + wanted > len(self._window):
            self._start, self._window = start, self._read(start, _WINDOW)
            within = 0
        return self._window[within : within + wanted]

    def close(self) -> None:
        """Let go of the file."""
        self._close()

    def _read(self, start: int, size: int) -> bytes:
        """``size`` bytes from ``start``; fewer at the end of the file."""
        data = os.pread(self._handle, size, start)
        parts = [data]
        while data and (size := size - len(data)) > 0:  # one call gives at most 2 GiB
            start += len(data)
            data = os.pread(self._handle, size, start)
            parts.append(data)
        return b"".join(parts) if len(parts) > 1 else parts[0]


Buffer = bytes | FileBuffer


def open_file(path: Path) -> FileBuffer:
    """The bytes of tar ``path``, unpacked if it is a gz; the caller closes it.

    Raises ``BadInput`` naming ``path`` if it cannot be read or unpacked, is not a regular file, or
    unpacks to more than :data:`MAX_UNPACKED` or :data:`MAX_RATIO` allow.
    """
    try:
        stream: IO[bytes] = open_regular(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        with stream:
            if stream.read(2) != b"\x1f\x8b":
                return FileBuffer(stream)
            stream.seek(0)
            with _unpacked(stream, path) as unpacked:
                return FileBuffer(unpacked)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from error


@contextmanager
def open_buffer(path: Path) -> Iterator[FileBuffer]:
    """:func:`open_file` as a context manager."""
    buffer = open_file(path)
    try:
        yield buffer
    finally:
        buffer.close()


def _unpacked(stream: IO[bytes], path: Path) -> IO[bytes]:
    """An unnamed file with the unpacked gz members of ``stream``."""
    most = min(MAX_UNPACKED, max(FREE_UNPACKED, MAX_RATIO * os.fstat(stream.fileno()).st_size))
    size = 0
    out = tempfile.TemporaryFile(prefix="pearl-")  # noqa: SIM115 - the caller closes it
    try:
        with gzip.GzipFile(fileobj=stream) as unpacker:
            while data := unpacker.read1(_CHUNK):
                size += len(data)
                _require_at_most(most, size, path)
                with naming(Path(tempfile.gettempdir()), f"unpacking {path.name}"):
                    out.write(data)
        out.flush()
    except (zlib.error, EOFError, gzip.BadGzipFile) as error:
        out.close()
        raise BadInput(f"{path}: expected a whole gz file, got {error}") from error
    except BaseException:
        out.close()
        raise
    return out


def _require_at_most(most: int, size: int, path: Path) -> None:
    if size > most:
        raise BadInput(
            f"{path}: expected at most {most} bytes unpacked ({MAX_RATIO} times its size), got "
            "more; if the file is sound, unpack it with gunzip"
        )
