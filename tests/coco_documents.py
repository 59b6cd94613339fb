"""Small COCO files of one picture, changed by a test, and what a source makes of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from drawn import picture

from pearl_data.sources.base import Candidate, QuestionSettings, Rejected
from pearl_data.sources.coco import CocoSource
from pearl_data.sources.facts import Facts
from pearl_data.trajectory import Task

ALL = QuestionSettings(tools=["crop", "zoom"], per_image=50)
#: Boxes of small things, [x, y, width, height] in pixels of a 640x480 picture.
BOXES = [
    (60, 180, 40, 30), (160, 190, 36, 30), (260, 200, 34, 28), (400, 100, 30, 30),
    (500, 300, 40, 36),
]  # fmt: skip


def document(**changes: Any) -> dict[str, Any]:
    """Three dogs, a cat and a bird on one picture."""
    return {
        "images": [{"id": 1, "width": 640, "height": 480, "file_name": "1.png"}],
        "annotations": [
            annotation(number, kind, box)
            for number, (kind, box) in enumerate(zip((1, 1, 1, 2, 3), BOXES, strict=True), 1)
        ],
        "categories": [
            {"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}, {"id": 3, "name": "bird"}
        ],
        **changes,
    }  # fmt: skip


def annotation(number: int, kind: Any, box: Any, **fields: Any) -> dict[str, Any]:
    return {"id": number, "image_id": 1, "category_id": kind, "bbox": list(box), **fields}


def source(
    folder: Path, content: dict[str, Any] | str, settings: QuestionSettings = ALL
) -> CocoSource:
    images = folder / "img"
    images.mkdir(exist_ok=True)
    for name in ("1.png", "2.png"):
        boxes = [("red", (x, y, x + w, y + h)) for x, y, w, h in BOXES]
        (images / name).write_bytes(picture(boxes, (640, 480)))
    path = folder / "a.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return CocoSource(path, images, settings)


def items(opened: CocoSource) -> list[Candidate | Rejected]:
    blocks = range(opened.blocks())
    return [item for block in blocks for slot in opened.block(block) for item in slot]


def codes(opened: CocoSource) -> dict[str, int]:
    return Counter(item.reason.code for item in items(opened) if isinstance(item, Rejected))


def facts(opened: CocoSource) -> list[Facts]:
    """The facts that questions are asked of, picture by picture."""
    seen: list[Facts] = []
    with pytest.MonkeyPatch.context() as patch:

        def record(found: Facts, *_: object) -> list[Task]:
            seen.append(found)
            return []

        patch.setattr("pearl_data.sources.coco.ask", record)
        patch.setattr("pearl_data.sources.coco.advice", lambda *_: "")
        items(opened)
    return seen


def changed(index: int, **fields: Any) -> dict[str, Any]:
    found = document()
    found["annotations"][index].update(fields)
    return found
