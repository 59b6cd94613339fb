"""Questions that people already have: one JSON object a line, with the boxes the answer rests on.

    {"image": "a.jpg", "question": "...", "choices": ["red", "blue"], "answer": "red",
     "evidence": [{"bbox": [0.1, 0.2, 0.3, 0.4], "label": "the mug"}]}

``image`` may be ``images`` (a list, named i0, i1, ... in evidence). ``bbox`` is a fraction of its
picture unless the row says ``"bbox_unit": "pixel"``. ``role`` of an evidence is ``target`` (look
closely; the default), ``pair`` (compare distances) or ``region``. ``id``, ``dataset`` and
``licence`` are kept. A row that cannot be used is rejected with its reason and its line number.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from pearl_data.sources.base import Candidate, QuestionSettings, Rejected, Slot
from pearl_data.sources.keys import slug
from pearl_data.sources.pictures import PictureFolder, pictures_sha256, read_picture
from pearl_data.trajectory import Evidence, Source, Task
from pearl_tools.errors import BadInput, ToolError, ToolFailure, tool_error
from pearl_tools.types import Box, Medium

ROWS_PER_BLOCK = 8


class _RowEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bbox: tuple[float, float, float, float]
    label: str = "the part that matters"
    media: Annotated[str, msgspec.Meta(pattern="^i[0-9]{1,6}$")] = "i0"
    role: Literal["target", "pair", "region"] = "target"


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    question: Annotated[str, msgspec.Meta(min_length=1)]
    answer: str | int
    evidence: list[_RowEvidence] = []
    choices: list[str] = []
    image: str | None = None
    images: list[str] = []
    bbox_unit: Literal["fraction", "pixel"] = "fraction"
    id: str | int | None = None
    dataset: str | None = None
    licence: str = "unknown"


class _Pictures(msgspec.Struct, frozen=True):
    """The pictures of a row, whatever else is in it."""

    image: str | None = None
    images: list[str] = []


class JsonlSource:
    """A JSONL file and the folder of its pictures as a source of questions."""

    def __init__(self, rows: Path, images: Path, settings: QuestionSettings) -> None:
        self.name = rows.name.removesuffix(".jsonl")
        self.prepared: str | None = None
        self._pictures, self._settings = PictureFolder(images), settings
        try:
            data = rows.read_bytes()
        except OSError as error:
            msg = f"--source jsonl:{rows}: cannot be read: {error.strerror}"
            raise BadInput(msg) from error
        self._file_sha256 = hashlib.sha256(data).hexdigest()
        numbered = enumerate(data.removeprefix(codecs.BOM_UTF8).splitlines(), start=1)
        self._lines = [(number, line) for number, line in numbered if line.strip()]

    def blocks(self) -> int:
        """Blocks of :data:`ROWS_PER_BLOCK` rows."""
        return -(-len(self._lines) // ROWS_PER_BLOCK)

    def most_in_block(self) -> int:
        """A slot a row."""
        return ROWS_PER_BLOCK

    def config(self) -> dict[str, Any]:
        """The rows by content, the pictures by name and size."""
        return {
            "kind": "jsonl",
            "name": self.name,
            "sha256": self._file_sha256,
            "pictures": pictures_sha256(self._pictures, self._picture_names()),
        }

    def _picture_names(self) -> Iterator[str]:
        for _, line in self._lines:
            try:
                named = msgspec.json.decode(line, type=_Pictures)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue  # the row is rejected when its turn comes
            yield from [named.image] if named.image else named.images

    def block(self, index: int) -> list[Slot]:
        """One slot per row."""
        lines = self._lines[index * ROWS_PER_BLOCK : (index + 1) * ROWS_PER_BLOCK]
        return [self._slot(number, line) for number, line in lines]

    def _slot(self, number: int, line: bytes) -> Slot:
        yield self._row(number, line)  # opened only when its turn comes

    def _row(self, number: int, line: bytes) -> Candidate | Rejected:
        stem = f"{slug(self.name)}-{number:06d}"
        value: Any = None
        try:
            value = msgspec.json.decode(line)
            row = msgspec.convert(value, _Row)
        except msgspec.ValidationError as error:
            reason = tool_error("schema.type", f"line {number}", "a row as documented", str(error))
            return Rejected(stem, reason, value if isinstance(value, dict) else {"line": value})
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = tool_error("parse.not_json", f"line {number}", "one JSON object", str(error))
            return Rejected(stem, reason, {"line": line.decode("utf-8", "replace")})
        problem = _problem(row, number)
        if problem is not None:
            return Rejected(stem, problem, value)
        names = row.images or [row.image or ""]
        try:
            roots = [
                read_picture(self._pictures, name, medium_id=f"i{i}")
                for i, name in enumerate(names)
            ]
            evidence = [_evidence(row, i, roots, number) for i in range(len(row.evidence))]
        except ToolFailure as failure:
            return Rejected(stem, failure.error, value)
        task = Task(
            question=row.question,
            choices=row.choices,
            answer=str(row.answer),
            answer_type="choice" if row.choices else _answer_type(row.answer),
            answer_source="annotation",
            family="given",
            evidence=evidence,
        )
        source = Source(
            dataset=row.dataset or self.name,
            row=str(number if row.id is None else row.id),
            licence=row.licence,
        )
        return Candidate(stem, task, roots, source)


def _problem(row: _Row, number: int) -> ToolError | None:
    """What makes a well-formed row unusable, or None."""
    path = f"line {number}"
    if bool(row.image) == bool(row.images):
        return tool_error(
            "schema.combination", path, "either image or images", "both" if row.image else "neither"
        )
    if row.choices and str(row.answer) not in row.choices:
        return tool_error(
            "semantic.answer_not_in_choices", f"{path}.answer", f"one of {row.choices}", row.answer
        )
    if len(set(row.choices)) != len(row.choices):
        return tool_error(
            "semantic.ambiguous", f"{path}.choices", "choices that differ", row.choices
        )
    blank = [
        name
        for name, text in (
            ("question", row.question),
            ("answer", str(row.answer)),
            *((f"choices[{i}]", choice) for i, choice in enumerate(row.choices)),
            *((f"evidence[{i}].label", item.label) for i, item in enumerate(row.evidence)),
        )
        if not text.strip()
    ]
    if blank:
        return tool_error("schema.length", f"{path}.{blank[0]}", "some text", "only white space")
    pair = [item for item in row.evidence if item.role == "pair"]
    if pair and (len(pair) != 2 or pair[0].media != pair[1].media):
        return tool_error(
            "semantic.ambiguous",
            f"{path}.evidence",
            "no or exactly two items with role pair, in one picture",
            [f"{item.label} in {item.media}" for item in pair],
        )
    if not row.evidence:
        return tool_error(
            "semantic.insufficient_calls",
            f"{path}.evidence",
            "at least one box that the answer rests on",
            "none",
            "without it nobody can tell what a tool should have shown",
        )
    return None


def _evidence(row: _Row, index: int, roots: list[Medium], number: int) -> Evidence:
    """Evidence ``index`` of a row with its box as fractions; raises ``ToolFailure``."""
    item = row.evidence[index]
    path = f"line {number}.evidence[{index}]"
    position = int(item.media[1:])
    if position >= len(roots):
        expected = f"one of i0..i{len(roots) - 1}"
        raise ToolFailure(
            tool_error("reference.unknown_medium", f"{path}.media", expected, item.media)
        )
    box: Box = item.bbox
    if row.bbox_unit == "pixel":
        record = roots[position].record
        width, height = record.width, record.height
        box = (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
    elif max(box) > 2 or min(box) < -1:
        hint = 'say "bbox_unit": "pixel" in the row if these are pixels'
        raise ToolFailure(
            tool_error("geometry.wrong_unit", f"{path}.bbox", "fractions 0..1", item.bbox, hint)
        )
    if not (box[0] < box[2] and box[1] < box[3]):
        code = "geometry.inverted" if box[0] > box[2] or box[1] > box[3] else "geometry.zero_area"
        raise ToolFailure(tool_error(code, f"{path}.bbox", "x0 < x1 and y0 < y1", item.bbox))
    if min(box) < 0 or max(box) > 1:
        raise ToolFailure(
            tool_error("geometry.partly_outside", f"{path}.bbox", "inside its picture", item.bbox)
        )
    return Evidence(media=item.media, label=item.label, bbox=box, role=item.role)


def _answer_type(answer: str | int) -> Literal["number", "text"]:
    text = str(answer).replace(".", "", 1).removeprefix("-")
    return "number" if text.isdigit() else "text"
