from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trajectories import HEIGHT, WIDTH, build_sample

from pearl_data.shards import Sample
from pearl_data.trajectory import Trajectory, canonical_json
from pearl_data.validate import Finding, check_sample, check_text, semantics
from pearl_data.validate.schema import plainly_valid, validator
from pearl_tools.executor import ExecutorSettings
from pearl_tools.media import encode_npy, encode_png

Edit = Callable[[dict[str, Any]], object]

BASE: dict[str, Any] = msgspec.json.decode(
    canonical_json(
        build_sample(depth=True, second_crop=True, zoom=True, failed_call=True).trajectory
    )
)
# steps: 0 failed crop, 1 crop -> o1, 2 crop of o1 -> o2, 3 zoom of o1 -> o3, 4 depth of i0 -> o4
WRONG_BOX = [0.9, 0.9, 1.0, 1.0]


def edited(edit: Edit) -> list[Finding]:
    document = copy.deepcopy(BASE)
    edit(document)
    return check_text(msgspec.json.encode(document))


def call(document: dict[str, Any], step: int) -> Any:
    return document["steps"][step]["calls"][0]


def test_a_true_record_has_no_findings() -> None:
    assert check_text(canonical_json(BASE)) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "parse.not_json"),
        (b"{", "parse.not_json"),
        (b'"\xff"', "parse.not_json"),
        (b"[" * 5000, "parse.not_json"),
        (b"[]", "parse.not_an_object"),
        (b"NaN", "parse.not_json"),
    ],
)
def test_what_is_no_json_object_is_said_once(text: bytes, code: str) -> None:
    assert [each.code for each in check_text(text)] == [code]


SCHEMA_EDITS: list[tuple[Edit, str, str, str, str]] = [
    (
        lambda d: call(d, 1)["arguments"]["bbox"].pop(),
        "schema.length",
        "steps[1].calls[0].arguments.bbox",
        "at least 4 items",
        "3 items",
    ),
    (
        lambda d: call(d, 1)["arguments"].update(bbox="all"),
        "schema.type",
        "steps[1].calls[0].arguments.bbox",
        "a list",
        '"all"',
    ),
    (
        lambda d: call(d, 1)["arguments"]["bbox"].__setitem__(2, None),
        "schema.type",
        "steps[1].calls[0].arguments.bbox[2]",
        "a number",
        "null",
    ),
    (
        lambda d: call(d, 1).update(tool="corp"),
        "schema.unknown_tool",
        "steps[1].calls[0].tool",
        "one of crop, zoom, depth",
        '"corp"',
    ),
    (
        lambda d: call(d, 1)["arguments"].pop("image"),
        "schema.missing_field",
        "steps[1].calls[0].arguments.image",
        "this field",
        "nothing",
    ),
    (
        lambda d: call(d, 1)["arguments"].update(bbox_2d=1),
        "schema.unknown_field",
        "steps[1].calls[0].arguments.bbox_2d",
        "no such field",
        "1",
    ),
    (
        lambda d: call(d, 1).update(arguments=None),
        "schema.type",
        "steps[1].calls[0].arguments",
        "an object",
        "null",
    ),
    (
        lambda d: call(d, 0)["result"]["error"].update(code="geometry.sideways"),
        "schema.enum",
        "steps[0].calls[0].result.error.code",
        'one of "parse.not_json"',
        '"geometry.sideways"',
    ),
    (
        lambda d: call(d, 0)["result"].update(error=None),
        "schema.type",
        "steps[0].calls[0].result.error",
        "an object",
        "null",
    ),
    (
        lambda d: d.update(schema_version="1.0"),
        "schema.version",
        "schema_version",
        "version 2.0",
        '"1.0"',
    ),
    (lambda d: d.update(id="a.b"), "schema.pattern", "id", "a text like ^[a-z0-9]", '"a.b"'),
    (lambda d: d.update(id="a\n"), "schema.pattern", "id", "a text like ^[a-z0-9]", r'"a\n"'),
    (lambda d: d["media"][0].update(width=0), "schema.range", "media[0].width", "at least 1", "0"),
    (
        lambda d: d["media"][0].update(frame="x"),
        "schema.type",
        "media[0].frame",
        "an object or null",
        '"x"',
    ),
    (
        lambda d: d["task"].pop("answer"),
        "schema.missing_field",
        "task.answer",
        "this field",
        "nothing",
    ),
    (
        lambda d: call(d, 1)["result"].update(media=[], text=""),
        "schema.length",
        "steps[1].calls[0].result.text",
        "at least 1 characters",
        "0 characters",
    ),
    (
        lambda d: call(d, 1).update(exec=None),
        "schema.type",
        "steps[1].calls[0].exec",
        "an object",
        "null",
    ),
]


@pytest.mark.parametrize(("edit", "code", "path", "expected", "got"), SCHEMA_EDITS)
def test_schema_findings_point_at_the_value(
    edit: Edit, code: str, path: str, expected: str, got: str
) -> None:
    (found,) = edited(edit)
    assert (found.code, found.path) == (code, path)
    assert sorted(found.expected.split()) == sorted(expected.split()) or found.expected.startswith(
        expected
    )
    assert found.got == got


def test_an_unknown_field_is_told_what_was_meant() -> None:
    (first, second) = sorted(edited(lambda d: d["task"].update(anser="red", x=1)), key=str)
    assert (first.path, first.hint) == ("task.anser", "did you mean answer?")
    assert (second.path, second.hint) == ("task.x", "leave it out")


def test_all_faults_are_reported_not_only_the_first() -> None:
    def edit(document: dict[str, Any]) -> None:
        others = [SCHEMA_EDITS[0], *SCHEMA_EDITS[9:]]
        for change, code, *_ in others:
            if code != "schema.version":  # stands alone
                change(document)

    assert len(edited(edit)) >= 6


def test_a_failed_call_may_have_any_tool_and_arguments() -> None:
    assert edited(lambda d: call(d, 0).update(tool="corp", arguments={"x": [1]})) == []
    assert edited(lambda d: call(d, 0).update(arguments=None, arguments_raw="{{")) == []


def test_the_text_of_a_call_is_only_held_against_our_own_expert() -> None:
    def edit(document: dict[str, Any], text: str, origin: str) -> None:
        call(document, 1).update(arguments_raw=text)
        document.update(origin=origin)

    spaced = msgspec.json.format(call(BASE, 1)["arguments_raw"], indent=4)
    assert edited(lambda d: edit(d, spaced, "expert")) == []
    assert edited(lambda d: edit(d, "<crop 1 2 3 4>", "imported")) == []
    (found,) = edited(lambda d: edit(d, '{"image":"i1"}', "expert"))
    assert (found.code, found.got) == ("schema.combination", '{"image":"i1"}')


def test_whole_numbers_written_as_floats_are_the_same_record() -> None:
    def edit(document: dict[str, Any]) -> None:
        document["loss_mask"] = [float(value) for value in document["loss_mask"]]
        document["media"][0]["width"] = float(WIDTH)

    assert edited(edit) == []


LATER_EDITS: list[tuple[Edit, list[tuple[str, str]]]] = [
    (
        lambda d: call(d, 1)["arguments"].update(image="i7"),
        [("reference.unknown_medium", "steps[1].calls[0].arguments.image")],
    ),
    (
        lambda d: call(d, 1)["result"].update(media=[]),
        [("result.missing_media", "steps[1].calls[0].result.media")],
    ),
    (
        lambda d: d["media"][1].update(parent="o2"),
        [("reference.unknown_medium", "media[1].parent")],
    ),
    (
        lambda d: d["steps"].insert(1, d["steps"].pop(2)),
        [
            ("reference.not_yet", "steps[1].calls[0].arguments.image"),
        ],
    ),
    (
        lambda d: call(d, 3)["arguments"].update(image="o4"),
        [("reference.not_yet", "steps[3].calls[0].arguments.image")],
    ),
    (
        lambda d: d["steps"].append({"thought": "Again.", "calls": [dup(call(d, 1), "c9", "o4")]}),
        [("reference.wrong_kind", "steps[5].calls[0].arguments.image")],
    ),
    (
        lambda d: call(d, 2).update(id="c2"),
        [("reference.duplicate_id", "steps[2].calls[0].id")],
    ),
    (
        lambda d: d["media"][2].update(id="o1"),
        [("reference.duplicate_id", "media[2].id")],
    ),
    (
        lambda d: d["media"][2].update(name_in_sample="o1.png"),
        [("reference.duplicate_id", "media[2].name_in_sample")],
    ),
    (
        lambda d: d["media"][1].update(parent="o9"),
        [("reference.unknown_medium", "media[1].parent")],
    ),
    (
        lambda d: d["media"][1].update(kind="zoom"),
        [("reference.wrong_kind", "media[1].kind")],
    ),
    (
        lambda d: call(d, 1)["result"].update(media=["o8"]),
        [("result.missing_media", "steps[1].calls[0].result.media[0]")],
    ),
    (
        lambda d: call(d, 1).update(arguments_raw='{"image": "i0"}'),
        [("schema.combination", "steps[1].calls[0].arguments_raw")],
    ),
    (
        lambda d: call(d, 1).update(arguments_raw="crop it"),
        [("parse.not_json", "steps[1].calls[0].arguments_raw")],
    ),
    (
        lambda d: call(d, 1)["arguments"].update(bbox=WRONG_BOX),
        [("result.box_mismatch", "steps[1].calls[0].effective.box_px")],
    ),
    (
        lambda d: call(d, 1)["arguments"].update(bbox=[0.9, 0.1, 0.2, 0.3]),
        [("geometry.inverted", "steps[1].calls[0].arguments.bbox[0]")],
    ),
    (
        lambda d: call(d, 1)["arguments"].update(bbox=[100, 100, 200, 200]),
        [("geometry.wrong_unit", "steps[1].calls[0].arguments.bbox[0]")],
    ),
    (
        lambda d: call(d, 3)["arguments"].pop("factor"),
        [("schema.combination", "steps[3].calls[0].arguments")],
    ),
    (
        lambda d: call(d, 2)["effective"]["box_px"].__setitem__(0, 5),
        [("result.box_mismatch", "steps[2].calls[0].effective.box_px")],
    ),
    (
        lambda d: call(d, 2)["effective"]["box_root"].__setitem__(0, 5.0),
        [("result.box_mismatch", "steps[2].calls[0].effective.box_root")],
    ),
    (
        lambda d: call(d, 3)["effective"]["resampling"].update(height=100),
        [("result.size_mismatch", "steps[3].calls[0].effective.resampling")],
    ),
    (
        lambda d: d["media"][1].update(width=30),
        [("result.size_mismatch", "media[1].width")],
    ),
    (
        lambda d: d["media"][2].update(box_root=[0, 0, 1, 1]),
        [("result.box_mismatch", "media[2].box_root")],
    ),
    (
        lambda d: d["media"][0].update(box_root=[0, 0, 1, 1]),
        [("result.box_mismatch", "media[0].box_root")],
    ),
    (
        lambda d: d["task"]["evidence"][0].update(bbox=[0.5, 0.5, 0.4, 1.5]),
        [
            ("geometry.inverted", "task.evidence[0].bbox[0]"),
            ("geometry.outside", "task.evidence[0].bbox[3]"),
        ],
    ),
    (
        lambda d: d["task"]["evidence"][0].update(bbox=[0, 0, 0.05, 0.05]),
        [("semantic.unfaithful_crop", "task.evidence[0].bbox")],
    ),
    (
        lambda d: d["task"]["evidence"][0].update(media="i5"),
        [("semantic.answer_contradicts", "task.evidence[0].media")],
    ),
    (
        lambda d: d["final"].update(answer="purple"),
        [
            ("semantic.answer_not_in_choices", "final.answer"),
            ("semantic.answer_contradicts", "final.answer"),
        ],
    ),
    (
        lambda d: d["final"].update(answer="green"),
        [("semantic.answer_contradicts", "final.answer")],
    ),
    (
        lambda d: d["task"].update(choices=["red", "red", "green", "blue"]),
        [("semantic.ambiguous", "task.choices[1]")],
    ),
    (
        lambda d: d["task"].update(choices=["red", "green", "blue", "Dark_blue.", "dark  BLUE"]),
        [("semantic.ambiguous", "task.choices[4]")],
    ),
    (
        lambda d: d["task"].update(question="What colour is it? <image>"),
        [("schema.pattern", "task.question")],
    ),
    (
        lambda d: d["task"]["evidence"][0].update(bbox=[0, 0, 1, 0.95]),
        [
            ("geometry.whole_image", "task.evidence[0].bbox"),
            ("semantic.unfaithful_crop", "task.evidence[0].bbox"),
        ],
    ),
    (
        lambda d: d["task"]["evidence"][0].update(label="a <|image_pad|>"),
        [("schema.pattern", "task.evidence[0].label")],
    ),
    (
        lambda d: (
            d["task"].update(family="given"),
            d["media"].append({**d["media"][0], "id": "i1", "name_in_sample": "i1.jpg"}),
        ),
        [],
    ),
    (
        lambda d: d["media"].append(
            {
                **d["media"][0],
                "id": "i1",
                "name_in_sample": "i1.jpg",
                "width": 2001,
                "height": 10,
                "box_root": [0, 0, 2001, 10],
            }
        ),
        [("geometry.aspect_ratio", "media[5]"), ("semantic.dangling_media", "media[5]")],
    ),
    (
        lambda d: d["loss_mask"].pop(),
        [("schema.length", "loss_mask")],
    ),
    (
        lambda d: d["media"].append({**d["media"][1], "id": "o9", "name_in_sample": "o9.png"}),
        [("semantic.dangling_media", "media[5]")],
    ),
    (
        lambda d: d["media"].append({**d["media"][0], "id": "i1", "name_in_sample": "i1.jpg"}),
        [("semantic.dangling_media", "media[5]")],
    ),
    (
        lambda d: (d["final"].update(thought=" "),),
        [("semantic.unused_observation", "steps[4].calls[0].result.media[0]")],
    ),
    (
        lambda d: d["steps"].append({"thought": "Again.", "calls": [{**call(d, 0), "id": "c9"}]}),
        [("semantic.repeated_call", "steps[5].calls[0]")],
    ),
    (
        lambda d: d["task"].update(family="nearer", evidence=[]) or d["steps"].pop(),
        [("semantic.insufficient_calls", "steps")],
    ),
    (
        lambda d: d.update(fault={"code": "semantic.repeated_call", "step": 9, "recovered_at": 3}),
        [
            ("reference.index_out_of_range", "fault.step"),
            ("reference.index_out_of_range", "fault.recovered_at"),
        ],
    ),
]


def dup(made: dict[str, Any], new_id: str, image: str) -> dict[str, Any]:
    return {
        **made,
        "id": new_id,
        "arguments": {**made["arguments"], "image": image},
    }


@pytest.mark.parametrize(("edit", "expected"), LATER_EDITS)
def test_later_findings_point_at_the_value(edit: Edit, expected: list[tuple[str, str]]) -> None:
    found = [(each.code, each.path) for each in edited(edit)]
    for each in expected:
        assert each in found


def test_a_declared_fault_is_no_finding() -> None:
    def edit(document: dict[str, Any]) -> None:
        document["steps"].append(
            {"thought": "Again.", "calls": [{**call(document, 0), "id": "c9"}]}
        )
        document["loss_mask"].append(0)
        document["fault"] = {"code": "semantic.repeated_call", "step": 5, "recovered_at": 6}

    assert edited(edit) == []


@pytest.mark.parametrize(
    "settings",
    [
        ExecutorSettings(pad_share=0.1),
        ExecutorSettings(pad_share=0.25, on_partly_outside="clamp"),
        ExecutorSettings(zoom_long_side_px=200, pad_share=0.3),
    ],
)
def test_records_are_judged_without_the_settings_of_their_run(settings: ExecutorSettings) -> None:
    for seed in range(6):
        sample = build_sample(seed=seed, zoom=True, settings=settings)
        assert [str(each) for each in check_sample(sample)] == []


def with_members(sample: Sample, **members: bytes) -> list[Finding]:
    changed = {name.replace("_", "."): data for name, data in members.items()}
    return check_sample(Sample(sample.trajectory, {**sample.members, **changed}))


def test_a_swapped_observation_is_found_by_its_file_hash() -> None:
    sample, other = build_sample(), build_sample(seed=1)
    found = with_members(sample, o1_png=other.members["o1.png"])
    assert [(each.code, each.path) for each in found] == [
        ("result.hash_mismatch", "media[1].file_sha256"),
        ("result.hash_mismatch", "media[1].pixel_sha256"),
    ]


def test_an_observation_swapped_with_its_file_hash_is_found_by_its_pixels() -> None:
    sample, other = build_sample(depth=True), build_sample(seed=1, depth=True)
    media = [
        msgspec.structs.replace(medium, file_sha256=theirs.file_sha256)
        for medium, theirs in zip(sample.trajectory.media, other.trajectory.media, strict=True)
    ]
    record = msgspec.structs.replace(sample.trajectory, media=media)
    found = check_sample(Sample(record, other.members))
    assert [each.path for each in found] == ["media[1].pixel_sha256", "media[2].pixel_sha256"]


def test_the_picture_of_another_depth_map_is_found() -> None:
    sample = build_sample(depth=True)
    grey = encode_png(np.zeros((12, 16), np.uint8))
    (found,) = with_members(sample, o2_png=grey)
    assert (found.code, found.path) == ("result.hash_mismatch", "media[2].picture_in_sample")


def test_missing_unnamed_and_undecodable_members_are_found() -> None:
    sample = build_sample(depth=True)
    members = dict(sample.members)
    del members["i0.jpg"]
    found = check_sample(Sample(sample.trajectory, members))
    assert [(each.code, each.path) for each in found] == [
        ("parse.missing_member", "media[0].name_in_sample")
    ]
    (unnamed,) = with_members(sample, o9_png=b"x")
    assert (unnamed.code, unnamed.got) == ("parse.misplaced", "the member o9.png")
    assert "execution.decode" in {each.code for each in with_members(sample, o1_png=b"no picture")}
    wide = encode_npy(np.zeros((3, 3), np.float32))
    assert "result.size_mismatch" in {each.code for each in with_members(sample, o2_npy=wide)}


def test_size_of_stored_pixels_is_that_of_the_record() -> None:
    assert (WIDTH, HEIGHT) == (160, 120)
    found = with_members(build_sample(), o1_png=encode_png(np.zeros((9, 9, 3), np.uint8)))
    assert ("result.size_mismatch", "media[1]") in [(each.code, each.path) for each in found]


def test_decoding_can_be_left_out_for_pixels_just_made() -> None:
    sample, other = build_sample(), build_sample(seed=1)
    members = {**sample.members, "o1.png": other.members["o1.png"]}
    found = check_sample(Sample(sample.trajectory, members), pixels=False)
    assert [each.path for each in found] == ["media[1].file_sha256"]


def test_checked_records_convert() -> None:
    assert msgspec.convert(BASE, Trajectory).id == "s000000"


@pytest.mark.parametrize("thought", ["", "I look at o1."])
def test_the_work_grows_as_the_record_does(thought: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"named": 0}
    named = semantics.named_media

    def counting(call: Any) -> list[str]:
        counts["named"] += 1
        return named(call)

    monkeypatch.setattr(semantics, "named_media", counting)
    document = msgspec.json.decode(canonical_json(build_sample().trajectory))
    (step,) = document["steps"]
    ((call,), steps) = (step["calls"], 400)
    document["steps"] = [
        {"thought": thought, "calls": [{**call, "id": f"c{i}"}]} for i in range(steps)
    ]
    document["loss_mask"] = [1] * steps
    assert check_text(canonical_json(document))
    assert counts["named"] <= 4 * steps


@pytest.mark.parametrize(
    ("said", "unused"), [("As o1 shows.", False), ("As (o1) shows", False), ("As o12 shows.", True)]
)
def test_an_id_is_named_as_a_word_and_not_inside_another(said: str, *, unused: bool) -> None:
    document = msgspec.json.decode(canonical_json(build_sample(second_crop=True).trajectory))
    _, second = document["steps"]
    second["thought"], document["final"]["thought"] = "", said
    second["calls"][0]["arguments"]["image"] = "i0"  # so that no call takes the first crop
    found = {(each.code, each.path) for each in check_text(canonical_json(document))}
    path = "steps[0].calls[0].result.media[0]"
    assert (("semantic.unused_observation", path) in found) == unused


LEAVES = st.sampled_from(
    [None, True, 0, 1, -1, 1.0, 0.5, 1e300, 2**60, "", "i0", "o1", "i0\n", "crop", "<", [], {}]
)


@given(data=st.data())
def test_the_short_way_passes_only_what_the_schema_passes(data: st.DataObject) -> None:
    document = json.loads(canonical_json(BASE))
    for _ in range(data.draw(st.integers(1, 2))):
        node, key = document, data.draw(st.sampled_from(sorted(document)))
        while isinstance(node[key], dict | list) and node[key] and data.draw(st.integers(0, 4)):
            node = node[key]
            keys = range(len(node)) if isinstance(node, list) else sorted(node)
            key = data.draw(st.sampled_from(list(keys)))
        change = data.draw(st.sampled_from(["set", "drop", "add"]))
        if change == "set":
            node[key] = data.draw(LEAVES)
        elif change == "drop":
            del node[key]
        elif isinstance(node, dict):
            node["added"] = data.draw(LEAVES)
        if not document:
            return
    text = canonical_json(document)
    if plainly_valid(text) is not None:
        assert validator().is_valid(json.loads(text))


def test_the_short_way_is_the_usual_one() -> None:
    assert plainly_valid(canonical_json(BASE)) is not None
    assert plainly_valid(json.dumps(json.loads(canonical_json(BASE))).encode()) is None
