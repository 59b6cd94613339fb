"""The pictures of an annotation file: one entry per picture, matched with its file.

Not here: reading them to ask about them (:mod:`.coco`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from typing import Any, NamedTuple

import msgspec

from pearl_data.sources.coco_items import ImageEntry
from pearl_data.sources.pictures import PictureFolder, name_parts, read_picture
from pearl_tools.errors import ToolError, ToolFailure, listed, tool_error

_BATCH = 5_000
#: Most pictures without a size in the file that are opened to determine the unit of the boxes.
_MEASURED = 50


class FoundPictures(NamedTuple):
    """A hash of the names and sizes in bytes of the pictures found, and notes for the user."""

    sha256: str
    notes: list[str]


def find_pictures(db: sqlite3.Connection, pictures: PictureFolder) -> FoundPictures:
    """Find the file of every entry in the table ``image`` and store its path, or the entry's error;
    fill the table ``entry`` with their order.
    """
    finding = _Finding(db, pictures)
    finding.images_once()
    notes: list[str] = []
    sha256 = finding.find_pictures(notes)
    db.execute("CREATE INDEX by_file ON image (file)")
    finding.same_file()
    db.execute(
        "INSERT INTO entry SELECT row_number() OVER (ORDER BY position), position FROM image"
    )
    return FoundPictures(sha256, notes)


class _Finding:
    def __init__(self, db: sqlite3.Connection, pictures: PictureFolder) -> None:
        self._db, self._pictures = db, pictures

    def images_once(self) -> None:
        """Merge identical entries; reject entries that share an id and differ."""
        twice = self._db.execute(
            "SELECT key FROM image GROUP BY key HAVING count(*) > 1"
        ).fetchall()
        for (key,) in twice:
            entries = self._entries("key = ?", key)
            first = entries[0]
            if all(msgspec.structs.replace(e, position=first.position) == first for e in entries):
                for entry in entries[1:]:
                    self._db.execute("DELETE FROM image WHERE position = ?", (entry.position,))
                continue
            for entry in entries:
                path, expected = f"images[{entry.position}].id", "an id that no other image has"
                self._fault(entry, tool_error("reference.duplicate_id", path, expected, key))

    def _entries(self, where: str, value: Any, most: int = -1) -> list[ImageEntry]:
        query = f"SELECT record FROM image WHERE {where} ORDER BY position LIMIT {most}"  # noqa: S608 - our own text
        rows = self._db.execute(query, (value,))
        return [msgspec.msgpack.decode(record, type=ImageEntry) for (record,) in rows]

    def _fault(self, entry: ImageEntry, fault: ToolError) -> None:
        self._save(msgspec.structs.replace(entry, fault=entry.fault or fault))

    def _save(self, entry: ImageEntry) -> None:
        self._db.execute(
            "UPDATE image SET file = ?, record = ? WHERE position = ?",
            (entry.file, msgspec.msgpack.encode(entry), entry.position),
        )

    def find_pictures(self, notes: list[str]) -> str:
        """Find the file of every entry; returns a hash of the pictures found."""
        digest, by_tail, measured, last = hashlib.sha256(), 0, 0, -1
        while entries := self._entries("position > ?", last, _BATCH):
            last = entries[-1].position
            for entry in entries:
                size = -1
                try:
                    path = self._pictures.find(entry.name)
                    facts = os.stat(f"{self._pictures.root}/{path}")  # noqa: PTH116 - of many
                except (ToolFailure, OSError) as error:
                    self._fault(entry, _not_found(entry, error))
                else:
                    size = facts.st_size
                    by_tail += path != entry.name
                    file = f"{facts.st_dev}:{facts.st_ino}"
                    self._save(msgspec.structs.replace(entry, path=path, file=file))
                    if None in (entry.width, entry.height) and measured < _MEASURED:
                        measured += 1
                        self._measure(entry.position, path)
                digest.update(f"{entry.name!r} {size}\n".encode())
        if by_tail:
            notes.append(f"pictures found by another spelling of their name: {by_tail}")
        return digest.hexdigest()

    def _measure(self, position: int, path: str) -> None:
        """Store the size of a picture that the file does not state; the unit check needs it."""
        with contextlib.suppress(ToolFailure):
            facts = read_picture(self._pictures, path, frame="upright").facts
            sql = "UPDATE image SET width = ?, height = ? WHERE position = ?"
            self._db.execute(sql, (facts.width, facts.height, position))

    def same_file(self) -> None:
        """Reject entries with different names that match the same file."""
        shared = self._db.execute(
            "SELECT file FROM image WHERE file NOT NULL GROUP BY file HAVING count(*) > 1"
        ).fetchall()
        for (file,) in shared:
            entries = self._entries("file = ?", file)
            parts = {e.position: name_parts(e.name or "")[-1] for e in entries}
            longest = max(parts.values(), key=len)
            if all(longest[-len(own) :] == own for own in parts.values()):
                continue
            names = listed([repr(entry.name) for entry in entries])
            for entry in entries:
                if entry.path != entry.name:
                    path, expected = f"images[{entry.position}].file_name", "a picture of its own"
                    got = f"{entry.path} for {names}"
                    self._fault(entry, tool_error("semantic.ambiguous", path, expected, got))


def _not_found(entry: ImageEntry, error: ToolFailure | OSError) -> ToolError:
    where = f"images[{entry.position}].file_name"
    if isinstance(error, ToolFailure):
        return msgspec.structs.replace(error.error, path=where)
    expected, got = f"a picture named {entry.name!r}", error.strerror or str(error)
    return tool_error("reference.no_such_file", where, expected, got)
