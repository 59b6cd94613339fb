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
    assert most >= 8
    monkeypatch.setattr(block, "PIXELS_AT_ONCE", 2 * size)
    few = run()
    assert most <= 4  # two at work, the next being opened, one that its last slot still names
    told = [result.sample and result.sample.members for result in at_once]
    assert [result.sample and result.sample.members for result in few] == told
    assert sum(member is not None for member in told) >= 8
