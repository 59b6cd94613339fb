"""What is asked of foreign-like sets, and that every answer is what the annotation says."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from annotated import HUMAN, PLACES, animals, people, pixels, write

from pearl_data.sources.base import Candidate, QuestionSettings, Rejected
from pearl_data.sources.coco import CocoSource
from pearl_data.sources.nouns import part_words
from pearl_data.trajectory import Task

LARGE = (180, 40, 240, 420)
TIGERS = [[(30, 90, 560, 330)], [(150, 60, 330, 380)], [(0, 0, 640, 480)]]


def settings(**changes: Any) -> QuestionSettings:
    return QuestionSettings(**{"tools": ["crop"], "per_image": 12, **changes})


def asked(path: Path, options: QuestionSettings) -> list[tuple[str, Task]]:
    """(row, task) of every question; fails for anything rejected but a picture without one."""
    source = CocoSource(path, path.parent, options)
    found: list[tuple[str, Task]] = []
    for number in range(source.blocks()):
        for slot in source.block(number):
            for item in slot:
                if isinstance(item, Candidate):
                    found.append((item.source.row, item.task))
                else:
                    assert item.reason.code == "semantic.no_question"
    return found


def families(found: list[tuple[str, Task]]) -> Counter[tuple[str, bool]]:
    return Counter((task.family, task.needs_tool) for _, task in found)


def box_in(task: Task) -> tuple[float, ...]:
    """The last box that the question names, in pixels."""
    (numbers,) = re.findall(r"box \[([^]]*)\]", task.question)
    x0, y0, x1, y1 = (float(number) for number in numbers.split(","))
    return pixels((x0, y0, x1, y1))


def test_large_people_with_named_points_are_asked_for_parts(tmp_path: Path) -> None:
    path = people(
        tmp_path, [[LARGE], [(20, 60, 280, 400), (330, 80, 260, 380)], [(9, 9, 300, 460)]]
    )
    found = asked(path, settings())
    assert {row for row, _ in found} == {"0", "1", "2"}
    assert set(families(found)) == {("part", True)}
    annotations = json.loads(path.read_text())["annotations"]
    for row, task in found:
        x0, y0, x1, y1 = box_in(task)
        (evidence,) = task.evidence
        assert pixels(evidence.bbox) == (x0, y0, x1, y1)
        # of the people of this picture, the one whose box the question names, or the only one
        own = [a for a in annotations if str(a["image_id"]) == row]
        if len(own) > 1:
            own = [a for a in own if f"at [{round(a['bbox'][0] / 640, 3):g}," in task.question]
        (person,) = own
        part = re.search(r"the ((?:left|right) \w+|neck|top of the head) of", task.question)
        assert part is not None
        place = [part_words(name) for name in HUMAN].index(part[1])
        x, y = person["keypoints"][3 * place : 3 * place + 2]
        assert (x0 < x < x1 and y0 < y < y1) == (task.answer == "yes")
    assert {task.answer for _, task in found} == {"yes", "no"}


def test_a_part_is_asked_only_where_its_place_is_seen(tmp_path: Path) -> None:
    path = people(tmp_path, [[LARGE]])
    document = json.loads(path.read_text())
    for place in range(3, 14):  # all but the right arm are hidden or unknown
        document["annotations"][0]["keypoints"][3 * place + 2] = place % 2
    path.write_text(json.dumps(document))
    found = asked(path, settings(per_image=50))
    assert found
    for _, task in found:
        assert re.search(r"the right (shoulder|elbow|wrist) of the human", task.question)


@pytest.mark.parametrize("name", ["1", "kp_3", "point 4", "landmark", "x", ""])
def test_points_without_a_name_are_no_parts(name: str) -> None:
    assert part_words(name) is None


def test_one_kind_without_parts_is_asked_by_option_and_the_hint_names_it(tmp_path: Path) -> None:
    path = people(tmp_path, TIGERS, points=False)
    source = CocoSource(path, tmp_path, settings())
    rejected = [item for slot in source.block(0) for item in slot if isinstance(item, Rejected)]
    assert [item.reason.code for item in rejected] == ["semantic.no_question"] * 3
    assert all("--needs-tool any" in (item.reason.hint or "") for item in rejected)

    found = asked(path, settings(needs_tool="any"))
    assert {row for row, _ in found} == {"0", "1", "2"}
    assert not any(task.needs_tool for _, task in found)
    for row, task in found:
        x, y, width, height = TIGERS[int(row)][0]
        if task.family == "whole":
            x0, y0, x1, y1 = box_in(task)
            held = x0 <= x and y0 <= y and x1 >= x + width and y1 >= y + height
            assert held == (task.answer == "yes")
        if row == "2":  # the tiger fills the picture: nothing else can be asked
            assert (task.family, task.answer) == ("presence", "yes")


def test_a_large_animal_is_named_among_the_files_categories(tmp_path: Path) -> None:
    kinds = ["antelope", "cow", "dog", "fox", "tiger"]
    path = animals(tmp_path, kinds, [(0, (60, 50, 500, 360)), (2, (80, 80, 420, 340))])
    found = asked(path, settings(needs_tool="any"))
    named = {row: task for row, task in found if task.family == "identity"}
    assert {row: task.answer for row, task in named.items()} == {"0": "antelope", "1": "dog"}
    for task in named.values():
        assert not task.needs_tool
        assert len(task.choices) == 4
        assert set(task.choices) <= set(kinds)
    assert not asked(path, settings())


def test_wrong_names_are_not_on_the_picture(tmp_path: Path) -> None:
    categories = [{"id": n, "name": name} for n, name in enumerate(["cat", "dog", "fox", "cow"])]
    boxes = [
        {"category_id": 0, "bbox": [20, 20, 40, 40]},
        {"category_id": 1, "bbox": [300, 300, 40, 40]},
    ]
    path = write(tmp_path, categories, [boxes])
    named = [task for _, task in asked(path, settings()) if task.family == "identity"]
    assert named
    assert {task.answer for task in named} <= {"cat", "dog"}
    assert all(set(task.choices) == {task.answer, "fox", "cow"} for task in named)


def test_controls_follow_from_the_boxes_and_need_no_tool(tmp_path: Path) -> None:
    categories = [{"id": n, "name": name} for n, name in enumerate(["cat", "dog", "cow"])]
    boxes = [
        {"category_id": 0, "bbox": [10, 240, 120, 120]},
        {"category_id": 1, "bbox": [200, 10, 200, 300]},
        {"category_id": 2, "bbox": [450, 100, 160, 160]},
    ]
    path = write(tmp_path, categories, [boxes] * 20)
    controls = [
        task for _, task in asked(path, settings(needs_tool="any")) if task.family == "relation"
    ]
    middle = {"the cat": (70, 300), "the dog": (300, 160), "the cow": (530, 180)}
    area = {"the cat": 14400, "the dog": 60000, "the cow": 25600}
    told = {
        "farther to the left": lambda it: -middle[it][0],
        "farther to the right": lambda it: middle[it][0],
        "higher up": lambda it: -middle[it][1],
        "lower down": lambda it: middle[it][1],
        "takes up more": lambda it: area[it],
        "takes up less": lambda it: -area[it],
    }
    seen: Counter[str] = Counter()
    for task in controls:
        (phrase,) = [phrase for phrase in told if phrase in task.question]
        assert task.answer == max(task.choices, key=told[phrase])
        assert not task.needs_tool
        assert "[" not in task.question  # boxes would answer it without the picture
        seen[phrase] += 1
    assert set(seen) == set(told)
    first = sum(task.choices[0] == task.answer for task in controls)
    assert abs(2 * first - len(controls)) <= 0.2 * len(controls)


def test_counts_are_as_often_any_of_their_choices(tmp_path: Path) -> None:
    rows = [(40 + 90 * k, 200 + 37 * (k % 3), 30, 30) for k in range(6)]
    path = people(tmp_path, [rows] * 40, points=False)
    counted = [task for _, task in asked(path, settings()) if task.family == "count"]
    assert len(counted) >= 60
    places: Counter[int] = Counter()
    for task in counted:
        region = pixels(next(e.bbox for e in task.evidence if e.role == "region"))
        inside = [
            x >= region[0] - 0.01 and y >= region[1] - 0.01
            and x + 30 <= region[2] + 0.01 and y + 30 <= region[3] + 0.01
            for x, y, *_ in rows
        ]  # fmt: skip
        assert task.answer == str(sum(inside))
        places[sorted(task.choices, key=int).index(task.answer)] += 1
    assert max(places.values()) <= 0.35 * len(counted)
    assert min(places[k] for k in range(4)) >= 0.15 * len(counted)


def test_a_name_is_no_more_often_the_answer_than_it_is_a_wrong_choice(tmp_path: Path) -> None:
    names = ["person", "cat", "dog", "cow", "fox", "owl"]
    categories = [{"id": n, "name": name} for n, name in enumerate(names)]
    images = [
        [
            {"category_id": 0, "bbox": [20, 20, 40, 40]},
            {"category_id": 1 + number % 5, "bbox": [300, 300, 40, 40]},
        ]
        for number in range(80)
    ]
    found = [t for _, t in asked(write(tmp_path, categories, images), settings())]
    named = [task for task in found if task.family == "identity"]
    answers = Counter(task.answer for task in named)
    assert answers["person"] <= 0.2 * len(named)  # though it is on every picture
    assert min(answers[name] for name in names[1:]) >= 0.08 * len(named)


def test_every_annotated_point_of_the_drawn_set_is_inside_its_box() -> None:
    assert len(PLACES) == len(HUMAN)
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in PLACES)


def with_points(path: Path, change: Callable[[list[float]], list[float]]) -> Path:
    document = json.loads(path.read_text())
    for annotation in document["annotations"]:
        annotation["keypoints"] = change(annotation["keypoints"])
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda flat: [v / 640 if k % 3 < 2 else v for k, v in enumerate(flat)],  # fractions
        lambda flat: [v - 180 * (k % 3 == 0) for k, v in enumerate(flat)],  # of the box, not all
        lambda flat: [3 if k == 2 else v for k, v in enumerate(flat)],  # 1 visible, 2 hidden
        lambda flat: [min(v, 1) if k % 3 == 2 else v for k, v in enumerate(flat)],  # 0 or 1
        lambda flat: flat[:-3],
    ],
)
def test_points_that_mean_something_else_are_no_parts(
    tmp_path: Path, change: Callable[[list[float]], list[float]]
) -> None:
    box = (300, 40, 240, 420)
    assert families(asked(people(tmp_path / "plain", [[box]]), settings()))["part", True] > 0
    path = with_points(people(tmp_path / "other", [[box], [box]]), change)
    assert asked(path, settings()) == []


def test_boxes_around_specks_are_large_enough_to_look_into(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "speck"}]
    path = write(tmp_path, categories, [[{"category_id": 1, "bbox": [300, 100, 1, 1]}]] * 4)
    found = asked(path, settings())
    assert {task.family for _, task in found} == {"presence"}  # a cut pixel is not asked about
    for _, task in found:
        x0, y0, x1, y1 = box_in(task)
        assert min(x1 - x0, y1 - y0) >= 12
        assert (x0 <= 300 and x1 >= 301 and y0 <= 100 and y1 >= 101) == (task.answer == "yes")
