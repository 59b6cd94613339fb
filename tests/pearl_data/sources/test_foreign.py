"""Files of other tools are named, and the way on is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pearl_data.sources.base import QuestionSettings
from pearl_data.sources.foreign import recognise
from pearl_data.sources.jsonl import JsonlSource
from pearl_tools.errors import BadInput

TURNS = [{"from": "human", "value": "<image>What?"}, {"from": "gpt", "value": "A cat."}]
ROW = {"image": "a", "question": "?", "answer": "a", "evidence": [{"bbox": [0, 0, 1, 1]}]}
OBJECTS: list[tuple[dict[str, Any], str]] = [
    ({"id": "1", "image": "a.jpg", "conversations": TURNS}, "LLaVA or ShareGPT conversations"),
    ({"messages": [{"role": "user", "content": "?"}], "images": ["a.jpg"]},
     "chat messages as of OpenAI, ShareGPT or ms-swift"),
    ({"query": "?", "response": "!", "images": ["a"]}, "ms-swift query and response"),
    ({"instruction": "?", "input": "", "output": "!"}, "Alpaca instructions"),
    ({"question_id": 1, "image_id": 2, "question": "?"}, "VQAv2 questions or annotations"),
    ({"question_id": 1, "answers": [], "multiple_choice_answer": "3"},
     "VQAv2 questions or annotations"),
    ({"shapes": [], "imagePath": "1.png"}, "a LabelMe file"),
    ({"images": [], "annotations": [], "categories": []}, "a COCO annotation file"),
    ({"image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1], "score": 0.5},
     "COCO detection results"),
    ({"_via_settings": {}, "_via_img_metadata": {}}, "a VIA project"),
    ({"a.jpg123": {"filename": "a.jpg", "regions": []}}, "a VIA file"),
    ({"id": 1, "data": {"image": "a"}, "annotations": []}, "a Label Studio export"),
    ({"image": "a.jpg", "annotations": [{"label": "cat", "coordinates": {}}]}, "a CreateML file"),
    ({"task": {}, "media": [], "steps": []}, "a trajectory of this toolkit"),
    ({"image_id": "a", "human_annotations": {}, "keypoint_annotations": {}},
     "AI Challenger keypoints"),
    ({"ID": "a", "gtboxes": []}, "a CrowdHuman file (odgt)"),
    ({"name": "a.jpg", "labels": [{"category": "car", "box2d": {}}]}, "a BDD100K or Scalabel file"),
    ({"image_id": 1, "objects": []}, "a Visual Genome file"),
    ({"classes": ["dog"], "labels": {}}, "FiftyOne labels"),
    ({"imgs": {}, "anns": {}, "imgToAnns": {}}, "a COCO-Text file"),
    ({"info": {}, "categories": {}, "items": []}, "a Datumaro file"),
    ({"size": {}, "tags": [], "objects": []}, "a Supervisely file"),
    ({"image": "a.jpg", "id": 1, "label": []}, "a Label Studio export (JSON-MIN)"),
    (ROW | {"messages": []}, "question rows"),
]  # fmt: skip
TEXTS = [
    (b"PAR1\x15\x04", "a Parquet table"),
    (b"image,question,answer\na.jpg,What?,red\n", "a table (CSV)"),
    (b"index\tquestion\tanswer\n1\tWhat?\tA\n", "a table (TSV)"),
    (b"0 0.5 0.5 0.25 0.125\n1 0.1 0.2 0.05 0.1\n", "YOLO labels"),
    (b"<annotation>\n<folder>VOC</folder>", "Pascal VOC XML"),
    (b'<?xml version="1.0"?>\n<annotations><version>1.1', "CVAT XML"),
    (b"\x1f\x8b\x08", "a gzip file"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet"),
    (b"\xff\xfe{\0", "UTF-16 text"),
    (b"What is this? Nobody knows.", None),
    (b"", None),
    (b"{broken", None),
]


@pytest.mark.parametrize(("value", "name"), OBJECTS)
def test_a_format_is_known_by_its_first_object(value: dict[str, Any], name: str) -> None:
    for text in (
        json.dumps(value) + "\n" + json.dumps(value),
        json.dumps(value, indent=2),
        json.dumps([value], indent=2),
    ):
        found = recognise(text.encode())
        assert found is not None
        assert found.name == name


@pytest.mark.parametrize(("data", "name"), TEXTS)
def test_a_format_is_known_by_its_first_bytes(data: bytes, name: str | None) -> None:
    found = recognise(data)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("value", "way"),
    [(OBJECTS[0][0], '"evidence": [{"bbox": [x0, y0, x1, y1]'), (OBJECTS[7][0], "--source coco:")],
)
def test_the_error_names_format_and_way(tmp_path: Path, value: dict[str, Any], way: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(value))
    with pytest.raises(BadInput) as raised:
        JsonlSource(path, tmp_path, QuestionSettings(tools=["crop"]))
    text = str(raised.value)
    assert f"{path}: expected question rows, got {recognise(path.read_bytes()).name}" in text  # type: ignore[union-attr]
    assert way in text


def test_a_row_of_another_tool_among_ours_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + json.dumps(OBJECTS[0][0]))
    source = JsonlSource(path, tmp_path, QuestionSettings(tools=["crop"]))
    _, second = (item for slot in source.block(0) for item in slot)
    assert second.reason.hint.startswith("this is LLaVA or ShareGPT conversations")  # type: ignore[union-attr]
