"""Other tools' annotations give what their COCO export would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from drawn import picture

from pearl_data.sources.base import Candidate, QuestionSettings
from pearl_data.sources.coco import CocoSource
from pearl_data.sources.converting import open_as_coco
from pearl_tools.errors import BadInput

LABELME = {
    "version": "5.4.1", "flags": {}, "imagePath": "..\\img\\1.png", "imageData": None,
    "imageWidth": 320, "imageHeight": 240,
    "shapes": [
        {"label": "dog", "points": [[60, 70], [20, 30]], "shape_type": "rectangle", "flags": {}},
        {"label": "cat", "points": [[100, 100], [140, 110], [120, 150]], "shape_type": "polygon"},
        {"label": "ball", "points": [[200, 100], [203, 104]], "shape_type": "circle"},
        {"label": "bird", "points": [[5, 5]], "shape_type": "point"},
    ],
}  # fmt: skip
VOC = """<annotation><folder>x</folder><filename>1.png</filename>
<size><width>320</width><height>240</height><depth>3</depth></size>
<object><name>dog</name><pose>Left</pose><difficult>0</difficult>
<bndbox><xmin>21</xmin><ymin>31</ymin><xmax>60</xmax><ymax>70</ymax></bndbox></object>
</annotation>"""
CVAT = """<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>
<image id="0" name="a/1.png" width="320" height="240">
<box label="dog" occluded="0" xtl="20" ytl="30" xbr="60" ybr="70" z_order="0">
<attribute name="colour">brown</attribute></box>
<polygon label="cat" points="100,100;140,110;120,150"/><points label="bird" points="5,5"/>
</image></annotations>"""
_RECT = {"name": "rect", "x": 20, "y": 30, "width": 40, "height": 40}
_REGION = {"shape_attributes": _RECT, "region_attributes": {"label": "dog", "colour": "brown"}}
VIA = {"_via_settings": {}, "_via_img_metadata": {"1.png9": {
    "filename": "1.png", "size": 9, "regions": [_REGION], "file_attributes": {}}}}  # fmt: skip
VIA_1 = {"1.png9": {"filename": "1.png", "size": 9, "regions": {"0": _REGION}}}
STUDIO = [{"id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-1.png"}, "annotations": [
    {"was_cancelled": True, "result": []},
    {"result": [{"type": "rectanglelabels", "original_width": 320, "original_height": 240,
                 "value": {"x": 6.25, "y": 12.5, "width": 12.5, "height": 16.666666666666668,
                           "rotation": 0, "rectanglelabels": ["dog"]}}]},
]}]  # fmt: skip
CREATE_ML = [{"image": "1.png", "annotations": [
    {"label": "dog", "coordinates": {"x": 40, "y": 50, "width": 40, "height": 40}}]}]  # fmt: skip
DOG = [20, 30, 40, 40]


def coco_of(path: Path) -> dict[str, Any]:
    with open_as_coco(path) as stream:
        return json.loads(stream.read())


def written(folder: Path, value: Any) -> Path:
    path = folder / ("a.xml" if isinstance(value, str) else "a.json")
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.mark.parametrize(
    ("value", "name", "sized"),
    [(LABELME, "..\\img\\1.png", True), (VOC, "1.png", True), (CVAT, "a/1.png", True),
     (VIA, "1.png", False), (VIA_1, "1.png", False), (STUDIO, "1.png", True),
     (CREATE_ML, "1.png", False)],
)  # fmt: skip
def test_the_dog_lies_where_it_was_drawn(
    tmp_path: Path, value: Any, name: str, sized: bool
) -> None:
    document = coco_of(written(tmp_path, value))
    size = {"width": 320, "height": 240} if sized else {}
    assert document["images"] == [{"id": 1, "file_name": name, **size}]
    dog = document["annotations"][0]
    assert document["categories"][0] == {"id": 1, "name": "dog"}
    assert (dog["image_id"], dog["category_id"]) == (1, 1)
    assert dog["bbox"] == pytest.approx(DOG)


def test_every_shape_is_kept_and_only_areas_have_a_box(tmp_path: Path) -> None:
    document = coco_of(written(tmp_path, LABELME))
    names = [each["name"] for each in document["categories"]]
    boxes = {names[a["category_id"] - 1]: a["bbox"] for a in document["annotations"]}
    assert boxes == {"dog": DOG, "cat": [100, 100, 40, 50], "ball": [195, 95, 10, 10],
                     "bird": None}  # fmt: skip


@pytest.mark.parametrize("value", [CVAT, VIA])
def test_attributes_are_taken_over(tmp_path: Path, value: Any) -> None:
    assert coco_of(written(tmp_path, value))["annotations"][0]["attributes"] == {"colour": "brown"}


def test_a_folder_of_files_is_one_source(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for number in (1, 2):
        (tmp_path / f"{number}.png").write_bytes(picture([("red", (20, 30, 60, 70))]))
        value = {**LABELME, "imagePath": f"{number}.png"}
        (tmp_path / f"notes/{number}.json").write_text(json.dumps(value))
    source = CocoSource(tmp_path / "notes", tmp_path, QuestionSettings(tools=["crop"]))
    items = [i for block in range(source.blocks()) for slot in source.block(block) for i in slot]
    asked = [item for item in items if isinstance(item, Candidate)]
    assert {item.source.row for item in asked} == {"1", "2"}
    for item in asked:  # the bird has no box: it is neither counted nor denied
        assert item.task.family not in ("count", "presence") or "bird" not in item.task.question


def test_coco_itself_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{ "images": [], "annotations": [], "categories": [] , "x": 1.50}')
    with open_as_coco(path) as stream:
        assert stream.read() == path.read_bytes()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (CVAT.replace("<image ", "<track/><image "), "got an invalid one: video tracks"),
        (VOC.replace("<annotation>", "<!DOCTYPE x><annotation>", 1), "XML without DOCTYPE"),
        (VOC.replace("<name>dog</name>", ""), "got an invalid one: no 'name'"),
        ({**LABELME, "shapes": [{"points": [[1, 2]]}]}, "a LabelMe file, got an invalid one"),
        ({"_via_img_metadata": {"a": {"filename": "a", "regions": [
            {"shape_attributes": _RECT, "region_attributes": {"p": "x", "q": "y"}}]}}},
         "which of these is the kind?"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_says_why(tmp_path: Path, value: Any, told: str) -> None:
    path = written(tmp_path, value)
    with pytest.raises(BadInput) as raised:
        open_as_coco(path)
    assert told in str(raised.value)
    assert str(raised.value).startswith(str(path))


def test_a_folder_without_annotations_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="expected annotation files") as raised:
        open_as_coco(tmp_path)
    assert raised.value.filename == str(tmp_path)
