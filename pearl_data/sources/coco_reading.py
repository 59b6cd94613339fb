"""Reads a COCO or LVIS annotation file once, as a stream, into a :class:`.CocoStore`.

Each item becomes a small record. Then the checks run that need the whole file: equal names of
kinds, the file of each picture, the unit of the boxes. Ids are compared as text, so that 1, 1.0 and
"1" are equal; annotations need no id. Not here: checks of single boxes (:mod:`.coco`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import tempfile
import weakref
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from pearl_data.progress import Progress
from pearl_data.sources.attributes import Attributes
from pearl_data.sources.coco_items import (
    Annotation,
    read_annotation,
    read_category,
    read_image,
    read_item,
    record_of,
)
from pearl_data.sources.coco_pictures import find_pictures
from pearl_data.sources.coco_store import SCHEMA, CocoStore, Head, RejectedRecord
from pearl_data.sources.coco_units import check_units
from pearl_data.sources.converting import open_as_coco
from pearl_data.sources.facts import fold
from pearl_data.sources.foreign import refuse_foreign
from pearl_data.sources.json_lists import read_lists
from pearl_data.sources.keys import slug
from pearl_data.sources.kinds import Kind, id_text, part_names, plain_name, related, role_of
from pearl_data.sources.pictures import PictureFolder
from pearl_tools.errors import BadInput, ToolError, listed, tool_error
from pearl_tools.files import open_regular

_LISTS = ("images", "annotations", "categories")
_TREES = ("hierarchy", "category_hierarchy", "taxonomy")
_MEGABYTE = 10**6
#: Smaller files are read without a progress line.
_LARGE_BYTES = 20 * _MEGABYTE
_BATCH = 5_000
_PREFIX, _SUFFIX = "pearl-annotations-", ".sqlite"


def prepare(
    path: Path, pictures: PictureFolder, attributes: Sequence[str] | None = None
) -> CocoStore:
    """Read ``path`` once, with progress on stderr if it is large. The store's file is removed with
    the returned store. ``attributes`` are those to ask about; None selects them automatically.

    Raises ``BadInput`` if the file is not COCO, cannot be read, or has boxes in another unit,
    ``UsageError`` if nothing has one of ``attributes``.
    """
    handle, file = _new_file()
    try:
        reading = _Reading(path, pictures, file)
        try:
            reading.read()
            reading.finish(attributes)
        finally:
            reading.close()
        store = CocoStore(file)
    except BaseException as error:
        _remove(handle, file, os.getpid())
        if not isinstance(error, sqlite3.Error):
            raise
        msg = f"{file}: cannot be written: {error}; set TMPDIR to a folder with more room"
        raise BadInput(msg) from error
    weakref.finalize(store, _remove, handle, file, os.getpid())
    return store


def _new_file() -> tuple[int, str]:
    """A new temporary file, locked while this process lives, and its path. Unlocked files of killed
    processes are removed.
    """
    for stale in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError), open_regular(stale) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stale.unlink()
    handle, file = tempfile.mkstemp(_SUFFIX, _PREFIX)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle, file


def _remove(handle: int, path: str, owner: int) -> None:
    """Remove ``path``, but only in the process that made it: a forked child may still use it."""
    if os.getpid() == owner:
        Path(path).unlink(missing_ok=True)
        os.close(handle)


class _Reading:
    """One pass over the file, then the checks that need the whole file."""

    def __init__(self, path: Path, pictures: PictureFolder, store: str) -> None:
        self._path, self._pictures = path, pictures
        self._stem = slug(path.name.removesuffix(".json").removesuffix(".coco"))
        self._db = sqlite3.connect(store)
        self._db.executescript(SCHEMA)
        self.close = self._db.close
        self._digest, self._bytes = hashlib.sha256(), 0
        self._attributes = Attributes()
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._categories: list[tuple[int, dict[str, Any]]] = []
        self._licences: Counter[tuple[str, str]] = Counter()
        self._trees: list[Any] = []
        self._other_visibility = False
        self._rows: list[tuple[Any, ...]] = []

    def read(self) -> None:
        """Stream the file into the store."""
        found: set[str] = set()
        readers = {
            "images": self._image,
            "annotations": self._annotation,
            "categories": self._category,
            "licenses": self._licence,
        }
        try:
            with open_as_coco(self._path) as stream:
                size = os.fstat(stream.fileno()).st_size
                label = f"reading {self._path.name}"
                progress = Progress(label, size // _MEGABYTE, "MB") if size > _LARGE_BYTES else None
                lists = read_lists(
                    stream, {*readers, *_TREES}, self._refused, partial(self._saw, progress)
                )
                with progress or nullcontext():
                    for name, index, text in lists:
                        if name in _TREES:
                            self._tree(text)
                        elif index >= 0:
                            readers[name](index, text)
                        elif name in _LISTS and text != b"null":
                            raise self._refused(f"{name}: expected a list")
                        if index >= 0:
                            found.add(name)
        except OSError as error:
            msg = f"--source coco:{self._path}: cannot be read: {error.strerror or error}"
            raise BadInput(msg) from error
        self._flush()
        if missing := [name for name in _LISTS if name not in found]:
            raise self._refused(f"expected {', '.join(_LISTS)}, got no {' and no '.join(missing)}")

    def _saw(self, progress: Progress | None, data: bytes) -> None:
        self._digest.update(data)
        self._bytes += len(data)
        if progress and self._bytes // _MEGABYTE > progress.done:
            progress.advance(self._bytes // _MEGABYTE - progress.done)

    def _refused(self, problem: str) -> BadInput:
        """The error for an unreadable file; names the tool that wrote it, if recognised."""
        with open_regular(self._path) as stream:
            refuse_foreign(stream.read(_LARGE_BYTES), self._path, "coco")
        return BadInput(
            f"{self._path}: not a COCO annotation file: {problem}; expected an object with "
            "images, categories and annotations"
        )

    def _image(self, index: int, text: bytes) -> None:
        fields, fault = read_item(text, "images", index)
        entry = read_image(index, fields, fault)
        if isinstance(entry, ToolError):
            self._reject("images", entry, fields)
            return
        record = msgspec.msgpack.encode(entry)
        sql = "INSERT INTO image VALUES (?, ?, ?, ?, NULL, ?)"
        self._db.execute(sql, (index, entry.id, entry.width, entry.height, record))

    def _annotation(self, index: int, text: bytes) -> None:
        fields, fault = read_item(text, "annotations", index)
        entries = read_annotation(index, fields, fault, self._attributes)
        if isinstance(entries, ToolError):
            self._reject("annotations", entries, fields)
            return
        for entry in entries:
            self._other_visibility |= 3 in (entry.keypoints or [])[2::3]
            box = entry.bbox if entry.numbers else (None,) * 4
            record = msgspec.msgpack.encode(entry)
            self._rows.append((index, entry.image, *box, entry.area, record))
            if entry.category is not None:
                self._counts[entry.category, "", ""] += 1
                for name, value in entry.attributes.items():
                    self._counts[entry.category, name, value] += 1
        if len(self._rows) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        self._db.executemany("INSERT INTO annotation VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._rows)
        self._rows.clear()

    def _tree(self, text: bytes) -> None:
        """Read the hierarchy of kinds; an unreadable one is ignored."""
        with contextlib.suppress(msgspec.DecodeError, ValueError, RecursionError):
            self._trees.append(msgspec.json.decode(text))

    def _category(self, index: int, text: bytes) -> None:
        fields, fault = read_item(text, "categories", index)
        fault = fault or read_category(index, fields)
        if fault is not None:
            self._reject("categories", fault, fields)
        else:
            self._categories.append((index, fields))

    def _licence(self, index: int, text: bytes) -> None:
        """Read a licence; an unreadable one counts as unknown."""
        fields, fault = read_item(text, "licenses", index)
        key = id_text(fields.get("id"))
        name = fields.get("name") or fields.get("url")
        if fault is None and key is not None and isinstance(name, str):
            self._licences[key, name] += 1

    def _reject(self, where: str, reason: ToolError, fields: dict[str, Any]) -> None:
        record = RejectedRecord(f"{self._stem}-{where}", reason, record_of(fields))
        self._db.execute(
            "INSERT INTO rejected (record) VALUES (?)", (msgspec.msgpack.encode(record),)
        )

    def finish(self, attributes: Sequence[str] | None) -> None:
        """Run the steps that need the whole file: kinds, pictures, units, attributes."""
        self._db.execute("CREATE INDEX by_image ON annotation (image)")
        self._db.execute("CREATE INDEX by_key ON image (key)")
        kinds, notes = self._kinds()
        found = find_pictures(self._db, self._pictures)
        notes += found.notes
        check_units(self._db, self._path)
        self._orphans()
        asked, not_asked = self._attributes.chosen(attributes)
        reasons: dict[str, list[str]] = {}
        for name, reason in not_asked.items():
            reasons.setdefault(reason, []).append(name)
        notes += [f"attributes not asked ({why}): {listed(n, 20)}" for why, n in reasons.items()]
        for name, values in self._attributes.no_values(asked).items():
            notes.append(f"values of {name} that mean no value: {listed(values, 10)}")
        by_id = {kind.id: kind.name for kind in kinds}
        counts: Counter[tuple[str, str, str]] = Counter()
        for (category, name, value), number in self._counts.items():
            if category in by_id and (not name or name in asked):
                counts[by_id[category], name, value] += number
        licences = Counter(key for key, _ in self._licences)
        head = Head(
            sha256=self._digest.hexdigest(),
            pictures=found.sha256,
            images=self._one("SELECT count(*) FROM image"),
            rejected=self._one("SELECT count(*) FROM rejected"),
            kinds=kinds,
            kin=related(kinds, (fields for _, fields in self._categories), self._trees),
            licences={key: name for key, name in self._licences if licences[key] == 1},
            counts=[(*key, number) for key, number in counts.items()],
            asked=asked,
            notes=notes,
        )
        self._db.execute("INSERT INTO head VALUES (?)", (msgspec.msgpack.encode(head),))
        self._db.commit()

    def _one(self, query: str) -> Any:
        return self._db.execute(query).fetchone()[0]

    def _kinds(self) -> tuple[list[Kind], list[str]]:
        """The categories by id; names that differ only in case or spacing are one kind."""
        by_id: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        for index, fields in self._categories:
            by_id.setdefault(str(id_text(fields["id"])), []).append((index, fields))
        kinds: list[Kind] = []
        notes: list[str] = []
        if self._other_visibility:  # AI Challenger's own: 1 visible, 2 hidden, 3 unknown
            notes.append("keypoints not used: a visibility of 3 is not COCO's (0 unknown, 1 hidden,"
                         " 2 visible)")  # fmt: skip
        spelled: dict[str, tuple[str, str]] = {}
        for key, same in by_id.items():
            if len({fold(fields["name"]) for _, fields in same}) > 1:
                for index, fields in same:
                    path = f"categories[{index}].id"
                    expected = "an id that no other of the categories has"
                    error = tool_error("reference.duplicate_id", path, expected, fields["id"])
                    self._reject("categories", error, fields)
                continue
            name = same[0][1]["name"]
            first = spelled.setdefault(fold(name), (key, name))
            if first != (key, name):
                notes.append(f"one kind: {first[1]!r} (id {first[0]}) and {name!r} (id {key})")
            parts = [] if self._other_visibility else part_names(same[0][1].get("keypoints"))
            kinds.append(Kind(key, plain_name(first[1]), parts, role_of(same[0][1])))
        for role, why in (("anything", "no kind of thing"), ("stuff", "no single things")):
            named = sorted({kind.name for kind in kinds if kind.role == role})
            if named:
                notes.append(f"categories not asked ({why}): {listed(named, 20)}")
        return kinds, notes

    def _orphans(self) -> None:
        """Reject annotations of pictures that the file does not list."""
        rows = self._db.execute(
            "SELECT record FROM annotation WHERE NOT EXISTS"
            " (SELECT 1 FROM image WHERE key = annotation.image) ORDER BY position"
        )
        for (record,) in rows:
            entry = msgspec.msgpack.decode(record, type=Annotation)
            path = f"annotations[{entry.position}].image_id"
            expected = "the id of an image of the file"
            error = tool_error("reference.unknown_medium", path, expected, entry.image)
            self._reject("orphan", error, msgspec.to_builtins(entry))
