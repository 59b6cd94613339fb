"""Kinds that mean one thing, and categories that mean none: what is counted, denied and offered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from coco_documents import ALL, annotation, document, facts, items, source

from pearl_data.sources.base import Candidate
from pearl_data.trajectory import Task


def with_kind(name: str, box: tuple[int, ...] = (300, 300, 30, 30), **fields: Any) -> Any:
    """The document with one thing more, of a category of its own."""
    found = document()
    found["categories"].append({"id": 9, "name": name, **fields})
    found["annotations"].append(annotation(9, 9, box))
    return found


def tasks(folder: Path, content: Any) -> list[Task]:
    return [item.task for item in items(source(folder, content)) if isinstance(item, Candidate)]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("dogs", {}),
        ("puppy", {}),
        ("Dog (toy)", {}),
        ("spaniel", {"synonyms": ["spaniel", "dog"]}),
        ("spaniel", {"synonyms": ["hound", "dog"], "synset": "dog.n.01"}),
    ],
)
def test_names_of_one_thing_are_neither_counted_nor_choices(
    tmp_path: Path, name: str, fields: dict[str, Any]
) -> None:
    (found,) = facts(source(tmp_path, with_kind(name, **fields)))
    assert found.complete == ["bird", "cat"]
    for task in tasks(tmp_path, with_kind(name, **fields)):
        if task.family == "identity":
            assert not {"dog", name} <= set(task.choices)


@pytest.mark.parametrize(
    ("one", "other"),
    [("person", "pedestrian"), ("people", "men"), ("sofa", "couch"), ("tv", "tvmonitor"),
     ("motorbikes", "Motorcycle"), ("cell phone", "mobile_phone"), ("child", "person")],
)  # fmt: skip
def test_everyday_synonyms_are_kin(tmp_path: Path, one: str, other: str) -> None:
    content = with_kind(one)
    content["categories"].append({"id": 10, "name": other})
    (found,) = facts(source(tmp_path, content))
    assert [thing.kin for thing in found.things if thing.name == one] == [[other.replace("_", " ")]]


def test_a_full_stop_makes_no_other_kind(tmp_path: Path) -> None:
    opened = source(tmp_path, with_kind("dog."))
    (found,) = facts(opened)
    assert [thing.name for thing in found.things].count("dog") == 4
    assert found.complete == ["bird", "cat", "dog"]
    assert any("'dog' (id 1) and 'dog.' (id 9)" in note for note in opened.notes)


@pytest.mark.parametrize(
    "name", ["ignored regions", "DontCare", "background", "others", "n02084071", "/m/0bt9lr",
             "class_3", "object", "crowd"]
)  # fmt: skip
def test_a_category_that_names_nothing_is_not_asked_and_hides_what_is_in_it(
    tmp_path: Path, name: str
) -> None:
    opened = source(tmp_path, with_kind(name, (300, 300, 200, 100)))
    (found,) = facts(opened)
    assert found.complete == []
    assert name.casefold().replace("_", " ") not in str(tasks(tmp_path, with_kind(name))).casefold()
    assert any(name.replace("_", " ") in note for note in opened.notes)


def test_stuff_of_a_panoptic_file_is_not_asked(tmp_path: Path) -> None:
    content = with_kind("sky-other-merged", (0, 0, 640, 90), isthing=0)
    (found,) = facts(source(tmp_path, content))
    assert found.complete == ["bird", "cat", "dog"]
    assert "sky" not in str(tasks(tmp_path, content))


@pytest.mark.parametrize(
    "fields",
    [
        {"isfake": 1}, {"isreflected": 1}, {"ignore_region": True}, {"tags": ["ignore"]},
        {"extra": {"ignore": 1}}, {"flags": {"difficult": True}}, {"attributes": ["is_crowd"]},
        {"attributes": {"depiction": True}},
    ],
)  # fmt: skip
def test_groups_of_other_tools_are_not_counted(tmp_path: Path, fields: dict[str, Any]) -> None:
    content = document()
    content["annotations"][0].update(fields)
    (found,) = facts(source(tmp_path, content))
    assert found.complete == ["bird", "cat"]
    assert [thing.crowd for thing in found.things] == [True, False, False, False, False]


def test_categories_by_negative_ids_as_text(tmp_path: Path) -> None:
    content = document()
    for category in content["categories"]:
        category["id"] *= -1
    for item in content["annotations"]:
        item["category_id"] = f"{-item['category_id']}.0"
    (found,) = facts(source(tmp_path, content))
    assert found.complete == ["bird", "cat", "dog"]


def test_what_has_no_plural_is_not_counted(tmp_path: Path) -> None:
    content = document()
    content["categories"][0]["name"] = "dry grass"
    asked = tasks(tmp_path, content)
    assert all("grass" not in task.question for task in asked if task.family == "count")
    assert any("any dry grass" in t.question or "some dry grass" in t.question for t in asked)
    assert "a dry grass" not in str(asked)
    assert ALL.per_image >= len(asked)


def test_a_synonym_of_many_categories_tells_nothing(tmp_path: Path) -> None:
    content = document()
    content["categories"] += [{"id": n, "name": f"bird of prey {n}"} for n in range(10, 20)]
    for category in content["categories"]:
        category["synonyms"] = ["animal"]
    (found,) = facts(source(tmp_path, content))
    assert found.complete == ["bird", "cat", "dog"]
