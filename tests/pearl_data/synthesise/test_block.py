"""One block of work: how many pictures it holds at a time."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import pytest
from drawn import coco_set, picture

from pearl_data.experts.base import ExpertSettings
from pearl_data.experts.grounded import GroundedExpert
from pearl_data.sources import pictures as reading
from pearl_data.sources.base import QuestionSettings, QuestionSource
from pearl_data.sources.coco import CocoSource
from pearl_data.sources.jsonl import JsonlSource
from pearl_data.synthesise import block
from pearl_data.synthesise.current_input import CurrentInput, InputPlace, Skip
from pearl_tools.errors import tool_error
from pearl_tools.executor import ExecutorSettings, ToolExecutor
from pearl_tools.types import Medium

TOOLS = ["crop", "zoom"]


def jsonl(folder: Path) -> QuestionSource:
    row: dict[str, Any] = {
        "question": "What colour is the box?",
        "choices": ["red", "blue"],
        "answer": "red",
        "evidence": [{"bbox": [0.1, 0.1, 0.3, 0.3], "label": "the box"}],
    }
    rows = []
    for number in range(12):
        name = f"{number}.png"
        (folder / name).write_bytes(picture([("red", (32 + number, 24, 96, 72))]))
        rows.append(json.dumps({**row, "image": name}))
    (folder / "rows.jsonl").write_text("\n".join(rows))
    return JsonlSource(folder / "rows.jsonl", folder, QuestionSettings(tools=TOOLS))


def coco(folder: Path) -> QuestionSource:
    path = coco_set(folder / "set", images=8)
    return CocoSource(path, folder / "set", QuestionSettings(tools=TOOLS))


@pytest.mark.parametrize("open_source", [jsonl, coco])
def test_few_large_pictures_are_open_at_once_and_nothing_changes(
    open_source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(tmp_path)
    alive: weakref.WeakValueDictionary[int, Medium] = weakref.WeakValueDictionary()
    most = 0
    size = 0
    read_picture = reading.read_picture

    def counted(*args: Any, **options: Any) -> Medium:
        nonlocal most, size
        gc.collect()
        medium = read_picture(*args, **options)
        alive[id(medium)] = medium
        most = max(most, len(alive))
        size = medium.record.width * medium.record.height
        return medium

    monkeypatch.setattr(f"{type(source).__module__}.read_picture", counted)

    def run() -> list[block.SlotResult]:
        nonlocal most
        most = 0
        expert = GroundedExpert(ExpertSettings(tools=TOOLS, model_long_side_px=448))
        executor = ToolExecutor(ExecutorSettings(cache_bytes=0))
        return block.run_block(source, 0, expert, executor, seed=1, val_share=0.0)

    at_once = run()
    assert most >= 4
    monkeypatch.setattr(block, "PIXELS_AT_ONCE", size)
    few = run()
    assert most <= 3  # one at work, the next being opened, one that its last slot still names
    told = [result.sample and result.sample.members for result in at_once]
    assert [result.sample and result.sample.members for result in few] == told
    assert sum(member is not None for member in told) >= 8


@pytest.mark.parametrize("open_source", [jsonl, coco])
def test_few_samples_cost_few_slots_and_are_the_same(open_source: Any, tmp_path: Path) -> None:
    source = open_source(tmp_path)
    asked = 0

    class Counting:
        name = source.name

        def block(self, index: int) -> Any:
            nonlocal asked
            asked = 0
            for slot in source.block(index):
                asked += 1
                yield slot

    def run(room: int | None) -> list[Any]:
        expert = GroundedExpert(ExpertSettings(tools=TOOLS, model_long_side_px=448))
        executor = ToolExecutor(ExecutorSettings())
        found = block.run_block(
            Counting(),
            0,
            expert,
            executor,
            seed=1,
            val_share=0.0,
            room=room,  # type: ignore[arg-type]
        )
        return [result.sample and result.sample.members for result in found]

    whole = run(None)
    for room, slots in ((1, 1), (2, 3), (3, 3), (4, 7)):
        part = run(room)
        assert asked == slots
        assert part == whole[:slots]


def test_what_is_avoided_is_kept_out_by_name(tmp_path: Path) -> None:
    source = jsonl(tmp_path)
    error = tool_error(
        "execution.worker_died", "here", "an input that a worker survives", "SIGSEGV"
    )
    expert = GroundedExpert(ExpertSettings(tools=TOOLS, model_long_side_px=448))
    places: list[InputPlace | None] = []
    current = CurrentInput(
        Skip(pictures={"5.png": error}, slots={2: (None, error)}),
        lambda place, _: places.append(place),
    )
    found = block.run_block(
        source, 0, expert, ToolExecutor(), seed=1, val_share=0.0, current=current
    )
    lost = {n: result.quarantined for n, result in enumerate(found) if result.sample is None}
    assert list(lost) == [2, 5]
    assert [(one.key, one.reason.code) for (one,) in lost.values()] == [
        ("rows-000000-002", "execution.worker_died"),
        ("rows-000006", "execution.worker_died"),
    ]
    assert lost[2][0].record == {"block": 0, "slot": 2}
    assert lost[5][0].record is not None
    assert lost[5][0].record["image"] == "5.png"
    pictures = [place.picture for place in places if place and place.picture]
    assert pictures == [f"{number}.png" for number in range(8) if number not in (2, 5)]
    assert current.found == 6
