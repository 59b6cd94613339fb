"""Recognises files of other tools by their first bytes, so that an error can say how to use them.

Not here: conversion (:mod:`.converting`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from pearl_tools.errors import BadInput, ToolError

#: The form of a row, quoted in errors.
ROW_FORM: Final = (
    '{"image": "a.jpg", "question": "...", "choices": [...], "answer": "...", '
    '"evidence": [{"bbox": [x0, y0, x1, y1], "label": "..."}]}'
)
_NO_BOXES: Final = (
    "it has no boxes of evidence, which every tool call needs; "
    f"write rows with evidence: {ROW_FORM}"
)
_EXPORT: Final = "this format is not supported; export it as COCO and use --source coco:FILE"
_CONVERTED: Final = "pass it, or a folder of such files, as --source coco:PATH"
_TABLE: Final = f"tables are not supported; write one JSON object per line: {ROW_FORM}"
_HEAD_BYTES: Final = 1 << 16
#: A larger file is recognised by its first line alone.
_MOST_PARSED_BYTES: Final = 64_000_000


class Foreign(NamedTuple):
    """A format other than the expected one: its name, and advice."""

    name: str
    advice: str


_LLAVA = Foreign("LLaVA or ShareGPT conversations", _NO_BOXES)
_MESSAGES = Foreign("chat messages as of OpenAI, ShareGPT or ms-swift", _NO_BOXES)
_QUERY = Foreign("ms-swift query and response", _NO_BOXES)
_ALPACA = Foreign("Alpaca instructions", _NO_BOXES)
_VQA = Foreign("VQAv2 questions or annotations", _NO_BOXES)
_COCO = Foreign("a COCO annotation file", "pass it as --source coco:FILE")
_ROWS = Foreign("question rows", "pass them as --source jsonl:FILE")
_OURS = Foreign("a trajectory of this toolkit", "use pearl-data show, validate or audit")

#: Field names of an object -> its format. The first match counts.
_OBJECTS: tuple[tuple[frozenset[str], Foreign], ...] = tuple(
    (frozenset(fields.split()), foreign)
    for fields, foreign in (
        ("conversations", _LLAVA),
        ("messages", _MESSAGES),
        ("query response", _QUERY),
        ("instruction output", _ALPACA),
        ("multiple_choice_answer", _VQA),
        ("question_id answers", _VQA),
        ("question_id image_id", _VQA),
        ("data_subtype", _VQA),
        ("shapes imagePath", Foreign("a LabelMe file", _CONVERTED)),
        ("images annotations", _COCO),
        ("_via_img_metadata", Foreign("a VIA project", _CONVERTED)),
        ("filename regions", Foreign("a VIA file", _CONVERTED)),
        ("data annotations", Foreign("a Label Studio export", _CONVERTED)),
        ("data predictions", Foreign("a Label Studio export", _CONVERTED)),
        ("image_id category_id bbox score", Foreign("COCO detection results",
         "results are not annotations; pass the file with images, annotations and categories as "
         "--source coco:FILE")),
        ("image annotations", Foreign("a CreateML file", _CONVERTED)),
        ("categories items", Foreign("a Datumaro file", _EXPORT)),
        ("anns imgs", Foreign("a COCO-Text file",
         "no command here reads its words; write images, annotations and categories as lists, each "
         "text as attributes.text, and give it as --source coco:FILE")),
        ("classes labels", Foreign("FiftyOne labels", _EXPORT)),
        ("image_id human_annotations", Foreign("AI Challenger keypoints", _EXPORT)),
        ("ID gtboxes", Foreign("a CrowdHuman file (odgt)", _EXPORT)),
        ("name labels", Foreign("a BDD100K or Scalabel file", _EXPORT)),
        ("image_id objects", Foreign("a Visual Genome file", _EXPORT)),
        ("image_id regions", Foreign("a Visual Genome file", _EXPORT)),
        ("size objects tags", Foreign("a Supervisely file", _EXPORT)),
        ("image label", Foreign("a Label Studio export (JSON-MIN)",
         "export it as JSON or COCO and give it as --source coco:FILE")),
        ("task media steps", _OURS),
        ("question answer", _ROWS),
    )
)  # fmt: skip
#: First bytes of a file that is not JSON -> its format.
_BYTES = (
    (b"PAR1", Foreign("a Parquet table", _TABLE)),
    (b"ARROW1", Foreign("an Arrow table", _TABLE)),
    (b"PK\x03\x04", Foreign("a zip archive or a spreadsheet", f"unpack or export it. {_TABLE}")),
    (b"\x1f\x8b", Foreign("a gzip file", "unpack it: gunzip FILE")),
    (b"BZh", Foreign("a bzip2 file", "unpack it: bunzip2 FILE")),
    (b"\xfd7zXZ", Foreign("an xz file", "unpack it: unxz FILE")),
    (b"\x28\xb5\x2f\xfd", Foreign("a zstd file", "unpack it: unzstd FILE")),
    (b"\x89HDF", Foreign("an HDF5 file", _TABLE)),
    (b"SQLite format 3", Foreign("an SQLite database", _TABLE)),
    (b"\xff\xfe", Foreign("UTF-16 text", "save it as UTF-8")),
    (b"\xfe\xff", Foreign("UTF-16 text", "save it as UTF-8")),
)
_XML = (
    (b"annotation", Foreign("Pascal VOC XML", _CONVERTED)),
    (b"annotations", Foreign("CVAT XML", _CONVERTED)),
)
_TAG = re.compile(rb"<([A-Za-z_][\w.-]*)")
_YOLO = re.compile(rb"\d+(?:[ \t]+-?(?:0?\.\d+|[01](?:\.\d*)?)(?:[eE]-?\d+)?){4,}\s*\Z")


def recognise(data: bytes) -> Foreign | None:
    """The format of a file that begins with these bytes, if it is recognised."""
    for mark, foreign in _BYTES:
        if data.startswith(mark):
            return foreign
    head = data[:_HEAD_BYTES].lstrip()
    if head.startswith(b"<"):
        tags = _TAG.search(head)
        root = tags[1] if tags else b""
        return next((f for name, f in _XML if name == root), Foreign("XML", _EXPORT))
    value = _first_value(data)
    if isinstance(value, dict):
        return _of_object(value)
    return None if value is not None else _of_text(head)


def refuse_foreign(data: bytes, path: Path, kind: Literal["coco", "jsonl"]) -> None:
    """Raise :class:`BadInput` naming the format if another tool wrote the file."""
    found = recognise(data)
    if found is None or found == {"coco": _COCO, "jsonl": _ROWS}[kind]:
        return
    expected = {"coco": "COCO annotations", "jsonl": "question rows"}[kind]
    raise BadInput(f"{path}: expected {expected}, got {found.name}; {found.advice}")


def foreign_row(value: dict[str, Any], error: ToolError) -> ToolError:
    """``error`` about a row, with a hint that names the row's tool if it is recognised."""
    found = _of_object(value)
    if found is None or found is _ROWS:
        return error
    return msgspec.structs.replace(error, hint=f"this is {found.name}: {found.advice}")


def _of_object(value: dict[str, Any]) -> Foreign | None:
    if value.keys() >= {"question", "answer", "evidence"}:
        return _ROWS  # other columns do not matter
    found = _by_fields(value)
    first = next(iter(value.values()), None)
    if found is None and isinstance(first, dict):  # VIA 1: files by name and size
        return _by_fields(first)
    if found is not None and found.name == "a CreateML file":
        items = value["annotations"]
        return found if items and isinstance(items, list) and "coordinates" in items[0] else None
    return found


def _by_fields(value: dict[str, Any]) -> Foreign | None:
    return next((foreign for fields, foreign in _OBJECTS if fields <= value.keys()), None)


def _first_value(data: bytes) -> Any:
    """The first JSON value of a file of lines, or the first item of an array; None without one."""
    for text in (data.lstrip().split(b"\n", 1)[0], data):
        if len(text) > _MOST_PARSED_BYTES:
            continue
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
            continue
        return (value[0] if value else {}) if isinstance(value, list) else value
    return None


def _of_text(head: bytes) -> Foreign | None:
    """The format of text that is not JSON: YOLO boxes, or a table."""
    if head.startswith((b"{", b"[")) or b"\0" in head:
        return None
    lines = [line.strip() for line in head.splitlines() if line.strip()][:5]
    if lines and all(_YOLO.match(line) for line in lines):
        advice = "this format is not supported, since it lacks the names of its classes; "
        return Foreign("YOLO labels", advice + _EXPORT.partition("; ")[2])
    for separator, name in ((b"\t", "a table (TSV)"), (b",", "a table (CSV)"), (b";", "a table")):
        counts = {line.count(separator) for line in lines}
        if lines and min(counts) > 0:
            return Foreign(name, _TABLE)
    return None
