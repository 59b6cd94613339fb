"""The example annotations against the photographs that scikit-image bundles."""

import json
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("skimage", reason="scikit-image, which brings the photos, is not installed")

EXAMPLE = Path(__file__).parents[1] / "examples" / "photos.coco.json"
PHOTOS = Path(str(files("skimage"))) / "data"
ATTRIBUTES = {"color", "material", "shape", "text", "state", "pattern"}


@pytest.fixture(scope="module")
def coco() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    return document


def test_form_and_ids(coco: dict[str, Any]) -> None:
    assert set(coco) == {"info", "licenses", "images", "categories", "annotations"}
    for key in ("licenses", "images", "categories", "annotations"):
        ids = [record["id"] for record in coco[key]]
        assert len(ids) == len(set(ids)), key
    assert len({c["name"] for c in coco["categories"]}) == len(coco["categories"])
    assert all(c["name"] and c["supercategory"] for c in coco["categories"])
    images = {image["id"] for image in coco["images"]}
    categories = {category["id"] for category in coco["categories"]}
    for annotation in coco["annotations"]:
        assert annotation["image_id"] in images
        assert annotation["category_id"] in categories
        assert annotation["iscrowd"] == 0
        assert annotation["segmentation"] == []


def test_photos_exist_with_their_sizes(coco: dict[str, Any]) -> None:
    licences = {licence["id"] for licence in coco["licenses"]}
    assert len(coco["images"]) >= 8
    for image in coco["images"]:
        assert image["license"] in licences
        assert image["source"].startswith("skimage.data.")
        assert "motorcycle" not in image["file_name"]
        with Image.open(PHOTOS / image["file_name"]) as photo:
            assert photo.size == (image["width"], image["height"]), image["file_name"]


def test_boxes_lie_inside(coco: dict[str, Any]) -> None:
    images = {image["id"]: image for image in coco["images"]}
    assert len(coco["annotations"]) >= 55
    for annotation in coco["annotations"]:
        image = images[annotation["image_id"]]
        x, y, width, height = annotation["bbox"]
        assert x >= 0
        assert y >= 0
        assert width > 0
        assert height > 0
        assert x + width <= image["width"], annotation["id"]
        assert y + height <= image["height"], annotation["id"]
        assert annotation["area"] == pytest.approx(width * height, abs=0.01)


def test_many_boxes_are_small(coco: dict[str, Any]) -> None:
    longer = {image["id"]: max(image["width"], image["height"]) for image in coco["images"]}
    small = [a for a in coco["annotations"] if max(a["bbox"][2:]) < 0.08 * longer[a["image_id"]]]
    assert len(small) >= 15


def test_attributes_and_depth(coco: dict[str, Any]) -> None:
    ranks: dict[int, set[int]] = {}
    ranked = 0
    for annotation in coco["annotations"]:
        assert set(annotation["attributes"]) <= ATTRIBUTES
        for value in annotation["attributes"].values():
            assert isinstance(value, str | int | float)
            assert value != ""
        if "depth_rank" in annotation:
            rank = annotation["depth_rank"]
            assert type(rank) is int
            assert rank >= 1
            ranks.setdefault(annotation["image_id"], set()).add(rank)
            ranked += 1
    assert ranked >= 12
    assert len(ranks) >= 6
    for found in ranks.values():
        assert len(found) >= 2
        assert found == set(range(1, len(found) + 1))


def test_same_named_boxes_are_told_apart(coco: dict[str, Any]) -> None:
    pairs = Counter((a["image_id"], a["category_id"]) for a in coco["annotations"])
    phrases = set()
    for annotation in coco["annotations"]:
        key = (annotation["image_id"], annotation["category_id"])
        if pairs[key] > 1:
            phrase = (annotation["image_id"], annotation["description"])
            assert phrase not in phrases
            phrases.add(phrase)


def test_exhaustiveness(coco: dict[str, Any]) -> None:
    names = {category["id"]: category["name"] for category in coco["categories"]}
    boxed: dict[int, Counter[str]] = {image["id"]: Counter() for image in coco["images"]}
    for annotation in coco["annotations"]:
        boxed[annotation["image_id"]][names[annotation["category_id"]]] += 1
    for image in coco["images"]:
        loose = {names[category] for category in image["not_exhaustive_category_ids"]}
        assert loose <= set(boxed[image["id"]])
        if image["file_name"] == "coins.png":
            assert boxed[image["id"]]["coin"] == 24
            assert "coin" not in loose
