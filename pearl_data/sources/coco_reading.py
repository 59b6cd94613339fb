"""Reading a COCO or LVIS annotation file once, as a stream, into a :class:`.CocoStore`.

Each item becomes a small record, whatever the file's size; then what only the whole file tells is
checked: which names are one kind, which file each picture is, whether the boxes are in pixels. Ids
are compared as text, so that 1, 1.0 and "1" are one; annotations need none. Left out: single boxes.
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
    ImageEntry,
    read_annotation,
    read_category,
    read_image,
    read_item,
    record_of,
)
from pearl_data.sources.coco_store import SCHEMA, CocoStore, Head, RejectedRecord
from pearl_data.sources.converting import open_as_coco
from pearl_data.sources.facts import fold
from pearl_data.sources.foreign import refuse_foreign
from pearl_data.sources.json_lists import read_lists
from pearl_data.sources.keys import slug
from pearl_data.sources.kinds import Kind, id_text, part_names, plain_name, related
from pearl_data.sources.pictures import PictureFolder, name_parts, read_picture
from pearl_tools.errors import BadInput, ToolError, ToolFailure, listed, tool_error
from pearl_tools.files import open_regular

_LISTS = ("images", "annotations", "categories")
_TREES = ("hierarchy", "category_hierarchy", "taxonomy")
_MEGABYTE = 10**6
#: Smaller files are read before anyone looks at a progress line.
_LARGE_BYTES = 20 * _MEGABYTE
_BATCH = 5_000
#: Pictures without a size in the file that are opened to judge the unit of its boxes.
_MEASURED = 50
_PREFIX, _SUFFIX = "pearl-annotations-", ".sqlite"
#: Another unit is sure if it fits so large a share of a file's boxes, and ours only so small a one.
_NEARLY_ALL, _TOO_FEW = 0.95, 0.9
_UNITS = """
    SELECT count(*), count(width),
        total(max(abs(x), abs(y), w, h) <= 1),
        total(width > 0 AND x >= -1 AND y >= -1 AND x + w <= width + 1 AND y + h <= height + 1),
        total(width > 0 AND x >= -1 AND y >= -1 AND w > x AND h > y AND w <= width + 1
            AND h <= height + 1),
        total(abs(area - w * h) <= 0.02 * area),
        total(abs(area - (w - x) * (h - y)) <= 0.02 * area)
    FROM annotation JOIN image ON image.key = annotation.image WHERE w > 0 AND h > 0
"""


def prepare(
    path: Path, pictures: PictureFolder, attributes: Sequence[str] | None = None
) -> CocoStore:
    """Reads ``path`` once, with progress on stderr if it is large; the store's file is removed with
    the result. ``attributes`` are those to ask about; None chooses.

    Raises ``BadInput`` if the file is not COCO, cannot be read, or has its boxes in another unit,
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
    """A new temporary file, locked while this process lives, and its path. Those of processes that
    were killed are removed: nothing locks them any more.
    """
    for stale in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError), open_regular(stale) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stale.unlink()
    handle, file = tempfile.mkstemp(_SUFFIX, _PREFIX)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle, file


def _remove(handle: int, path: str, owner: int) -> None:
    """Removes ``path`` in the process that made it; one forked from it still has its own use."""
    if os.getpid() == owner:
        Path(path).unlink(missing_ok=True)
        os.close(handle)


class _Reading:
    """One pass over the file, then what can be said only after it."""

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
        """Streams the file into the store."""
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
        """What a file is that cannot be read on: another tool's by name, if it begins like one."""
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
        """A hierarchy that cannot be read says nothing."""
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
        """A licence that cannot be read is unknown, which costs nothing."""
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
        """Everything that needs the whole file: kinds, pictures, units, what is asked."""
        self._db.execute("CREATE INDEX by_image ON annotation (image)")
        self._db.execute("CREATE INDEX by_key ON image (key)")
        kinds, notes = self._kinds()
        self._images_once()
        pictures = self._find_pictures(notes)
        self._check_units()
        self._db.execute("CREATE INDEX by_file ON image (file)")
        self._same_file()
        self._db.execute(
            "INSERT INTO entry SELECT row_number() OVER (ORDER BY position), position FROM image"
        )
        self._orphans()
        asked, not_asked = self._attributes.chosen(attributes)
        reasons: dict[str, list[str]] = {}
        for name, reason in not_asked.items():
            reasons.setdefault(reason, []).append(name)
        notes += [f"attributes not asked ({why}): {listed(n, 20)}" for why, n in reasons.items()]
        for name, values in self._attributes.no_values(asked).items():
            notes.append(f"values of {name} that say nothing: {listed(values, 10)}")
        by_id = {kind.id: kind.name for kind in kinds}
        counts: Counter[tuple[str, str, str]] = Counter()
        for (category, name, value), number in self._counts.items():
            if category in by_id and (not name or name in asked):
                counts[by_id[category], name, value] += number
        licences = Counter(key for key, _ in self._licences)
        head = Head(
            sha256=self._digest.hexdigest(),
            pictures=pictures,
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
        """The categories with one id each; names that differ in case or spacing only are one."""
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
            kinds.append(Kind(key, plain_name(first[1]), parts))
        return kinds, notes

    def _check_units(self) -> None:
        """Raises ``BadInput`` if the file's boxes are no [x, y, width, height] in pixels."""
        boxes, known, fractions, fit, corners, area_fits, area_corners = self._db.execute(
            _UNITS
        ).fetchone()
        got = ""
        if boxes and fractions >= _NEARLY_ALL * boxes:
            got = f"fractions: {fractions:.0f} of {boxes} boxes lie within 0..1"
            hint = "multiply x and width by the picture's width, y and height by its height"
        elif (
            boxes
            and area_fits < boxes / 2
            and (
                (corners >= _NEARLY_ALL * known and fit <= _TOO_FEW * known and known)
                or area_corners >= _NEARLY_ALL * boxes
            )
        ):
            got = (
                f"corners [x0, y0, x1, y1]: read so, {corners:.0f} of {known} boxes lie in their "
                f"pictures and {area_corners:.0f} have the area that the file says; read as "
                f"[x, y, width, height], {fit:.0f} and {area_fits:.0f}"
            )
            hint = "write x1 - x0 and y1 - y0 as width and height"
        if got:
            raise BadInput(
                f"{self._path}: annotations[].bbox: expected [x, y, width, height] in pixels, got "
                f"{got} [geometry.wrong_unit]; {hint}"
            )

    def _images_once(self) -> None:
        """An entry given twice counts once; entries that share an id and differ mean nothing."""
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

    def _find_pictures(self, notes: list[str]) -> str:
        """Finds the file of every entry; returns a hash of which pictures are there."""
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
        """Notes the size of a picture that the file does not say, to judge its boxes' unit."""
        with contextlib.suppress(ToolFailure):
            facts = read_picture(self._pictures, path, frame="upright").facts
            sql = "UPDATE image SET width = ?, height = ? WHERE position = ?"
            self._db.execute(sql, (facts.width, facts.height, position))

    def _same_file(self) -> None:
        """Refuses entries that name different pictures of which only one is there."""
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

    def _orphans(self) -> None:
        """Annotations whose picture the file does not have go to the rejected ones."""
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


def _not_found(entry: ImageEntry, error: ToolFailure | OSError) -> ToolError:
    where = f"images[{entry.position}].file_name"
    if isinstance(error, ToolFailure):
        return msgspec.structs.replace(error.error, path=where)
    expected, got = f"a picture named {entry.name!r}", error.strerror or str(error)
    return tool_error("reference.no_such_file", where, expected, got)
