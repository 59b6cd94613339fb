"""Rows of a frame that need not fit in memory: they are stored in small Parquet files."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from pearl_data.shards.files import temporary_name

_ROWS = 1 << 13


class Spooled:
    """Rows with the columns of ``schema``, in the order in which they are added."""

    def __init__(self, schema: Mapping[str, type[pl.DataType]]) -> None:
        self.schema = dict(schema)
        self.height = 0
        self._folder = Path(tempfile.mkdtemp(prefix="pearl-"))
        self.close = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._parts: list[Path] = []
        self._rows: list[tuple[Any, ...]] = []

    def add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows."""
        before = len(self._rows)
        self._rows += rows
        self.height += len(self._rows) - before
        if len(self._rows) >= _ROWS:
            self._write()

    def lazy(self) -> pl.LazyFrame:
        """All rows as a lazy frame."""
        self._write()
        return pl.scan_parquet(self._parts)

    def frames(self) -> Iterator[pl.DataFrame]:
        """All rows, in batches of a few thousand."""
        self._write()
        return map(pl.read_parquet, self._parts)

    def write(self, path: Path) -> None:
        """Write all rows to one Parquet file; an ``OSError`` (a full disk) names it."""
        partial = temporary_name(path)
        try:
            with _writing(path):
                self.lazy().sink_parquet(partial)
                partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _write(self) -> None:
        if self._rows or not self._parts:
            part = self._folder / f"{len(self._parts):06d}.parquet"
            with _writing(part):
                frame = pl.DataFrame(self._rows, schema=self.schema, orient="row")
                frame.write_parquet(part)
            self._parts.append(part)
            self._rows = []


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Raise a system error that polars reports only as text as an ``OSError``."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        number = re.search(r"os error (\d+)", str(error))
        if not number:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
