"""Doubled keys, numbers that nothing holds and forged indices: found, and never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from forged import forge_index
from trajectories import build_sample

from pearl_data.audit import audit_paths, render_report
from pearl_data.audit.reading import open_collection
from pearl_data.report import tell
from pearl_data.shards import BlockResult, DatasetReader, DatasetWriter
from pearl_data.shards.manifest import MANIFEST, read_manifest
from pearl_data.trajectory import MAX_CHOICES, canonical_json
from pearl_data.validate import check_text, validate_paths
from pearl_tools.errors import BadInput
from pearl_tools.types import MAX_CALLS

RECORD = canonical_json(build_sample("a", seed=1).trajectory)


def codes(path: Path) -> list[str]:
    return [each.code for each in validate_paths([path]).findings]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"split":', b'"split":"val","split":'),
        (b'"answer_type":', b'"answer_type":"text","answer_type":'),
        (b'"arguments":{', b'"arguments":{"image":"i7",'),
        (b'"status":', b'"st\\u0061tus":"error","status":'),
    ],
)
def test_a_key_given_twice_in_a_record_is_found_by_every_reader(
    old: bytes, new: bytes, tmp_path: Path
) -> None:
    assert RECORD.count(old) >= 1
    path = tmp_path / "a.jsonl"
    path.write_bytes(RECORD.replace(old, new, 1) + b"\n")
    assert codes(path) == ["parse.duplicate_key"]
    report = audit_paths([path]).report
    assert [each.code for each in report.unreadable] == ["parse.duplicate_key"]
    assert open_collection(path).entry(0).sample is None


def test_a_name_given_twice_in_the_text_of_a_call_is_found() -> None:
    document = json.loads(RECORD)
    call = document["steps"][0]["calls"][0]
    call["arguments_raw"] = '{"image":"i1",' + call["arguments_raw"][1:]
    [found] = check_text(msgspec.json.encode(document))
    assert (found.code, found.path) == (
        "parse.duplicate_key",
        "steps[0].calls[0].arguments_raw",
    )


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    samples = [build_sample("a", seed=1), build_sample("b", seed=2)]
    with DatasetWriter.open(tmp_path / "set", {"seed": 0}) as writer:
        writer.add_block(0, BlockResult(2, samples, [], []))
        writer.close()
    return tmp_path / "set"


def test_a_key_given_twice_in_a_manifest_or_an_index_is_found(dataset: Path) -> None:
    forge_index(dataset, lambda data: data.replace(b'"key":', b'"key":"z","key":', 1))
    assert "parse.duplicate_key" in codes(dataset)
    with pytest.raises(BadInput, match="twice"):
        DatasetReader(dataset)
    manifest = dataset / MANIFEST
    manifest.write_bytes(manifest.read_bytes().replace(b'"bytes":', b'"bytes":1,"bytes":', 1))
    with pytest.raises(BadInput, match=r"line 2: .*twice"):
        read_manifest(dataset)


def _edited(change: Callable[[list[Any]], Any]) -> Callable[[bytes], bytes]:
    """A forgery of the members of each line."""

    def forge(data: bytes) -> bytes:
        lines = [json.loads(line) for line in data.splitlines()]
        for line in lines:
            line["members"] = change(line["members"])
        return b"".join(canonical_json(line) + b"\n" for line in lines)

    return forge


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda slots: [slot for slot in slots if slot["name"] != "json"], "parse.missing_member"),
        (lambda _: [], "parse.missing_member"),
        (lambda slots: [*slots, slots[0]], "parse.misplaced"),
        (lambda slots: [{**slot, "offset": 2**52} for slot in slots], "parse.misplaced"),
        (lambda slots: [{**slot, "size": 2**52} for slot in slots], "parse.misplaced"),
        (lambda slots: [{**slot, "offset": 10**300} for slot in slots], "schema.range"),
    ],
    ids=["no record", "no members", "twice", "far away", "too long", "beyond numbers"],
)
def test_an_index_that_lies_under_right_hashes_is_found(
    change: Callable[[list[Any]], Any], code: str, dataset: Path
) -> None:
    forge_index(dataset, _edited(change))
    assert code in codes(dataset)
    try:
        reader = DatasetReader(dataset)
        for index in range(len(reader)):
            reader[index]
    except BadInput:
        return
    assert code == "parse.misplaced"


@pytest.mark.parametrize("number", ["9" * 320, "9" * 5000, "1e400", str(2**53), "-" + "9" * 320])
@pytest.mark.parametrize("field", ["box_px", "box_root", "width", "seed", "bbox"])
def test_a_number_that_nothing_holds_costs_its_record_only(
    number: str, field: str, tmp_path: Path
) -> None:
    document = json.loads(RECORD)
    call = document["steps"][0]["calls"][0]
    mark = 4711
    if field in ("box_px", "box_root"):
        call["effective"][field][1] = mark
    elif field == "bbox":
        call["arguments"]["bbox"][1] = mark
    elif field == "seed":
        call["exec"]["seed"] = mark
    else:
        document["media"][0]["width"] = mark
    text = canonical_json(document).replace(b"4711", number.encode())
    path = tmp_path / "a.jsonl"
    path.write_bytes(text + b"\n" + RECORD + b"\n")
    assert codes(path)
    result = audit_paths([path])
    render_report(result.report)
    assert result.report.records.found == 2
    assert result.report.records.read >= 1
    for entry in open_collection(path).entries():
        if entry.sample:
            tell(entry.sample.trajectory)


def test_calls_of_a_step_and_choices_of_a_question_are_capped() -> None:
    document = json.loads(RECORD)
    step = document["steps"][0]
    step["calls"] = [{**step["calls"][0], "id": f"c{i}"} for i in range(MAX_CALLS + 1)]
    document["task"]["choices"] += [f"x{i}" for i in range(MAX_CHOICES)]
    found = {(each.path, each.code) for each in check_text(canonical_json(document))}
    assert found == {("steps[0].calls", "schema.length"), ("task.choices", "schema.length")}
