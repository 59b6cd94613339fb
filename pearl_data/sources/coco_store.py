"""A COCO or LVIS annotation file as a store; any process can read one picture's annotations.

The store is a temporary SQLite file, made once (:mod:`.coco_reading`) and removed with the process
that made it. It keeps unusable items too. Not here: checks of a box (:mod:`.coco`).
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterator
from typing import Any

import msgspec

from pearl_data.sources.base import Rejected
from pearl_data.sources.coco_items import Annotation, ImageEntry
from pearl_data.sources.kinds import Kind
from pearl_tools.errors import ToolError

SCHEMA = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    CREATE TABLE image (position INTEGER PRIMARY KEY, key TEXT, width REAL, height REAL, file TEXT,
        record BLOB);
    CREATE TABLE annotation (position INTEGER, image TEXT, x REAL, y REAL, w REAL, h REAL,
        area REAL, record BLOB);
    CREATE TABLE entry (place INTEGER PRIMARY KEY, position INTEGER);
    CREATE TABLE rejected (place INTEGER PRIMARY KEY, record BLOB);
    CREATE TABLE head (record BLOB);
"""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about the whole file.

    ``counts`` are (kind, attribute, value, count); with an empty attribute the number of things.
    ``kin`` are the broader and narrower kinds of each. ``notes`` are lines for the user.
    """

    sha256: str
    pictures: str
    images: int
    rejected: int
    kinds: list[Kind]
    kin: dict[str, list[str]]
    licences: dict[str, str]
    counts: list[tuple[str, str, str, int]]
    asked: list[str]
    notes: list[str]


class RejectedRecord(msgspec.Struct, frozen=True):
    """An item that belongs to no picture."""

    stem: str
    reason: ToolError
    record: dict[str, Any]


class CocoStore:
    """The store in the file ``path``, read only."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._db = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        weakref.finalize(self, self._db.close)
        (record,) = self._db.execute("SELECT record FROM head").fetchone()
        self.head = msgspec.msgpack.decode(record, type=Head)

    def images(self, first: int, number: int) -> list[ImageEntry]:
        """Up to ``number`` entries of pictures in the file's order, from the ``first`` on."""
        query = (
            "SELECT record FROM entry JOIN image USING (position)"
            " WHERE place > ? AND place <= ? ORDER BY place"
        )
        rows = self._db.execute(query, (first, first + number))
        return [msgspec.msgpack.decode(record, type=ImageEntry) for (record,) in rows]

    def of(self, image: ImageEntry) -> list[Annotation]:
        """The annotations of ``image`` under its id."""
        query = "SELECT record FROM annotation WHERE image = ? ORDER BY position"
        rows = self._db.execute(query, (image.id,))
        return [msgspec.msgpack.decode(record, type=Annotation) for (record,) in rows]

    def elsewhere(self, image: ImageEntry) -> list[tuple[ImageEntry, Annotation]]:
        """The annotations of the same picture under other entries."""
        query = (
            "SELECT image.record, annotation.record FROM image JOIN annotation"
            " ON annotation.image = image.key WHERE image.file = ? AND image.key != ?"
            " ORDER BY annotation.position"
        )
        return [
            (msgspec.msgpack.decode(a, type=ImageEntry), msgspec.msgpack.decode(b, type=Annotation))
            for a, b in self._db.execute(query, (image.file, image.id))
        ]

    def rejected(self, first: int, number: int) -> Iterator[Rejected]:
        """Up to ``number`` items that belong to no picture, from the ``first`` on."""
        query = "SELECT record FROM rejected WHERE place > ? AND place <= ? ORDER BY place"
        for (record,) in self._db.execute(query, (first, first + number)):
            entry = msgspec.msgpack.decode(record, type=RejectedRecord)
            yield Rejected(entry.stem, entry.reason, entry.record)
