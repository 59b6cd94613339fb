from __future__ import annotations

from collections import Counter

import pytest

from pearl_data.sources.base import Candidate, QuestionSettings
from pearl_data.sources.rendered import RenderedSource
from pearl_data.trajectory import Task

SETTINGS = QuestionSettings(tools=["crop", "zoom", "depth"], seed=5)


@pytest.fixture(scope="module")
def asked() -> list[Task]:
    source = RenderedSource(SETTINGS)
    tasks = []
    for block in range(2):
        for slot in source.block(block):
            item = next(slot)
            assert isinstance(item, Candidate)
            tasks.append(item.task)
    return tasks


def of(asked: list[Task], family: str) -> list[Task]:
    return [task for task in asked if task.family == family]


def test_every_family_is_asked(asked: list[Task]) -> None:
    assert Counter(task.family for task in asked) == {
        "read": 8, "attribute": 8, "count": 8, "identity": 8, "nearer": 16, "nearer_read": 8
    }  # fmt: skip


def test_every_position_of_the_answer_is_equally_frequent(asked: list[Task]) -> None:
    for family in {task.family for task in asked}:
        tasks = of(asked, family)
        positions = Counter(task.choices.index(task.answer) for task in tasks)
        assert set(positions.values()) == {len(tasks) // len(tasks[0].choices)}, family


@pytest.mark.parametrize("family", ["nearer", "nearer_read"])
def test_bigger_lower_and_more_central_are_each_right_half_of_the_time(
    asked: list[Task], family: str
) -> None:
    right: Counter[str] = Counter()
    tasks = of(asked, family)
    for task in tasks:
        near_label = task.answer
        if family == "nearer_read":
            near_label = next(e.label for e in task.evidence if e.role == "target")
        pair = {e.label: e.bbox for e in task.evidence if e.role == "pair"}
        near = pair.pop(near_label)
        (far,) = pair.values()
        right["bigger"] += _area(near) > _area(far)
        right["lower"] += near[3] > far[3]
        right["central"] += _off_centre(near) < _off_centre(far)
    assert right == dict.fromkeys(("bigger", "lower", "central"), len(tasks) // 2)


def test_the_pair_of_a_nearer_question_are_its_choices(asked: list[Task]) -> None:
    for task in of(asked, "nearer"):
        assert {e.label for e in task.evidence} == set(task.choices)


def test_counts_are_drawn_after_their_choices(asked: list[Task]) -> None:
    offsets = Counter(int(task.answer) - min(map(int, task.choices)) for task in of(asked, "count"))
    assert offsets == {0: 2, 1: 2, 2: 2, 3: 2}


def test_a_block_does_not_depend_on_what_was_drawn_before() -> None:
    look = QuestionSettings(tools=["crop"], seed=9)
    fresh = [next(slot) for slot in RenderedSource(look).block(1)[:4]]
    source = RenderedSource(look)
    next(source.block(0)[0])
    assert [next(slot) for slot in source.block(1)[:4]] == fresh


def _area(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _off_centre(box: tuple[float, float, float, float]) -> float:
    return float(((box[0] + box[2]) / 2 - 0.5) ** 2 + ((box[1] + box[3]) / 2 - 0.5) ** 2)
