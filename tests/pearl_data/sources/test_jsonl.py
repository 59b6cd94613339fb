from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from drawn import picture
from PIL import Image

from pearl_data.shards import DatasetReader
from pearl_data.sources import parse_source
from pearl_data.sources.base import Candidate, QuestionSettings, Rejected
from pearl_data.sources.jsonl import JsonlSource
from pearl_data.synthesise import SynthesisSettings, synthesise
from pearl_data.validate import validate_paths
from pearl_tools.executor import ExecutorSettings
from pearl_tools.media import exif_orientation

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
    assert len(source.config()["pictures"]) == 64
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
        ({"image": "b.png"}, "reference.no_such_file", "line 1.image"),
        ({"image": "../a.png"}, "parse.unsafe_member", "line 1.image"),
        ({"image": None, "images": ["a.png", "b.png"]}, "reference.no_such_file",
         "line 1.images[1]"),
        ({"evidence": [{"bbox": [0, 0, 1, 1], "media": "i3"}]}, "reference.unknown_medium",
         "line 1.evidence[0].media"),
        ({"evidence": [{"bbox": [0, 0, 1, 1]}]}, "geometry.whole_image", _BOX),
        ({"evidence": [{"bbox": [0.001, 0, 1, 0.95]}]}, "geometry.whole_image", _BOX),
        ({"evidence": None}, "semantic.insufficient_calls", "line 1.evidence"),
        ({"bbox_unit": "pixel"}, "geometry.wrong_unit", _BOX),
        ({"choices": ["Red", "red"]}, "semantic.ambiguous", "line 1.choices"),
        ({"choices": ["dark_red", "red", "dark  red."]}, "semantic.ambiguous", "line 1.choices"),
        ({"choices": ["red", 3, "3.0"]}, "semantic.ambiguous", "line 1.choices"),
        ({"choices": ["red", None]}, "schema.type", "line 1.choices[1]"),
        ({"answer": True}, "schema.type", "line 1.answer"),
        ({"question": "Is <image> red?"}, "schema.pattern", "line 1.question"),
        ({"question": "<image><image> Is it red?"}, "schema.pattern", "line 1.question"),
        ({"question": "What?<|im_end|>"}, "schema.pattern", "line 1.question"),
        ({"question": "What?<｜end▁of▁sentence｜>"}, "schema.pattern", "line 1.question"),
        ({"question": "[INST] What? [/INST]"}, "schema.pattern", "line 1.question"),
        ({"choices": ["red", "<|image_pad|>"]}, "schema.pattern", "line 1.choices[1]"),
        ({"answer": "[IMG] red", "choices": None}, "schema.pattern", "line 1.answer"),
        ({"evidence": [{"bbox": [0, 0, 0.5, 0.5], "label": "<image>"}]}, "schema.pattern",
         "line 1.evidence[0].label"),
        ({"choises": ["a", "b"], "choices": None}, "schema.unknown_field", "line 1.choises"),
        ({"evidence": [{"bbox": [0, 0, 0.5, 0.5], "labell": "a"}]}, "schema.unknown_field",
         "line 1.evidence[0].labell"),
        ({"answer": None, "response": "red"}, "schema.missing_field", "line 1.answer"),
        ({"raw": "x" * 70_000}, "schema.length", "line 1.raw"),
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
         .encode(), "schema.pattern"),
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


@pytest.mark.parametrize(
    ("written", "answer", "answer_type"),
    [(2.5, "2.5", "number"), (3.0, "3", "number"), (3, "3", "number"), ("3", "3", "number"),
     (-0.25, "-0.25", "number"), (1e20, "1e+20", "text")],
)  # fmt: skip
def test_numbers_are_answers(tmp_path: Path, written: float, answer: str, answer_type: str) -> None:
    (item,) = read(tmp_path, {**ROW, "choices": [], "answer": written})
    assert isinstance(item, Candidate)
    assert (item.task.answer, item.task.answer_type) == (answer, answer_type)


def test_numbers_are_choices(tmp_path: Path) -> None:
    (item,) = read(tmp_path, {**ROW, "choices": [1, 2.0, "3"], "answer": 2})
    assert isinstance(item, Candidate)
    assert (item.task.answer, item.task.choices) == ("2", ["1", "2", "3"])


@pytest.mark.parametrize(
    "field", ["choices", "images", "bbox_unit", "id", "dataset", "licence", "license", "split"]
)
def test_null_is_absent(tmp_path: Path, field: str) -> None:
    row = {name: value for name, value in ROW.items() if name != field}
    row = row if "choices" in row else {**row, "answer": "red"}
    without, null = read(tmp_path, row, {**row, field: None})
    assert isinstance(without, Candidate)
    assert isinstance(null, Candidate)
    assert null.task == without.task
    assert null.source.extra == {}
    (item,) = read(tmp_path, {**ROW, "evidence": [{"bbox": [0, 0, 0.3, 0.3], "media": None}]})
    assert isinstance(item, Candidate)
    assert item.task.evidence[0].media == "i0"


def test_other_columns_are_kept(tmp_path: Path) -> None:
    evidence = [{"bbox": [0, 0, 0.5, 0.5], "score": 0.5}, {"bbox": [0, 0, 0.4, 0.5]}]
    row = {**ROW, "split": "train", "tags": {"a": [1]}, "license": "MIT", "evidence": evidence}
    (item,) = read(tmp_path, row)
    assert isinstance(item, Candidate)
    assert item.source.extra == {
        "split": "train",
        "tags": {"a": [1]},
        "evidence": [{"score": 0.5}, {}],
    }
    assert item.source.licence == "MIT"


@pytest.mark.parametrize(
    "question",
    ["<image>\nWhat?", "What? <image>", "<|vision_start|><|image_pad|><|vision_end|>What?",
     "<image_placeholder>What?", "[IMG]What?", "<|image_1|>\nWhat?", "<IMG_CONTEXT> What?"],
)  # fmt: skip
def test_a_mark_where_the_picture_comes_is_removed_and_kept_beside(
    tmp_path: Path, question: str
) -> None:
    (item,) = read(tmp_path, {**ROW, "question": question})
    assert isinstance(item, Candidate)
    assert item.task.question == "What?"
    assert item.source.extra == {"question": question}


def test_what_overshoots_by_rounding_is_cut(tmp_path: Path) -> None:
    for box, unit in (([-1e-9, 0.1, 0.3, 1.0000001], "fraction"), ([-0.9, 24, 96, 240.9], "pixel")):
        (item,) = read(tmp_path, {**ROW, "bbox_unit": unit, "evidence": [{"bbox": box}]})
        assert isinstance(item, Candidate)
        assert item.task.evidence[0].bbox == pytest.approx((0, 0.1, 0.3, 1), abs=1e-12)
    for box, unit in (([-0.01, 0.1, 0.3, 1], "fraction"), ([0, 24, 96, 241.1], "pixel")):
        (item,) = read(tmp_path, {**ROW, "bbox_unit": unit, "evidence": [{"bbox": box}]})
        assert isinstance(item, Rejected)
        assert item.reason.code == "geometry.partly_outside"


def test_a_key_given_twice_costs_the_row(tmp_path: Path) -> None:
    line = json.dumps(ROW)[:-1] + ', "answer": "blue"}'
    (item,) = read(tmp_path, line)
    assert isinstance(item, Rejected)
    assert (item.reason.code, item.reason.path) == ("parse.duplicate_key", "line 1")


def test_an_array_of_rows_is_read(tmp_path: Path) -> None:
    text = json.dumps([ROW, 5, {**ROW, "id": 1.0}], indent=1)
    first, second, third = read(tmp_path, "\ufeff" + text)
    assert isinstance(first, Candidate)
    assert isinstance(second, Rejected)
    assert (second.reason.code, second.reason.path) == ("schema.type", "line 2")
    assert isinstance(third, Candidate)
    assert third.source.row == "1"


def test_pictures_beside_the_one_with_evidence_are_context(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(picture([("blue", (10, 10, 60, 60))]))
    row = {**ROW, "images": ["b.png", "a.png"], "evidence": [{"bbox": [0.1, 0.1, 0.3, 0.3],
           "media": "i1"}]}  # fmt: skip
    del row["image"]
    (tmp_path / "a.png").write_bytes(picture([("red", (32, 24, 96, 72))]))
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    spec = parse_source(f"jsonl:{tmp_path / 'rows.jsonl'}", tmp_path)
    settings = SynthesisSettings(
        source=spec, questions=QuestionSettings(tools=["crop"]), executor=ExecutorSettings()
    )
    assert synthesise(tmp_path / "out", settings).written == 1
    (sample,) = list(DatasetReader(tmp_path / "out"))
    assert [m.id for m in sample.trajectory.media if m.parent is None] == ["i0", "i1"]
    assert sample.trajectory.steps[0].calls[0].arguments["image"] == "i1"
    assert validate_paths([tmp_path / "out"], replay=True).findings == []


def turned(orientation: int) -> bytes:
    """A stored picture, 320 x 240, with a red box at x 32..96, y 24..72 of its stored pixels."""
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.open(io.BytesIO(picture([("red", (32, 24, 96, 72))])))
    stored.save(out, "PNG", exif=exif)
    return out.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("unit", ["fraction", "pixel"])
def test_boxes_of_the_stored_frame_are_turned_with_their_picture(
    tmp_path: Path, orientation: int, unit: str
) -> None:
    (tmp_path / "t.png").write_bytes(turned(orientation))
    box = [0.1, 0.1, 0.3, 0.3] if unit == "fraction" else [32, 24, 96, 72]
    row = {**ROW, "image": "t.png", "bbox_unit": unit, "evidence": [{"bbox": box}]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    settings = QuestionSettings(tools=["crop"], annotation_frame="stored")
    ((item,),) = JsonlSource(tmp_path / "rows.jsonl", tmp_path, settings).block(0)
    assert isinstance(item, Candidate)
    (root,) = item.roots
    assert exif_orientation(root.facts) == orientation
    x0, y0, x1, y1 = item.task.evidence[0].bbox
    height, width = root.pixels.shape[:2]
    seen = root.pixels[
        round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)
    ]
    assert (seen == (200, 20, 20)).all()
    assert (root.pixels == (200, 20, 20)).all(axis=2).sum() == seen.shape[0] * seen.shape[1]


def test_boxes_of_the_upright_frame_stay_and_none_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "t.png").write_bytes(turned(6))
    (tmp_path / "rows.jsonl").write_text(json.dumps({**ROW, "image": "t.png"}))
    for frame, code in (("upright", None), (None, "semantic.ambiguous")):
        settings = QuestionSettings(tools=["crop"], annotation_frame=frame)  # type: ignore[arg-type]
        ((item,),) = JsonlSource(tmp_path / "rows.jsonl", tmp_path, settings).block(0)
        if isinstance(item, Candidate):
            assert item.task.evidence[0].bbox == (0.1, 0.1, 0.3, 0.3)
        assert (item.reason.code if isinstance(item, Rejected) else None) == code


@pytest.mark.parametrize(
    ("size", "code"), [((1600, 8), None), ((8, 1601), "geometry.aspect_ratio")]
)
def test_a_picture_too_thin_for_any_processor_is_refused(
    tmp_path: Path, size: tuple[int, int], code: str | None
) -> None:
    (tmp_path / "thin.png").write_bytes(picture([], size))
    (item,) = read(tmp_path, {**ROW, "image": "thin.png"})
    assert (item.reason.code if isinstance(item, Rejected) else None) == code


_ODD = [None, True, 0, -1, 1e308, "", "x", "i1", [], {}, [None], [[]], {"a": None}, "<image>",
        [1, 2, 3, 4], ["a.png", "a.png"], 10**30, "\0", "../a.png", "pixel", "pair"]  # fmt: skip


@pytest.mark.parametrize("field", [*ROW, "images", "bbox_unit", "id", "dataset", "licence"])
def test_whatever_a_field_holds_costs_its_row_at_most(tmp_path: Path, field: str) -> None:
    found = read(tmp_path, *({**ROW, field: odd} for odd in _ODD), ROW)
    assert len(found) == len(_ODD) + 1
    assert isinstance(found[-1], Candidate)


@pytest.mark.parametrize("field", ["bbox", "label", "media", "role", "score"])
def test_whatever_an_evidence_holds_costs_its_row_at_most(tmp_path: Path, field: str) -> None:
    evidence = [{**ROW["evidence"][0], field: odd} for odd in _ODD]  # type: ignore[dict-item,index]
    found = read(tmp_path, *({**ROW, "evidence": [each]} for each in evidence), ROW)
    assert len(found) == len(_ODD) + 1
    assert isinstance(found[-1], Candidate)


@pytest.mark.parametrize(
    ("change", "choices", "answer"),
    [
        ({"answer": "Red"}, ["red", "blue"], "red"),
        ({"answer": " blue. "}, ["red", "blue"], "blue"),
        ({"answer": "3.0", "choices": [3, 4]}, ["3", "4"], "3"),
        ({"answer": "B. blue"}, ["red", "blue"], "blue"),
        ({"answer": "(B)", "choices": ["A. red", "B. blue"]}, ["A. red", "B. blue"], "B. blue"),
        ({"answer": "B", "choices": {"A": "red", "B": "blue"}}, ["red", "blue"], "blue"),
        ({"answer": "blue", "choices": {"A": "red", "B": "blue"}}, ["red", "blue"], "blue"),
        ({"answer": "A", "choices": ["A", "B"]}, ["A", "B"], "A"),
    ],
)
def test_an_answer_that_means_one_choice_for_sure_is_this_choice(
    tmp_path: Path, change: dict[str, Any], choices: list[str], answer: str
) -> None:
    (item,) = read(tmp_path, {**ROW, "choices": ["red", "blue"], **change})
    assert isinstance(item, Candidate)
    assert (item.task.choices, item.task.answer) == (choices, answer)


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        ({"answer": "B"}, "semantic.answer_not_in_choices", "line 1.answer"),
        ({"answer": 1}, "semantic.answer_not_in_choices", "line 1.answer"),
        ({"answer": "A. blue"}, "semantic.answer_not_in_choices", "line 1.answer"),
        ({"answer": "A", "choices": {"A": "B", "B": "A"}}, "semantic.ambiguous", "line 1.answer"),
        ({"choices": ["red"]}, "schema.length", "line 1.choices"),
        ({"choices": None, "options": ["red", "blue"]}, "schema.unknown_field", "line 1.options"),
    ],
)
def test_an_answer_that_may_mean_something_else_is_not_guessed(
    tmp_path: Path, change: dict[str, Any], code: str, where: str
) -> None:
    (item,) = read(tmp_path, {**ROW, "choices": ["red", "blue"], **change})
    assert isinstance(item, Rejected)
    assert (item.reason.code, item.reason.path) == (code, where)


def test_the_letter_of_a_choice_is_named_in_the_hint(tmp_path: Path) -> None:
    (item,) = read(tmp_path, {**ROW, "choices": ["red", "blue"], "answer": "(B)"})
    assert isinstance(item, Rejected)
    assert "'blue'" in item.reason.hint


@pytest.mark.parametrize("evidence", [{"bbox": [0.1, 0.1, 0.3, 0.3]}, [[0.1, 0.1, 0.3, 0.3]]])
def test_one_box_needs_no_list_and_no_object(tmp_path: Path, evidence: Any) -> None:
    (item,) = read(tmp_path, {**ROW, "evidence": evidence})
    assert isinstance(item, Candidate)
    assert item.task.evidence[0].bbox == (0.1, 0.1, 0.3, 0.3)


@pytest.mark.parametrize("unit", ["px", "Pixels", "pixel"])
def test_pixels_in_other_words(tmp_path: Path, unit: str) -> None:
    row = {**ROW, "evidence": [{"bbox": [32, 24, 96, 72]}], "bbox_unit": unit}
    assert [type(item) for item in read(tmp_path, row)] == [Candidate]


@pytest.mark.parametrize(
    ("change", "expected", "got"),
    [
        ({"choices": "red|blue"}, "a list", "a text"),
        ({"answer": ["red"]}, "a number or a text", "a list"),
        ({"image": {"path": "a.png"}}, "a text or null", "an object"),
    ],
)
def test_a_wrong_type_is_said_in_words(
    tmp_path: Path, change: dict[str, Any], expected: str, got: str
) -> None:
    (item,) = read(tmp_path, {**ROW, **change})
    assert isinstance(item, Rejected)
    assert (item.reason.expected, item.reason.got) == (expected, got)
