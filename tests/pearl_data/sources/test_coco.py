from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from drawn import COLOURS, coco_set
from PIL import Image

from pearl_data.sources.base import Candidate, QuestionSettings, Rejected
from pearl_data.sources.coco import CocoSource
from pearl_data.sources.facts import Facts, Thing, phrase
from pearl_data.trajectory import Task
from pearl_tools.errors import BadInput

LOOK = QuestionSettings(tools=["crop"])
ALL = QuestionSettings(tools=["crop", "zoom", "depth"], per_image=50)


def items(source: CocoSource) -> list[Candidate | Rejected]:
    return [
        item for block in range(source.blocks()) for slot in source.block(block) for item in slot
    ]


def all_facts(source: CocoSource) -> list[Facts]:
    """The facts that questions are asked of, picture by picture."""
    seen: list[Facts] = []
    with pytest.MonkeyPatch.context() as patch:

        def record(facts: Facts, *_: object) -> list[Task]:
            seen.append(facts)
            return []

        patch.setattr("pearl_data.sources.coco.ask", record)
        items(source)
    return seen


def rewritten(path: Path, change: Any) -> Path:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


def test_answers_are_what_the_annotation_says(tmp_path: Path) -> None:
    path = coco_set(tmp_path)
    truth = {
        (str(a["image_id"]), tuple(a["bbox"])): a
        for a in json.loads(path.read_text())["annotations"]
    }
    asked = [item for item in items(CocoSource(path, tmp_path, ALL)) if isinstance(item, Candidate)]
    assert {item.task.family for item in asked} >= {"attribute", "identity", "count", "nearer"}
    for item in asked:
        assert item.task.answer_source == "annotation"
        assert item.task.answer in item.task.choices
        if item.task.family == "attribute":
            (evidence,) = item.task.evidence
            x0, y0, x1, y1 = evidence.bbox
            box = tuple(round(v) for v in (x0 * 320, y0 * 240, (x1 - x0) * 320, (y1 - y0) * 240))
            assert truth[item.source.row, box]["attributes"]["color"] == item.task.answer


def test_the_answer_is_not_in_the_question(tmp_path: Path) -> None:
    for item in items(CocoSource(coco_set(tmp_path), tmp_path, ALL)):
        assert isinstance(item, Candidate)
        if item.task.family == "attribute":
            assert item.task.answer not in item.task.question


def test_counts_are_the_boxes_wholly_inside_the_region(tmp_path: Path) -> None:
    path = coco_set(tmp_path, images=6)
    document = json.loads(path.read_text())
    names = {c["id"]: c["name"] for c in document["categories"]}
    counted = 0
    for item in items(CocoSource(path, tmp_path, ALL)):
        assert isinstance(item, Candidate)
        if item.task.family != "count":
            continue
        region = next(e.bbox for e in item.task.evidence if e.role == "region")
        kind = "box" if "boxes" in item.task.question else "block"
        inside = 0
        for a in document["annotations"]:
            x, y, w, h = a["bbox"]
            box = (x / 320, y / 240, (x + w) / 320, (y + h) / 240)
            if str(a["image_id"]) == item.source.row and names[a["category_id"]] == kind:
                inside += (
                    box[0] >= region[0] and box[1] >= region[1]
                    and box[2] <= region[2] and box[3] <= region[3]
                )  # fmt: skip
        assert str(inside) == item.task.answer
        counted += 1
    assert counted > 0


def test_nearer_follows_the_depth_rank_and_is_not_asked_without_one(tmp_path: Path) -> None:
    path = coco_set(tmp_path)
    asked = [i for i in items(CocoSource(path, tmp_path, ALL)) if isinstance(i, Candidate)]
    pairs = [i.task for i in asked if i.task.family == "nearer"]
    assert pairs
    for task in pairs:
        left = {e.label: e.bbox[0] for e in task.evidence}
        assert task.answer == min(left, key=lambda label: left[label])  # ranks grow to the right

    rewritten(path, lambda d: [a.pop("depth_rank") for a in d["annotations"]])
    asked = [i for i in items(CocoSource(path, tmp_path, ALL)) if isinstance(i, Candidate)]
    assert not [i for i in asked if i.task.family.startswith("nearer")]


def test_a_kind_that_may_be_incomplete_is_never_counted(tmp_path: Path) -> None:
    def partial(document: dict[str, Any]) -> None:
        for image in document["images"]:
            image["not_exhaustive_category_ids"] = [1, 2]

    path = rewritten(coco_set(tmp_path), partial)
    families = {
        i.task.family for i in items(CocoSource(path, tmp_path, ALL)) if isinstance(i, Candidate)
    }
    assert "count" not in families
    assert "presence" not in families


@pytest.mark.parametrize(
    ("bbox", "code"),
    [
        ([10, 10, 0, 5], "geometry.zero_area"),
        ([400, 10, 5, 5], "geometry.outside"),
        ([310, 10, 50, 5], "geometry.partly_outside"),
        ([1, 2, 3], "schema.length"),
    ],
)
def test_an_unusable_box_is_rejected_with_its_reason(
    tmp_path: Path, bbox: list[float], code: str
) -> None:
    path = rewritten(coco_set(tmp_path), lambda d: d["annotations"][0].update(bbox=bbox))
    rejected = [i for i in items(CocoSource(path, tmp_path, LOOK)) if isinstance(i, Rejected)]
    assert [r.reason.code for r in rejected] == [code]
    assert rejected[0].reason.path == "annotations[0].bbox"
    assert rejected[0].record is not None
    assert rejected[0].record["id"] == 0


def test_nothing_is_lost_when_pictures_are_missing_or_of_another_size(tmp_path: Path) -> None:
    path = coco_set(tmp_path)
    (tmp_path / "drawn0.png").unlink()
    rewritten(path, lambda d: d["images"][1].update(width=640))
    rejected = [i for i in items(CocoSource(path, tmp_path, LOOK)) if isinstance(i, Rejected)]
    assert [r.reason.code for r in rejected] == ["reference.no_such_file", "result.size_mismatch"]
    assert "drawn0.png" in rejected[0].reason.expected


def test_a_file_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    path = rewritten(
        coco_set(tmp_path / "set"), lambda d: d["images"][0].update(file_name="../secret.png")
    )
    (tmp_path / "secret.png").write_bytes((tmp_path / "set" / "drawn0.png").read_bytes())
    rejected = [
        i for i in items(CocoSource(path, tmp_path / "set", LOOK)) if isinstance(i, Rejected)
    ]
    assert [r.reason.code for r in rejected] == ["parse.unsafe_member"]


def test_annotations_of_unknown_images_are_rejected_not_dropped(tmp_path: Path) -> None:
    path = rewritten(coco_set(tmp_path), lambda d: d["annotations"][5].update(image_id=99))
    rejected = [i for i in items(CocoSource(path, tmp_path, LOOK)) if isinstance(i, Rejected)]
    assert [r.reason.code for r in rejected] == ["reference.unknown_medium"]


def test_a_file_that_is_not_coco_says_what_was_expected(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"images": [{"id": 1}]}')
    with pytest.raises(BadInput, match=r"x\.json: not a COCO annotation file: .*expected"):
        CocoSource(path, tmp_path, LOOK)


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        ({"attributes": {"color": None, "tags": ["a"], "occluded": True}}, []),
        ({"attributes": ["red"]}, []),
        ({"iscrowd": None}, []),
        ({"bbox": None}, ["schema.missing_field"]),
        ({"bbox": "1,2,3,4"}, ["schema.type"]),
        ({"id": 1}, []),
        ({"category_id": "1"}, []),
        ({"category_id": 9}, ["reference.index_out_of_range"]),
    ],
)
def test_one_odd_annotation_costs_one_at_most(
    tmp_path: Path, change: dict[str, Any], codes: list[str]
) -> None:
    path = rewritten(coco_set(tmp_path), lambda d: d["annotations"][2].update(change))
    found = items(CocoSource(path, tmp_path, ALL))
    assert [r.reason.code for r in found if isinstance(r, Rejected)] == codes
    assert len([c for c in found if isinstance(c, Candidate)]) >= 20


def test_any_attribute_name_can_be_asked_for(tmp_path: Path) -> None:
    def braces(document: dict[str, Any]) -> None:
        for number, annotation in enumerate(document["annotations"]):
            annotation["attributes"] = {"size{cm}": f"{number % 4} cm"}

    path = rewritten(coco_set(tmp_path), braces)
    asked = [i for i in items(CocoSource(path, tmp_path, LOOK)) if isinstance(i, Candidate)]
    assert any("size{cm}" in item.task.question for item in asked)


def test_a_picture_that_must_be_rotated_is_refused_since_its_boxes_are_ambiguous(
    tmp_path: Path,
) -> None:
    path = rewritten(coco_set(tmp_path), lambda d: d["images"][0].update(file_name="turned.jpg"))
    image = Image.open(tmp_path / "drawn0.png")
    exif = image.getexif()
    exif[0x0112] = 3
    image.save(tmp_path / "turned.jpg", exif=exif)
    rejected = [i for i in items(CocoSource(path, tmp_path, LOOK)) if isinstance(i, Rejected)]
    assert [r.reason.code for r in rejected] == ["semantic.ambiguous"]


def test_what_is_called_absent_touches_nothing_of_its_kind(tmp_path: Path) -> None:
    path = coco_set(tmp_path, images=8)
    document = json.loads(path.read_text())
    names = {c["id"]: c["name"] for c in document["categories"]}
    absent = 0
    for item in items(CocoSource(path, tmp_path, ALL)):
        assert isinstance(item, Candidate)
        if item.task.family != "presence" or item.task.answer == "yes":
            continue
        (evidence,) = item.task.evidence
        x0, y0, x1, y1 = evidence.bbox
        asked = "block" if "block" in item.task.question else "box"
        for a in document["annotations"]:
            x, y, w, h = a["bbox"]
            kind = names[a["category_id"]]
            if str(a["image_id"]) == item.source.row and asked == kind:
                apart = x + w <= x0 * 320 or x >= x1 * 320 or y + h <= y0 * 240 or y >= y1 * 240
                assert apart
        absent += 1
    assert absent > 0


def test_the_same_block_is_the_same_every_time(tmp_path: Path) -> None:
    path = coco_set(tmp_path)
    assert items(CocoSource(path, tmp_path, ALL)) == items(CocoSource(path, tmp_path, ALL))


def test_real_coco_photographs_give_questions(shared_data: Path) -> None:
    source = CocoSource(shared_data / "coco/test_coco.json", shared_data / "coco", ALL)
    asked = [i for i in items(source) if isinstance(i, Candidate)]
    assert len(asked) >= 5
    assert {i.source.row for i in asked} <= {"785", "40083", "196141", "197388"}


def test_two_meanings_of_one_id_are_both_kept_out(tmp_path: Path) -> None:
    path = coco_set(tmp_path)

    def twice(document: dict[str, Any]) -> None:
        document["images"].append({**document["images"][1], "id": 0})
        document["images"].append(document["images"][2])  # the same once more: no question
        document["categories"].append({"id": 1, "name": "dragon"})
        document["licenses"].append({"id": 1, "name": "all rights reserved"})

    source = CocoSource(rewritten(path, twice), tmp_path, ALL)
    found = items(source)
    codes = [item.reason.code for item in found if isinstance(item, Rejected)]
    assert codes.count("reference.duplicate_id") == 4  # of pictures and categories two
    asked = [item for item in found if isinstance(item, Candidate)]
    assert {item.source.row for item in asked} <= {"1", "2"}
    assert {item.source.licence for item in asked} == {"unknown"}
    assert "dragon" not in json.dumps([item.task.question for item in asked])


def test_an_item_in_another_encoding_costs_itself_only(tmp_path: Path) -> None:
    path = coco_set(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b'"block"', b'"bl\xf6ck"'))
    found = items(CocoSource(path, tmp_path, ALL))
    (named,) = [i for i in found if isinstance(i, Rejected) and i.reason.code == "parse.not_json"]
    assert named.reason.path == "categories[1]"
    assert any(isinstance(item, Candidate) for item in found)


def test_a_description_that_two_things_share_means_neither(tmp_path: Path) -> None:
    def described(document: dict[str, Any]) -> None:
        for annotation, text in zip(
            document["annotations"], ("an old box", "An old box", "  ", "a tall one"), strict=False
        ):
            annotation["description"] = text

    path = rewritten(coco_set(tmp_path, images=1), described)
    found = items(CocoSource(path, tmp_path, ALL))
    questions = [item.task.question for item in found if isinstance(item, Candidate)]
    assert not any("old box" in question or "the  " in question for question in questions)
    assert any("the tall one" in question for question in questions)


def test_values_that_differ_in_case_only_are_one_choice(tmp_path: Path) -> None:
    def shouted(document: dict[str, Any]) -> None:
        for annotation in document["annotations"][::2]:
            annotation["attributes"]["color"] = annotation["attributes"]["color"].title()

    found = items(CocoSource(rewritten(coco_set(tmp_path, 4), shouted), tmp_path, ALL))
    for item in found:
        if isinstance(item, Candidate):
            choices = [choice.casefold() for choice in item.task.choices]
            assert len(set(choices)) == len(choices)


def test_a_colour_in_another_case_tells_no_two_things_apart() -> None:
    things = [
        Thing(id=str(n), name="mug", bbox=(0.1 * n, 0.1, 0.1 * n + 0.1, 0.2),
              attributes={"color": colour})
        for n, colour in enumerate(("Blue", "blue", "red"))
    ]  # fmt: skip
    assert [phrase(thing, things) for thing in things] == [
        "the mug at [0, 0.1, 0.1, 0.2]", "the mug at [0.1, 0.1, 0.2, 0.2]", "the red mug",
    ]  # fmt: skip


def test_keypoints_are_named_by_their_category_as_fractions(tmp_path: Path) -> None:
    def posed(document: dict[str, Any]) -> None:
        document["categories"][0]["keypoints"] = ["left_wrist", "nose", "tail", "tail", "far"]
        flat = [32, 60, 2, 0, 0, 0, 5, 5, 2, 6, 6, 2, 400, 10, 2]
        document["annotations"][0]["keypoints"] = flat
        document["annotations"][1]["keypoints"] = flat[:-1]  # one number short: none is sure

    (facts,) = all_facts(CocoSource(rewritten(coco_set(tmp_path, 1), posed), tmp_path, LOOK))
    things = facts.things
    assert things[0].keypoints == {"left wrist": (0.1, 0.25, 2), "nose": (0.0, 0.0, 0)}
    assert things[1].keypoints == things[3].keypoints == {}


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
@pytest.mark.parametrize("frame", ["stored", "upright"])
def test_boxes_lie_as_the_frame_says_on_a_turned_picture(
    tmp_path: Path, orientation: int, frame: str
) -> None:
    path = coco_set(tmp_path, images=1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = Image.open(tmp_path / "drawn0.png")
    stored = plain
    if frame == "upright":  # stored so that it is the plain picture once it is upright
        back = {2: 0, 3: 3, 6: 2, 8: 4}[orientation]
        stored = plain.transpose(Image.Transpose(back))
    stored.save(tmp_path / "drawn0.png", exif=exif)
    settings = msgspec.structs.replace(LOOK, annotation_frame=frame)
    asked = [i for i in items(CocoSource(path, tmp_path, settings)) if isinstance(i, Candidate)]
    assert asked
    for item in asked:
        (root,) = item.roots
        height, width = root.pixels.shape[:2]
        assert (width > height) == (frame == "upright" or orientation < 5)
        for evidence in item.task.evidence:
            if item.task.family != "attribute":
                continue
            x0, y0, x1, y1 = evidence.bbox
            middle = root.pixels[int((y0 + y1) / 2 * height), int((x0 + x1) / 2 * width)]
            assert tuple(middle) == COLOURS[item.task.answer]
    assert any(item.task.family == "attribute" for item in asked)
