"""A disk that is full, or refuses otherwise, is one error that names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from pearl_train.errors import CannotWrite


@contextmanager
def writing(
    path: Path, remedy: str = "make room there, then run the same command again"
) -> Iterator[None]:
    """Inside, only ``path``, or files below it, are written: what the system refuses is a
    ``CannotWrite`` naming the file, with the ``remedy``.
    """
    try:
        yield
    except SafetensorError as error:
        reason = " ".join(str(error).replace("Error while serializing:", "").split())
        raise CannotWrite(f"{path}: cannot be written: {reason}", remedy=remedy) from error
    except OSError as error:
        named = error.filename or path
        reason = error.strerror or " ".join(str(error).split())[:300]
        raise CannotWrite(f"{named}: cannot be written: {reason}", remedy=remedy) from error
