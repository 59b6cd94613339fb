"""Existing questions: one JSON object per line, with the boxes of evidence for the answer.

    {"image": "a.jpg", "question": "...", "choices": ["red", "blue"], "answer": "red",
     "evidence": [{"bbox": [0.1, 0.2, 0.3, 0.4], "label": "the mug"}]}

``image`` may be ``images`` (a list, named i0, i1, ... in evidence); pictures beside those with
evidence are context. ``bbox`` is a fraction of its picture unless the row says ``"bbox_unit":
"pixel"``. ``role`` of an evidence is ``target`` (look closely; the default), ``pair`` (compare
distances) or ``region``. ``id``, ``dataset`` and ``licence`` are kept, and other columns as
``source.extra``. One array of rows is read, too. A row that cannot be used is rejected with its
reason and its place; :mod:`pearl_data.sources.rows` says what a row may be.
"""

from __future__ import annotations

import codecs
import hashlib
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from pearl_data.progress import Progress
from pearl_data.sources.base import Candidate, QuestionSettings, Rejected, Slot
from pearl_data.sources.foreign import foreign_row, refuse_foreign
from pearl_data.sources.keys import slug
from pearl_data.sources.pictures import (
    PictureFolder,
    annotated_size,
    pictures_sha256,
    read_picture,
    upright_box,
)
from pearl_data.sources.rows import Row, as_text, box_fraction, check_part, check_row, read_row
from pearl_data.trajectory import Evidence, Source, Task
from pearl_tools.errors import BadInput, ToolFailure, fail, tool_error
from pearl_tools.files import open_regular
from pearl_tools.strict_json import decode_error, decode_json
from pearl_tools.types import Medium

ROWS_PER_BLOCK = 8
#: Bytes read to recognise the format; a larger file is read with a progress line.
_HEAD_BYTES = 20_000_000


class JsonlSource:
    """A JSONL file and the folder of its pictures as a source of questions.

    Raises :class:`BadInput` for a file that cannot be read or does not hold rows.
    """

    def __init__(self, rows: Path, images: Path, settings: QuestionSettings) -> None:
        self.name = rows.name.removesuffix(".jsonl").removesuffix(".json")
        self.prepared: str | None = None
        self.notes: list[str] = []
        self._pictures, self._settings = PictureFolder(images), settings
        try:
            self._rows = _RowFile(rows)
        except OSError as error:
            msg = f"--source jsonl:{rows}: cannot be read: {error.strerror or error}"
            raise BadInput(msg) from error

    def blocks(self) -> int:
        """Blocks of :data:`ROWS_PER_BLOCK` rows."""
        return -(-len(self._rows) // ROWS_PER_BLOCK)

    def most_in_block(self) -> int:
        """A slot a row."""
        return ROWS_PER_BLOCK

    def config(self) -> dict[str, Any]:
        """The rows by content, the pictures by name and size."""
        return {
            "kind": "jsonl",
            "name": self.name,
            "sha256": self._rows.sha256,
            "pictures": pictures_sha256(self._pictures, self._picture_names()),
        }

    def _picture_names(self) -> Iterator[str]:
        for _, line in self._rows.read(0, len(self._rows)):
            try:
                row = msgspec.json.decode(line, type=dict[str, Any])
            except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
                continue  # the row is rejected when its turn comes
            named = row.get("images")
            names = named if isinstance(named, list) and named else [row.get("image")]
            yield from (name for name in names if isinstance(name, str) and name)

    def block(self, index: int) -> list[Slot]:
        """One slot per row."""
        first = index * ROWS_PER_BLOCK
        rows = self._rows.read(first, first + ROWS_PER_BLOCK)
        return [self._slot(number, line) for number, line in rows]

    def _slot(self, number: int, line: bytes) -> Slot:
        yield self._row(number, line)  # opened only when its turn comes

    def _row(self, number: int, line: bytes) -> Candidate | Rejected:
        stem, path = f"{slug(self.name)}-{number:06d}", f"line {number}"
        try:
            value = decode_json(line)
        except msgspec.DecodeError as error:
            reason = decode_error(error, path, "one JSON object")
            return Rejected(stem, reason, {"line": line.decode("utf-8", "replace")})
        if not isinstance(value, dict):
            reason = tool_error("schema.type", path, "one JSON object", value)
            return Rejected(stem, reason, {"line": value})
        try:
            row = read_row(value, path)
            check_row(row, path)
            roots = [self._opened(row, i, path) for i in range(len(row.pictures))]
            evidence = [self._evidence(row, i, roots, path) for i in range(len(row.evidence))]
        except ToolFailure as failure:
            return Rejected(stem, foreign_row(value, failure.error), value)
        task = Task(
            question=row.question,
            choices=[as_text(choice) for choice in row.choices],
            answer=as_text(row.answer),
            answer_type="choice" if row.choices else _answer_type(as_text(row.answer)),
            answer_source="annotation",
            family="given",
            evidence=evidence,
        )
        source = Source(
            dataset=row.dataset or self.name,
            row=str(number) if row.id is None else as_text(row.id),
            licence=row.licence,
            extra=row.extra,
        )
        return Candidate(stem, task, roots, source)

    def _opened(self, row: Row, index: int, path: str) -> Medium:
        """Picture ``index`` of a row; raises ``ToolFailure`` with the field that names it."""
        frame, name = self._settings.annotation_frame, row.pictures[index]
        try:
            return read_picture(self._pictures, name, medium_id=f"i{index}", frame=frame)
        except ToolFailure as failure:
            if failure.error.path != "file_name":
                raise
            where = f"{path}.images[{index}]" if row.images else f"{path}.image"
            raise ToolFailure(msgspec.structs.replace(failure.error, path=where)) from None

    def _evidence(self, row: Row, index: int, roots: list[Medium], path: str) -> Evidence:
        """Evidence ``index`` of a row, its box as fractions; raises ``ToolFailure``."""
        item = row.evidence[index]
        where = f"{path}.evidence[{index}]"
        position = int(item.media[1:])
        if position >= len(roots):
            expected = f"one of i0..i{len(roots) - 1}"
            raise fail("reference.unknown_medium", f"{where}.media", expected, item.media)
        facts, frame = roots[position].facts, self._settings.annotation_frame
        width, height = annotated_size(facts, frame)
        box = box_fraction(item.bbox, row.bbox_unit, width, height, f"{where}.bbox")
        check_part(box, f"{where}.bbox")
        upright = upright_box(box, facts, frame)
        return Evidence(media=item.media, label=item.label, bbox=upright, role=item.role)


class _RowFile:
    """The rows of a file, numbered from 1: its lines that are not blank, or the items of one array.
    Memory holds only the offsets of lines, so a file of lines may have any size.

    Raises ``OSError``, and :class:`BadInput` for a file of another tool.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._starts, self._numbers, self._items = array("Q"), array("Q"), list[bytes]()
        digest = hashlib.sha256()
        with open_regular(path) as stream:
            head = stream.read(_HEAD_BYTES)
            refuse_foreign(head.removeprefix(codecs.BOM_UTF8), path, "jsonl")
            if head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"[":
                self._items = _items((head + stream.read()).removeprefix(codecs.BOM_UTF8))
            stream.seek(0)
            size, place = os.fstat(stream.fileno()).st_size, 0
            large = size > _HEAD_BYTES
            progress = Progress(f"reading {path.name}", size // 10**6, "MB") if large else None
            for number, line in enumerate(stream, start=1):
                digest.update(line)
                if line.strip():
                    self._starts.append(place)
                    self._numbers.append(number)
                place += len(line)
                if progress and place // 10**6 > progress.done:
                    progress.advance(place // 10**6 - progress.done)
        self.sha256 = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._items or self._starts)

    def read(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """(number, text) of rows ``first`` to ``last`` - 1, counted from 0."""
        if self._items:
            yield from enumerate(self._items[first:last], start=first + 1)
            return
        with open_regular(self._path) as stream:
            for index in range(first, min(last, len(self))):
                start = self._starts[index]
                stream.seek(start)
                line = stream.readline()
                yield self._numbers[index], line if start else line.removeprefix(codecs.BOM_UTF8)


def _items(data: bytes) -> list[bytes]:
    """The items of the array in ``data``; empty if ``data`` holds lines, one of them broken."""
    try:
        return [bytes(item) for item in msgspec.json.decode(data, type=list[msgspec.Raw])]
    except (msgspec.DecodeError, ValueError, RecursionError):
        return []


def _answer_type(answer: str) -> Literal["number", "text"]:
    text = answer.replace(".", "", 1).removeprefix("-")
    return "number" if text.isascii() and text.isdigit() else "text"
