from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner
from trajectories import build_block, build_sample

from pearl_data.schemas import drift, main, schemas, write
from pearl_data.shards import DatasetWriter
from pearl_data.trajectory import SCHEMA_VERSION, canonical_json


def errors(name: str, document: object) -> list[tuple[str, str]]:
    oracle = jsonschema.Draft202012Validator(schemas()[name])
    return [(error.json_path, error.message) for error in oracle.iter_errors(document)]


def test_the_exported_files_are_those_of_the_code() -> None:
    assert drift() == []


@pytest.mark.parametrize("name", ["trajectory", "tool-call", "observation", "manifest"])
def test_every_schema_is_one_and_carries_its_version(name: str) -> None:
    schema = schemas()[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert (
        schema["$id"] == f"urn:pearl:{name}:{'1.0' if name == 'audit-report' else SCHEMA_VERSION}"
    )


def test_drift_is_named_by_file(tmp_path: Path) -> None:
    write(tmp_path)
    assert drift(tmp_path) == []
    (tmp_path / "trajectory.schema.json").write_text("{}")
    (tmp_path / "old.schema.json").write_text("{}")
    (tmp_path / "manifest.schema.json").unlink()
    assert drift(tmp_path) == [
        "manifest.schema.json: not written yet",
        "old.schema.json: no record has this schema",
        "trajectory.schema.json: differs from the code",
    ]


def test_the_check_command_is_quiet_when_all_is_well_and_wants_one_option() -> None:
    assert CliRunner().invoke(main, ["--check"]).exit_code == 0
    assert CliRunner().invoke(main, []).exit_code == 2


def test_every_manifest_line_fits_its_schema(tmp_path: Path) -> None:
    with DatasetWriter.open(tmp_path, {"seed": 1}, samples_per_shard=4) as writer:
        for index in range(3):
            writer.add_block(index, build_block(index))
        writer.close()
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines()
    assert len(lines) > 3
    assert [errors("manifest", json.loads(line)) for line in lines] == [[]] * len(lines)
    shard = {**json.loads(lines[1]), "samples": -1}
    assert [path for path, _ in errors("manifest", shard)] == ["$.samples"]


def test_a_tool_call_is_judged_by_its_own_tool() -> None:
    good = {"id": "c1", "tool": "crop", "arguments": {"image": "i0", "bbox": [0, 0, 1, 1]}}
    assert errors("tool-call", good) == []
    assert errors("tool-call", {**good, "arguments": "{"}) == []
    bad = {**good, "arguments": {"image": "i0", "bbox": [0, 0, 1]}}
    assert [path for path, _ in errors("tool-call", bad)] == ["$.arguments.bbox"]
    assert [path for path, _ in errors("tool-call", {**good, "tool": "crap"})] == ["$.tool"]


def test_an_observation_has_media_or_an_error_never_both() -> None:
    call = build_sample(failed_call=True).trajectory.steps[0].calls[0]
    failed = {
        "status": "error",
        "media": [],
        "effective": None,
        "text": "",
        "error": msgspec.json.decode(canonical_json(call.result.error)),
    }
    assert errors("observation", failed) == []
    claimed = errors("observation", {**failed, "status": "ok"})
    assert [path for path, _ in claimed] == ["$.error", "$.text"]
    in_words = {**failed, "status": "ok", "error": None, "text": "2 pictures differ"}
    assert errors("observation", in_words) == []
    assert [path for path, _ in errors("observation", {**failed, "error": None})] == ["$.error"]
    code = {**failed, "error": {**failed["error"], "code": "geometry.sideways"}}
    assert [path for path, _ in errors("observation", code)] == ["$.error.code"]
