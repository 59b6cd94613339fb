"""COCO files as people's tools write them: what each gives, in values."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from coco_documents import ALL, BOXES, annotation, changed, codes, document, facts, items, source

from pearl_data.sources.base import Candidate, QuestionSettings, Rejected
from pearl_data.sources.coco import CocoSource
from pearl_data.trajectory import canonical_json
from pearl_tools.errors import BadInput, UsageError


def test_a_plain_file_is_whole(tmp_path: Path) -> None:
    (found,) = facts(source(tmp_path, document()))
    assert found.complete == ["bird", "cat", "dog"]
    assert [thing.name for thing in found.things] == ["dog", "dog", "dog", "cat", "bird"]
    assert found.things[0].bbox == (60 / 640, 180 / 480, 100 / 640, 210 / 480)


# completeness over everything the file says


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"bbox": [-6, 200, 40, 30]}, "geometry.partly_outside"),
        ({"bbox": [620, 100, 40, 30]}, "geometry.partly_outside"),
        ({"bbox": [700, 100, 40, 30]}, "geometry.outside"),
        ({"bbox": [60, 180, 0, 30]}, "geometry.zero_area"),
        ({"bbox": [0.1, 0.2, 0.3, 0.4]}, "geometry.wrong_unit"),
        ({"bbox": None}, "schema.missing_field"),
        ({"bbox": "60,180,40,30"}, "schema.type"),
        ({"bbox": [60, 180, "wide", 30]}, "schema.type"),
        ({"bbox": [60, 180, 40]}, "schema.length"),
        ({"bbox": {"x": 60}}, "schema.type"),
    ],
)
def test_a_box_that_is_kept_out_leaves_its_kind_incomplete(
    tmp_path: Path, fields: dict[str, Any], code: str
) -> None:
    opened = source(tmp_path, changed(0, **fields))
    assert codes(opened) == {code: 1}
    (found,) = facts(opened)
    assert found.complete == ["bird", "cat"]
    assert [thing.crowd for thing in found.things] == [True, False, False, False, False]


@pytest.mark.parametrize("kind", [9, None, True, [1]])
def test_an_annotation_of_no_known_kind_leaves_every_kind_incomplete(
    tmp_path: Path, kind: Any
) -> None:
    opened = source(tmp_path, changed(0, category_id=kind))
    assert codes(opened) == {"reference.index_out_of_range": 1}
    (found,) = facts(opened)
    assert (found.complete, len(found.things)) == ([], 4)


@pytest.mark.parametrize(
    "name", ["1.png", "./1.png", "images/1.png", "/data/1.png", "C:\\x\\1.png", "link.png"]
)
def test_a_second_entry_of_one_file_leaves_what_it_names_incomplete(
    tmp_path: Path, name: str
) -> None:
    content = document()
    content["images"].append({"id": 2, "width": 640, "height": 480, "file_name": name})
    content["annotations"].append({**annotation(9, 1, (300, 400, 40, 30)), "image_id": 2})
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "link.png").symlink_to("1.png")
    one, two = facts(source(tmp_path, content))
    assert one.complete == ["bird", "cat"]
    assert [(thing.name, thing.crowd) for thing in one.things][-1] == ("dog", True)
    assert two.complete == []
    assert [thing.crowd for thing in two.things] == [False, *[True] * 5]


def test_two_pictures_of_which_one_is_there_are_not_mixed_up(tmp_path: Path) -> None:
    content = document()
    content["images"] = [
        {"id": 1, "file_name": "train/1.png"}, {"id": 2, "file_name": "val/1.png"}
    ]  # fmt: skip
    assert codes(source(tmp_path, content)) == {"semantic.ambiguous": 2}


def test_ids_of_annotations_mean_nothing(tmp_path: Path) -> None:
    for own in (0, 7.0, "x", None, 10**30, [1]):
        content = document()
        for item in content["annotations"]:
            item["id"] = own
        opened = source(tmp_path, content)
        assert codes(opened) == {}
        assert facts(opened)[0].complete == ["bird", "cat", "dog"]


def test_groups_are_not_counted_nor_asked_about(tmp_path: Path) -> None:
    for flag in (
        {"iscrowd": 1}, {"iscrowd": "1"}, {"is_crowd": True}, {"IsGroupOf": True},
        {"isgroupof": 1}, {"IsGroupOf": -1}, {"ignore": 1}, {"attributes": {"is_crowd": True}},
    ):  # fmt: skip
        (found,) = facts(source(tmp_path, changed(1, **flag)))
        assert found.complete == ["bird", "cat"], flag
        assert [thing.crowd for thing in found.things] == [False, True, False, False, False]
    for flag in ({"iscrowd": 0}, {"iscrowd": None}, {"iscrowd": "0"}, {"ignore": False}):
        assert facts(source(tmp_path, changed(1, **flag)))[0].complete == ["bird", "cat", "dog"]


# names, boxes and hierarchies


def test_names_that_differ_in_case_and_spacing_are_one_kind(tmp_path: Path) -> None:
    content = document(
        categories=[
            {"id": 1, "name": "traffic_light"}, {"id": 2, "name": "Traffic  Light"},
            {"id": 3, "name": "traffic-light "},
        ]
    )  # fmt: skip
    opened = source(tmp_path, content)
    (found,) = facts(opened)
    assert [thing.name for thing in found.things] == ["traffic light"] * 5
    assert found.complete == ["traffic light"]
    assert opened.notes == [
        "one kind: 'traffic_light' (id 1) and 'Traffic  Light' (id 2)",
        "one kind: 'traffic_light' (id 1) and 'traffic-light ' (id 3)",
    ]


@pytest.mark.parametrize(
    ("box", "things"),
    [((400, 100, 30, 30), 5), ((400.4, 100, 30, 30), 5), ((402, 100, 30, 30), 6)],
)
def test_equal_boxes_of_one_kind_are_one(
    tmp_path: Path, box: tuple[float, ...], things: int
) -> None:
    content = document()
    content["annotations"].append(annotation(77, 2, box, attributes={"color": "black"}))
    opened = source(tmp_path, content)
    (found,) = facts(opened)
    assert len(found.things) == things
    assert codes(opened) == ({"reference.duplicate_box": 1} if things == 5 else {})
    assert found.complete == ["bird", "cat", "dog"]
    if things == 5:
        assert found.things[3].attributes == {"color": "black"}
        (twice,) = [item for item in items(opened) if isinstance(item, Rejected)]
        assert twice.reason.path == "annotations[5].bbox"
        assert "annotations[3]" in twice.reason.got


def test_one_box_of_two_kinds_is_two_things(tmp_path: Path) -> None:
    content = document()
    content["annotations"].append(annotation(77, 3, BOXES[3]))
    assert len(facts(source(tmp_path, content))[0].things) == 6


@pytest.mark.parametrize(
    ("fields", "trees"),
    [
        ({"supercategory": "Person"}, {}),
        ({"supercategory": ["being", "person"]}, {}),
        ({"parent": "person"}, {}),
        ({"parent_id": 2.0}, {}),
        ({"parents": [{"name": "person"}]}, {}),
        ({}, {"hierarchy": {"LabelName": "Entity", "Subcategory": [
            {"LabelName": "person", "Subcategory": [{"LabelName": "man"}]}]}}),
        ({}, {"hierarchy": {"person": ["man", "woman"]}}),
        ({"supercategory": "adult"}, {"hierarchy": {"person": ["adult"]}}),
    ],
)  # fmt: skip
def test_a_broader_kind_is_neither_a_wrong_choice_nor_counted(
    tmp_path: Path, fields: dict[str, Any], trees: dict[str, Any]
) -> None:
    content = document(
        categories=[
            {"id": 1, "name": "man", **fields}, {"id": 2, "name": "person"},
            {"id": 3, "name": "hat"},
        ],
        **trees,
    )  # fmt: skip
    opened = source(tmp_path, content)
    (found,) = facts(opened)
    assert found.things[0].kin == ["person"]
    assert found.things[3].kin == ["man"]
    assert found.complete == ["hat"]
    content["annotations"] = content["annotations"][:3]  # men only: person is nowhere else
    for item in items(source(tmp_path, content)):
        if isinstance(item, Candidate) and item.task.answer == "man":
            assert "person" not in item.task.choices


def test_a_name_that_ends_in_another_is_a_narrower_one(tmp_path: Path) -> None:
    names = ("teddy bear", "bear", "bearing")
    kinds = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    (found,) = facts(source(tmp_path, document(categories=kinds)))
    assert [thing.kin for thing in found.things[2:]] == [["bear"], ["teddy bear"], []]


def test_a_super_category_of_its_own_name_is_no_hierarchy(tmp_path: Path) -> None:
    content = document()
    content["categories"][0]["supercategory"] = "dog"
    assert facts(source(tmp_path, content))[0].complete == ["bird", "cat", "dog"]


# attributes


def with_attributes(*values: Any, name: str = "color") -> dict[str, Any]:
    content = document()
    for item, value in zip(content["annotations"], values, strict=False):
        item["attributes"] = value if isinstance(value, dict) else {name: value}
    return content


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("track_id", [1, 2, 3, 4, 5], "bookkeeping"),
        ("vehicleId", ["a", "b", "c", "d", "e"], "bookkeeping"),
        ("z_order", ["1", "2", "1", "2", "1"], "bookkeeping"),
        ("Occluded", ["yes", "no", "yes", "no", "no"], "bookkeeping"),
        ("detection_score", ["0.9", "0.8", "0.7", "0.9", "0.6"], "bookkeeping"),
        ("wearing hat", ["yes", "no", "Yes", "no", "no"], "only yes and no"),
        ("wearing hat", [True, False, True, False, False], "only yes and no"),
        ("speed", [1, 2.5, 3, 4, 5], "only numbers"),
        ("brand", ["-", "N/A", "unknown", "?", "not visible"], "no usable value"),
    ],
)
def test_what_no_picture_shows_is_not_asked_and_said(
    tmp_path: Path, name: str, values: list[Any], why: str
) -> None:
    opened = source(tmp_path, with_attributes(*values, name=name))
    assert opened.notes == [f"attributes not asked ({why}): {name}"]
    assert [thing.attributes for thing in facts(opened)[0].things] == [{}] * 5
    asked = [item.task.family for item in items(opened) if isinstance(item, Candidate)]
    assert asked
    assert "attribute" not in asked


def test_values_that_are_names_of_their_own_are_not_asked(tmp_path: Path) -> None:
    content = document()
    content["annotations"] = [
        annotation(k, 1, (10 + 40 * k, 20, 20, 20), attributes={"nick": f"dog {k}"})
        for k in range(12)
    ]
    assert source(tmp_path, content).notes == [
        "attributes not asked (12 different values on 12 things): nick"
    ]


def test_words_for_no_value_are_no_answer(tmp_path: Path) -> None:
    opened = source(tmp_path, with_attributes("red", "unknown", "N/A", "blue", "-"))
    assert opened.notes == ["values of color that mean no value: -, N/A, unknown"]
    tasks = [item.task for item in items(opened) if isinstance(item, Candidate)]
    choices = {choice for t in tasks if t.family == "attribute" for choice in t.choices}
    assert choices == {"red", "blue"}


def test_attributes_can_be_chosen(tmp_path: Path) -> None:
    content = with_attributes(*({"track_id": k, "color": "red"} for k in range(5)))
    chosen = QuestionSettings(tools=["crop"], attributes=["Track ID"])
    opened = source(tmp_path, content, chosen)
    assert [thing.attributes for thing in facts(opened)[0].things] == [
        {"track_id": str(k)} for k in range(5)
    ]
    assert opened.notes == ["attributes not asked (not among --attributes): color"]
    none = QuestionSettings(tools=["crop"], attributes=[])
    assert facts(source(tmp_path, content, none))[0].things[0].attributes == {}
    with pytest.raises(UsageError, match=r"--attributes: expected names .*color, track_id.* shade"):
        source(tmp_path, content, QuestionSettings(tools=["crop"], attributes=["shade"]))


# units


def as_fractions(box: tuple[int, ...]) -> list[float]:
    x, y, w, h = box
    return [x / 640, y / 480, w / 640, h / 480]


@pytest.mark.parametrize(
    ("boxes", "areas", "evidence"),
    [
        ([as_fractions(box) for box in BOXES], False, "fractions: 5 of 5 boxes lie within 0..1"),
        ([(x, y, x + w, y + h) for x, y, w, h in BOXES], False,
         r"0 have the area that the file says; read as \[x, y, width, height\], 3 and 0"),
        # in the first quarter of the picture every corner is a fine width: only areas tell
        ([(x / 4, y / 4, (x + w) / 4, (y + h) / 4) for x, y, w, h in BOXES], True,
         r"5 have the area that the file says; read as \[x, y, width, height\], 5 and 0"),
    ],
)  # fmt: skip
def test_boxes_in_another_unit_are_refused_with_the_evidence(
    tmp_path: Path, boxes: list[Any], areas: bool, evidence: str
) -> None:
    content = document()
    for item, box in zip(content["annotations"], boxes, strict=True):
        item["bbox"] = list(box)
        if areas:
            item["area"] = (box[2] - box[0]) * (box[3] - box[1])
    with pytest.raises(BadInput, match=rf"{evidence}.*\[geometry.wrong_unit\]"):
        source(tmp_path, content)


def test_corners_are_found_where_the_file_has_no_sizes(tmp_path: Path) -> None:
    content = document(images=[{"id": 1, "file_name": "1.png"}])
    for item, (x, y, w, h) in zip(content["annotations"], BOXES, strict=True):
        item["bbox"] = [x, y, x + w, y + h]
    with pytest.raises(BadInput, match=r"corners .*\[geometry.wrong_unit\]"):
        source(tmp_path, content)


def test_large_things_and_a_few_boxes_beyond_the_edge_are_no_corners(tmp_path: Path) -> None:
    content = document()
    content["annotations"] = [annotation(k, 1, (k, k, 500, 400)) for k in range(20)]
    content["annotations"].append(annotation(99, 2, (20, 20, 625, 300)))
    assert codes(source(tmp_path, content))["geometry.partly_outside"] == 1


def test_areas_that_mean_nothing_do_not_matter(tmp_path: Path) -> None:
    for area in (0, -1, 1e9, None, "large", float("nan"), [1]):
        content = document()
        for item in content["annotations"]:
            item |= {"area": area, "segmentation": {"size": None}}
        opened = source(tmp_path, content)
        assert codes(opened) == {}
        assert facts(opened)[0].complete == ["bird", "cat", "dog"]


# what tools write otherwise


@pytest.mark.parametrize("own", [1, 1.0, "1", " 1 ", "1.0"])
@pytest.mark.parametrize("other", [1, 1.0, "1"])
def test_one_id_in_several_spellings_is_one(tmp_path: Path, own: Any, other: Any) -> None:
    content = document(categories=[{"id": own, "name": "dog"}])
    content["images"][0]["id"] = own
    for item in content["annotations"]:
        item |= {"image_id": other, "category_id": other}
    opened = source(tmp_path, content)
    assert codes(opened) == {}
    assert facts(opened)[0].complete == ["dog"]


@pytest.mark.parametrize(
    "size",
    [{}, {"width": None, "height": None}, {"width": 640.0, "height": 480.0}, {"width": "640"},
     {"width": 0, "height": -1}, {"height": 480}],
)  # fmt: skip
def test_a_missing_size_is_read_from_the_picture(tmp_path: Path, size: dict[str, Any]) -> None:
    opened = source(tmp_path, document(images=[{"id": 1, "file_name": "1.png", **size}]))
    assert codes(opened) == {}
    assert facts(opened)[0].things[0].bbox == (60 / 640, 180 / 480, 100 / 640, 210 / 480)


def test_a_wrong_size_is_said_once(tmp_path: Path) -> None:
    opened = source(tmp_path, document(images=[{"id": 1, "file_name": "1.png", "width": 320}]))
    assert codes(opened) == {"result.size_mismatch": 1}


@pytest.mark.parametrize(
    ("licence", "licences", "known"),
    [
        (1, [{"id": "1", "name": "CC0-1.0"}], "CC0-1.0"),
        (1.0, [{"id": 1, "url": "by.example"}], "by.example"),
        ("CC BY 4.0", [], "unknown"),
        (None, None, "unknown"),
        (1, "CC BY 4.0", "unknown"),
        (1, {"1": "CC0"}, "unknown"),
        (1, ["CC0", 3, {"name": "x"}], "unknown"),
        (1, [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "unknown"),
    ],
)
def test_a_licence_costs_nothing(tmp_path: Path, licence: Any, licences: Any, known: str) -> None:
    content = document(licenses=licences, info=None)
    content["images"][0]["license"] = licence
    opened = source(tmp_path, content)
    assert codes(opened) == {}
    assert facts(opened)[0].licence == known


def test_null_is_absent_everywhere(tmp_path: Path) -> None:
    content = document(licenses=None, hierarchy=None)
    nothing = dict.fromkeys(
        ("iscrowd", "attributes", "description", "depth_rank", "keypoints", "segmentation", "area",
         "ignore", "IsGroupOf")
    )  # fmt: skip
    content["annotations"] = [{**item, **nothing} for item in content["annotations"]]
    content["images"][0] |= dict.fromkeys(("license", "coco_url", "not_exhaustive_category_ids"))
    content["categories"] = [
        {**item, "supercategory": None, "keypoints": None} for item in content["categories"]
    ]
    opened = source(tmp_path, content)
    assert codes(opened) == {}
    assert facts(opened)[0].complete == ["bird", "cat", "dog"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"width": 640', f'"width": 1{"0" * 40}', {"result.size_mismatch": 1}),
        ('"id": 1, "image_id"', f'"id": 1{"0" * 40}, "image_id"', {}),
        ('"id": 1, "image_id"', '"id": true, "image_id"', {}),
        ('"bbox": [60', f'"bbox": [1{"0" * 400}', {"schema.type": 1}),
        ('"bbox": [60', '"bbox": [NaN', {"schema.type": 1}),
        ('"bbox": [60', '"bbox": [1e999', {"schema.type": 1}),
        ('"bbox": [60', f'"attributes": {{"size": 1{"0" * 400}}}, "bbox": [60', {}),
        ('"bbox": [60', '"description": "\\ud800", "bbox": [60', {"parse.not_json": 1}),
        ('"bbox": [60', '"caption": "\\ud800", "bbox": [60', {}),
        ('{"id": 1, "name"', '"\\ud800", {"id": 1, "name"', {"schema.type": 1}),
        ('{"id": 1, "name"', '{"id": 7, "name": 7}, {"id": 1, "name"', {"schema.type": 1}),
        ('{"id": 1, "name"', '{"id": 7, "name": " _"}, {"id": 1, "name"',
         {"schema.missing_field": 1}),
    ],
)  # fmt: skip
def test_an_odd_value_costs_its_item_at_most(
    tmp_path: Path, old: str, new: str, expected: dict[str, int]
) -> None:
    text = json.dumps(document())
    opened = source(tmp_path, text.replace(old, new, 1))
    assert codes(opened) == expected
    for item in items(opened):
        if isinstance(item, Rejected):
            canonical_json([item.reason, item.record])


def test_one_key_twice_costs_its_item_and_its_pictures_counts(tmp_path: Path) -> None:
    content = document()
    content["images"].append({"id": 2, "file_name": "2.png"})
    content["annotations"].append({**annotation(9, 1, BOXES[0]), "image_id": 2})
    text = json.dumps(content).replace('{"id": 1, "image_id": 1', '{"image_id": 2, "image_id": 1')
    opened = source(tmp_path, text)
    assert codes(opened) == {"parse.duplicate_key": 2}  # said of both pictures
    assert [found.complete for found in facts(opened)] == [[], []]
    nested = json.dumps(changed(0, attributes={"color": "red"}))
    opened = source(tmp_path, nested.replace('{"color"', '{"color": "blue", "col\\u006fr"'))
    assert codes(opened) == {"parse.duplicate_key": 1}
    with pytest.raises(BadInput, match=r"'images' twice in one object \[parse.duplicate_key\]"):
        source(tmp_path, json.dumps(document()).replace("{", '{"images": [], ', 1))


def test_a_file_that_is_no_regular_one_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", tmp_path, Path("/dev/zero"), tmp_path / "none.json"):
        with pytest.raises(BadInput, match=r"--source coco:.*cannot be read"):
            CocoSource(path, tmp_path, ALL)


@pytest.mark.parametrize("cut", [1, 40, 400, -1])
def test_a_cut_file_says_where_it_ends(tmp_path: Path, cut: int) -> None:
    text = json.dumps(document())
    with pytest.raises(BadInput, match=r"not a COCO annotation file: .*byte"):
        source(tmp_path, text[:cut])


# the shared store


def test_workers_read_what_was_prepared_and_it_goes_with_its_maker(tmp_path: Path) -> None:
    content = document()
    content["annotations"] += [{"id": 5}, 7, {"image_id": 99, "bbox": [1, 2, 3, 4]}]
    content["images"].append({"id": 2, "file_name": "2.png"})  # nothing to ask of it
    maker = source(tmp_path, content)
    (tmp_path / "a.json").unlink()  # nobody reads it again
    other = CocoSource(tmp_path / "a.json", tmp_path / "img", ALL, maker.prepared)
    assert items(other) == items(maker)
    assert other.config() == maker.config()
    assert codes(other) == {
        "schema.missing_field": 1, "schema.type": 1, "reference.unknown_medium": 1,
        "semantic.no_question": 1,
    }  # fmt: skip
    assert maker.prepared
    prepared = Path(maker.prepared)
    text = json.dumps([item.record for item in items(maker) if isinstance(item, Rejected)])
    assert f":{(tmp_path / 'img' / '1.png').stat().st_ino}" not in text
    assert prepared.exists()
    del maker, other
    assert not prepared.exists()


def test_the_order_of_the_lists_does_not_matter(tmp_path: Path) -> None:
    forth = document()
    back = {name: forth[name] for name in reversed(list(forth))}
    assert facts(source(tmp_path, back)) == facts(source(tmp_path, forth))


def test_the_shared_cases_are_read(shared_data: Path) -> None:
    wrong_unit = {"bbox_normalised", "bbox_xyxy"}
    for path in sorted((shared_data / "cases").glob("*/a.json")):
        name = path.parent.name
        if name in wrong_unit:
            with pytest.raises(BadInput, match=r"\[geometry\.wrong_unit\]"):
                CocoSource(path, path.parent / "img", ALL)
            continue
        found = codes(CocoSource(path, path.parent / "img", ALL))
        expected = {
            "complete_after_edge": {"geometry.partly_outside": 2},
            "dup_box": {"reference.duplicate_box": 1},
            "exif6_annot_upright": {"semantic.ambiguous": 1},
            "jpeg_cut_eoi": {"parse.truncated": 1},
            "png_flipped": {"execution.decode": 1},
        }
        assert found == expected.get(name, {}), name


def test_stores_of_killed_processes_are_removed_and_others_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    living = source(tmp_path, document())
    assert living.prepared
    left = tmp_path / "pearl-annotations-abc.sqlite"
    left.write_bytes(b"")
    other = tmp_path / "notes.sqlite"
    other.write_bytes(b"")
    source(tmp_path, document())
    assert not left.exists()
    assert Path(living.prepared).exists()
    assert other.exists()


# other units and orders of a whole file, and names of pictures


def many(change: Any, *, area: bool = False) -> dict[str, Any]:
    """24 boxes all over the picture, each written as ``change`` says."""
    found = document()
    boxes = [(20 + 150 * (n % 4), 10 + 75 * (n // 4), 60 + n, 40) for n in range(24)]
    found["annotations"] = [
        annotation(n, 1 + n % 3, change(*box), **({"area": box[2] * box[3]} if area else {}))
        for n, box in enumerate(boxes)
    ]
    return found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y, w, h: (x / 6.4, y / 4.8, w / 6.4, h / 4.8), "percent"),
        (lambda x, y, w, h: (x / 0.64, y / 0.48, w / 0.64, h / 0.48), "another unit"),
        (lambda x, y, w, h: (y, x, h, w), r"\[y, x, height, width\]"),
        (lambda x, y, w, h: (x + 110, y + h / 2 + 10, w, h), "centres"),
    ],
)
def test_boxes_of_a_file_in_another_order_or_unit(tmp_path: Path, change: Any, words: str) -> None:
    with pytest.raises(BadInput, match=rf"got {words}.*geometry.wrong_unit"):
        source(tmp_path, many(change))


def test_few_boxes_in_percent_are_known_by_their_areas(tmp_path: Path) -> None:
    content = many(lambda x, y, w, h: (x / 6.4, y / 4.8, w / 6.4, h / 4.8), area=True)
    content["annotations"] = content["annotations"][:3]
    with pytest.raises(BadInput, match="percent"):
        source(tmp_path, content)


def test_many_boxes_in_pixels_are_taken(tmp_path: Path) -> None:
    assert len(facts(source(tmp_path, many(lambda *box: box)))[0].things) == 24


@pytest.mark.parametrize(
    "fields",
    [
        {"file_name": "1.png?version=3"}, {"file_name": "/media/1.png?x=1&y=2"},
        {"file_name": "1"}, {"file_name": "data/1"}, {"file_name": None, "path": "/d/1.png"},
        {"file_name": "", "image_path": "img/1.png"},
    ],
)  # fmt: skip
def test_names_of_pictures_as_tools_write_them(tmp_path: Path, fields: dict[str, Any]) -> None:
    content = document()
    content["images"][0].update(fields)
    assert len(facts(source(tmp_path, content))[0].things) == 5


def test_a_name_that_is_no_text_is_said_to_be_none(tmp_path: Path) -> None:
    content = document()
    content["images"][0]["file_name"] = ["1.png"]
    (reason,) = (i.reason for i in items(source(tmp_path, content)) if isinstance(i, Rejected))
    assert (reason.code, reason.path) == ("schema.type", "images[0].file_name")


# attributes


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Split Name", ["train", "val"]), ("occlusion_level", ["low", "high"]),
        ("reviewed on", ["monday", "tuesday"]), ("code", ["A1", "B2"]), ("age", ["3", "4"]),
        ("color", ["#ff0000", "rgb(0, 255, 0)"]), ("wet", ["true", "maybe"]),
        ("seen", ["2024-01-02", "2024-01-03"]), ("crop", ["a.png", "b.png"]),
    ],
)  # fmt: skip
def test_what_no_picture_shows_is_not_asked(tmp_path: Path, name: str, values: list[str]) -> None:
    content = document()
    for number, item in enumerate(content["annotations"]):
        item["attributes"] = {name: values[number % 2]}
    assert all(thing.attributes == {} for thing in facts(source(tmp_path, content))[0].things)


@pytest.mark.parametrize("form", [["red"], {"value": "red"}, {"value": ["red"]}, "red"])
def test_a_value_may_be_wrapped(tmp_path: Path, form: Any) -> None:
    content = changed(0, attributes={"color": form})
    content["annotations"][1]["attributes"] = {"color": "blue"}
    assert facts(source(tmp_path, content))[0].things[0].attributes == {"color": "red"}


@pytest.mark.parametrize(
    ("name", "answer", "close", "apart"),
    [
        ("color", "blue", ["light blue", "blue 2"], "red"),
        ("color", "green, white", ["white/green", "green"], "green, blue"),
        ("breed", "husky", ["siberian husky"], "poodle"),
        ("door", "open", ["wide open"], "not open"),
        ("length", "3 m", [], "4 m"),
    ],
)
def test_no_wrong_value_says_the_answer_and_more(
    tmp_path: Path, name: str, answer: str, close: list[str], apart: str
) -> None:
    values = [answer, answer, apart, *close]  # the name with its colour would not do
    content = document()
    for item, value in zip(content["annotations"], values, strict=False):
        item.update(attributes={name: value}, category_id=1)
    tasks = [i.task for i in items(source(tmp_path, content)) if isinstance(i, Candidate)]
    asked = [t for t in tasks if t.family == "attribute" and t.answer == answer]
    assert asked
    assert all(apart in task.choices and not set(close) & set(task.choices) for task in asked)


@pytest.mark.parametrize("bbox", [None, []])
def test_a_polygon_alone_says_its_box(tmp_path: Path, bbox: Any) -> None:
    polygons = [[60, 180, 100, 180, 100, 195], [60, 210, 70, 200, "65", 205]]
    content = changed(0, bbox=bbox, segmentation=polygons)
    (found,) = facts(source(tmp_path, content))
    assert found.things[0].bbox == (60 / 640, 180 / 480, 100 / 640, 210 / 480)


@pytest.mark.parametrize(
    "mask", [[], [[60, 180, 100]], {"counts": "abc", "size": [480, 640]}, [["a"] * 6]]
)
def test_a_mask_without_points_says_none(tmp_path: Path, mask: Any) -> None:
    opened = source(tmp_path, changed(0, bbox=None, segmentation=mask))
    assert codes(opened) == {"schema.missing_field": 1}


def test_a_panoptic_file_is_named(tmp_path: Path) -> None:
    content = document()
    content["annotations"] = [{"image_id": 1, "segments_info": content["annotations"]}]
    reason = next(i.reason for i in items(source(tmp_path, content)) if isinstance(i, Rejected))
    assert (reason.code, reason.path) == ("schema.unknown_field", "annotations[0].segments_info")


@pytest.mark.parametrize(
    ("fields", "offered"),
    [
        ({}, {"fox", "owl", "elk"}),
        ({"not_exhaustive_category_ids": [11]}, {"fox", "elk"}),
        ({"neg_category_ids": [10]}, {"fox"}),
        ({"neg_category_ids": ["10", 12.0], "not_exhaustive_category_ids": [12]}, {"fox"}),
    ],
)
def test_kinds_that_may_be_there_are_no_wrong_names(
    tmp_path: Path, fields: dict[str, Any], offered: set[str]
) -> None:
    content = document()
    content["images"][0].update(fields)
    content["categories"] += [
        {"id": number, "name": name} for number, name in ((10, "fox"), (11, "owl"), (12, "elk"))
    ]
    tasks = [i.task for i in items(source(tmp_path, content)) if isinstance(i, Candidate)]
    asked = [task for task in tasks if task.family == "identity"]
    assert asked
    assert {choice for task in asked for choice in task.choices if choice != task.answer} == offered
