"""No rule that looks at no pixels is worth more than guessing on an annotated set."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest
from annotated import HUMAN, PLACES, write

from pearl_data.audit.shortcuts import Question, shortcut_table
from pearl_data.sources.base import Candidate, QuestionSettings
from pearl_data.sources.coco import CocoSource
from pearl_data.trajectory import Task

NAMES = ["person", "dog", "cat", "horse", "car", "bicycle", "bird", "cow", "sheep", "boat", "zebra"]


@pytest.fixture(scope="module")
def by_picture(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Task]]:
    """Questions on 150 pictures of large and small things, some kinds ten times as often."""
    rng = random.Random(5)

    def thing() -> dict[str, Any]:
        kind = rng.choices(range(10), [10, 5, 4, 3, 2, 2, 1, 1, 1, 1])[0]
        large = rng.random() < 0.4
        width, height = (rng.randint(*((100, 400) if large else (12, 60))) for _ in range(2))
        x, y = rng.randint(0, 640 - width), rng.randint(0, 480 - height)
        points = [v for a, b in PLACES for v in (round(x + a * width), round(y + b * height), 2)]
        found = {"category_id": kind, "bbox": [x, y, width, height]}
        return found | ({"keypoints": points} if kind == 0 else {})

    images = [[thing() for _ in range(rng.randint(1, 7))] for _ in range(150)]
    categories: list[dict[str, Any]] = [{"id": k, "name": name} for k, name in enumerate(NAMES)]
    categories[0]["keypoints"] = HUMAN
    folder = tmp_path_factory.mktemp("lazy")
    settings = QuestionSettings(tools=["crop"], per_image=8, needs_tool="any")
    source = CocoSource(write(folder, categories, images), folder, settings)
    items = (i for number in range(source.blocks()) for slot in source.block(number) for i in slot)
    return [(item.source.row, item.task) for item in items if isinstance(item, Candidate)]


@pytest.fixture(scope="module")
def asked(by_picture: list[tuple[str, Task]]) -> list[Task]:
    return [task for _, task in by_picture]


def test_no_rule_beats_chance(by_picture: list[tuple[str, Task]]) -> None:
    def half(row: str) -> int:  # by picture, so that no rewording moves a question
        return hashlib.sha256(row.encode()).digest()[0] & 1

    sizes = {"i0": (640, 480)}
    rows = shortcut_table([Question(t.family, t, sizes, half(row)) for row, t in by_picture])
    families = {"count", "identity", "part", "presence", "relation", "whole"}
    assert {row.family for row in rows} == {*families, "overall"}
    assert [row for row in rows if row.flagged] == []
    for row in rows:
        if row.rule in ("first_choice", "last_choice") and row.score.n > 100:
            assert abs(row.difference_points) <= 5, row


@pytest.mark.parametrize("family", ["presence", "part", "whole"])
def test_the_size_of_the_box_does_not_tell_yes_from_no(asked: list[Task], family: str) -> None:
    def area(task: Task) -> float:
        x0, y0, x1, y1 = task.evidence[0].bbox
        return (x1 - x0) * (y1 - y0)

    found = [(area(task), task.answer == "yes") for task in asked if task.family == family]
    assert len(found) > 60
    hits = [sum((size > limit) == yes for size, yes in found) for limit, _ in found]
    assert max(*hits, len(found) - min(hits)) <= 0.62 * len(found)
