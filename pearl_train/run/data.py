"""The data set that somebody names: opened, or refused as the wrong argument that it is.

Whatever command it is given to, a place that holds no data set is misuse, told in the same words. A
data set that is damaged is not: that is :class:`~pearl_data.shards.DatasetReader`'s to say.
"""

from __future__ import annotations

from pathlib import Path

from pearl_data.shards import DatasetReader
from pearl_data.shards.manifest import MANIFEST
from pearl_tools.errors import UsageError


def expect_dataset(path: Path) -> None:
    """Raises ``UsageError`` unless ``path`` is a dataset folder or a file, which may be a tar."""
    if path.is_file() or (path / MANIFEST).is_file():
        return
    found = "a folder without one" if path.is_dir() else "nothing there"
    raise UsageError(
        f"{path}: expected a dataset folder with {MANIFEST}, or a tar, got {found}; "
        "pearl-data synth makes one"
    )


def open_dataset(
    path: Path, *, check: bool = True, allow_unfinished: bool = False
) -> DatasetReader:
    """The samples of ``path``; raises ``UsageError`` if it is not a data set, ``BadInput`` for a
    damaged one, and for one whose run has not ended. ``check`` and ``allow_unfinished``: as for the
    reader.
    """
    expect_dataset(path)
    return DatasetReader(path, check=check, allow_unfinished=allow_unfinished)
