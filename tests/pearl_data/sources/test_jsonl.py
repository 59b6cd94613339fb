from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from drawn import picture

from pearl_data.sources.base import Candidate, QuestionSettings, Rejected
from pearl_data.sources.jsonl import JsonlSource

_BOX = "line 1.evidence[0].bbox"
ROW = {
    "image": "a.png",
    "question": "What colour is the box?",
    "choices": ["red", "blue"],
    "answer": "red",
    "evidence": [{"bbox": [0.1, 0.1, 0.3, 0.3], "label": "the box"}],
}


def read(folder: Path, *rows: dict[str, Any] | str) -> list[Candidate | Rejected]:
    (folder / "a.png").write_bytes(picture([("red", (32, 24, 96, 72))]))
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    source = JsonlSource(folder / "rows.jsonl", folder, QuestionSettings(tools=["crop"]))
    return [
        item for block in range(source.blocks()) for slot in source.block(block) for item in slot
    ]


def test_a_row_becomes_its_question_unchanged(tmp_path: Path) -> None:
    (item,) = read(tmp_path, {**ROW, "id": "q7", "dataset": "mine", "licence": "CC-BY-4.0"})
    assert isinstance(item, Candidate)
    assert item.task.question == ROW["question"]
    assert item.task.choices == ["red", "blue"]
    assert item.task.answer == "red"
    assert (item.source.dataset, item.source.row, item.source.licence) == (
        "mine",
        "q7",
        "CC-BY-4.0",
    )


def test_pixel_boxes_are_declared_and_converted(tmp_path: Path) -> None:
    evidence = [{"bbox": [32, 24, 96, 72]}]
    (item,) = read(tmp_path, {**ROW, "bbox_unit": "pixel", "evidence": evidence})
    assert isinstance(item, Candidate)
    assert item.task.evidence[0].bbox == (0.1, 0.1, 0.3, 0.3)


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        ({"evidence": [{"bbox": [32, 24, 96, 72]}]}, "geometry.wrong_unit", _BOX),
        ({"evidence": [{"bbox": [0.5, 0.1, 0.2, 0.3]}]}, "geometry.inverted", _BOX),
        ({"evidence": [{"bbox": [0.5, 0.1, 0.5, 0.3]}]}, "geometry.zero_area", _BOX),
        ({"evidence": [{"bbox": [0.5, 0.1, 1.2, 0.3]}]}, "geometry.partly_outside", _BOX),
        ({"evidence": []}, "semantic.insufficient_calls", "line 1.evidence"),
        ({"question": "  "}, "schema.length", "line 1.question"),
        ({"evidence": [{"bbox": [0, 0, 0.5, 0.5], "role": "pair"}]}, "semantic.ambiguous",
         "line 1.evidence"),
        ({"answer": "green"}, "semantic.answer_not_in_choices", "line 1.answer"),
        ({"choices": ["red", "red"]}, "semantic.ambiguous", "line 1.choices"),
        ({"images": ["a.png"]}, "schema.combination", "line 1"),
        ({"image": "b.png"}, "reference.no_such_file", "file_name"),
        ({"image": "../a.png"}, "parse.unsafe_member", "file_name"),
        ({"evidence": [{"bbox": [0, 0, 1, 1], "media": "i3"}]}, "reference.unknown_medium",
         "line 1.evidence[0].media"),
        ({"colour": "x"}, "schema.type", "line 1"),
    ],
)  # fmt: skip
def test_an_unusable_row_is_rejected_with_its_reason_and_place(
    tmp_path: Path, change: dict[str, Any], code: str, where: str
) -> None:
    (item,) = read(tmp_path, {**ROW, **change})
    assert isinstance(item, Rejected)
    assert (item.reason.code, item.reason.path) == (code, where)
    assert item.record is not None


def test_things_in_two_pictures_are_not_compared(tmp_path: Path) -> None:
    evidence = [
        {"bbox": [0, 0, 0.5, 0.5], "role": "pair", "label": label, "media": media}
        for label, media in (("red", "i0"), ("blue", "i1"))
    ]
    row = {**ROW, "images": ["a.png", "a.png"], "evidence": evidence}
    del row["image"]
    (item,) = read(tmp_path, row)
    assert isinstance(item, Rejected)
    assert item.reason.code == "semantic.ambiguous"


def test_a_torn_line_is_rejected_and_the_next_one_read(tmp_path: Path) -> None:
    first, second = read(tmp_path, '{"image": "a.png", "quest', ROW)
    assert isinstance(first, Rejected)
    assert first.reason.code == "parse.not_json"
    assert first.reason.path == "line 1"
    assert isinstance(second, Candidate)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"image": "a.png", "question": "caf\xe9?"}', "parse.not_json"),
        (b"[" * 100_000, "parse.not_json"),
        (json.dumps({**ROW, "image": "a\0b.png"}).encode(), "reference.no_such_file"),
        (json.dumps({**ROW, "evidence": [{"bbox": [0, 0, 1, 1], "media": "i" + "9" * 5000}]})
         .encode(), "schema.type"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_read_costs_itself_only(
    tmp_path: Path, line: bytes, code: str
) -> None:
    (tmp_path / "a.png").write_bytes(picture([("red", (32, 24, 96, 72))]))
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(line + b"\n" + json.dumps(ROW).encode() + b"\n")
    source = JsonlSource(rows, tmp_path, QuestionSettings(tools=["crop"]))
    bad, good = (item for slot in source.block(0) for item in slot)
    assert isinstance(bad, Rejected)
    assert bad.reason.code == code
    assert isinstance(good, Candidate)
    assert source.config()["pictures"]


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_row(tmp_path: Path) -> None:
    (item,) = read(tmp_path, "\ufeff" + json.dumps(ROW))
    assert isinstance(item, Candidate)


def test_a_name_without_letters_still_makes_keys_that_ids_may_be(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture([("red", (32, 24, 96, 72))]))
    for name in ("фото", "_mine", "--x"):
        rows = tmp_path / f"{name}.jsonl"
        rows.write_text(json.dumps(ROW))
        source = JsonlSource(rows, tmp_path, QuestionSettings(tools=["crop"]))
        (item,) = next(iter(source.block(0)))
        assert isinstance(item, Candidate)
        assert item.key_stem[0].isalnum()
