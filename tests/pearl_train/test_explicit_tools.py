from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from trajectories import RampModel, draw, encode_picture

from pearl_tools.errors import UsageError
from pearl_tools.executor import ToolExecutor
from pearl_tools.media import open_image
from pearl_tools.types import Medium
from pearl_train.explicit_tools import Shown, Spoken, ask, executor_for

CROP = '<tool_call>\n{"name": "crop", "arguments": {"image": "i0", "bbox": [0, 0, 0.5, 0.5]}}\n</tool_call>'
DEPTH = '<tool_call>\n{"name": "depth", "arguments": {"image": "i0"}}\n</tool_call>'
OF_CROP = '<tool_call>\n{"name": "crop", "arguments": {"image": "o1", "bbox": [0, 0, 0.5, 0.5]}}\n</tool_call>'
INVERTED = '<tool_call>\n{"name": "crop", "arguments": {"image": "i0", "bbox": [0.5, 0, 0.1, 1]}}\n</tool_call>'


class Scripted:
    """A speaker that says its lines, and remembers what it was shown."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.heard: list[Sequence[Shown]] = []

    def say(self, max_tokens: int) -> Spoken:
        line = self.lines.pop(0)
        return Spoken(line, len(line.split()), ended=True)

    def hear(self, shown: Sequence[Shown]) -> None:
        self.heard.append(shown)


@pytest.fixture
def photo() -> dict[str, Medium]:
    pixels, _, _ = draw(0)
    return {"i0": open_image(encode_picture(pixels, "png"), id="i0")}


@pytest.fixture
def executor() -> ToolExecutor:
    return ToolExecutor(depth_model=RampModel())


def test_calls_are_really_run_and_shown_until_there_is_an_answer(photo, executor) -> None:
    speaker = Scripted(f"I look closer.\n{CROP}", "It is red.\nAnswer: red")
    run = ask(speaker, photo, executor)
    assert run.answered
    assert run.reply == "It is red.\nAnswer: red"
    assert (run.turns, run.calls, dict(run.tools), dict(run.errors)) == (2, 1, {"crop": 1}, {})
    [[shown]] = speaker.heard
    assert shown.medium == "o1"
    assert (shown.pixels == photo["i0"].pixels[:60, :80]).all()


def test_a_call_may_point_at_what_an_earlier_one_showed(photo, executor) -> None:
    speaker = Scripted(f"{CROP}{DEPTH}", OF_CROP, "Answer: red")
    run = ask(speaker, photo, executor)
    assert dict(run.tools) == {"crop": 2, "depth": 1}
    assert not run.errors
    assert [[s.medium for s in turn] for turn in speaker.heard] == [["o1", "o2"], ["o3"]]


def test_a_depth_map_is_shown_as_its_grey_picture(photo, executor) -> None:
    speaker = Scripted(DEPTH, "Answer: red")
    ask(speaker, photo, executor)
    [[shown]] = speaker.heard
    assert shown.pixels is not None
    assert shown.pixels.dtype == np.uint8
    assert shown.pixels.shape[2] == 3


@pytest.mark.parametrize(
    ("said", "code", "tool"),
    [
        (INVERTED, "geometry.inverted", "crop"),
        (OF_CROP, "reference.unknown_medium", "crop"),
        ('<tool_call>{"name": "crop", "arguments"', "parse.unclosed", "unreadable"),
        (
            '<tool_call>{"name": "spin", "arguments": {}}</tool_call>',
            "schema.unknown_tool",
            "unreadable",
        ),
    ],
)
def test_a_mistake_is_counted_by_its_code_and_told(photo, executor, said, code, tool) -> None:
    speaker = Scripted(said, "Answer: red")
    run = ask(speaker, photo, executor)
    assert dict(run.errors) == {code: 1}
    assert dict(run.tools) == {tool: 1}
    [[shown]] = speaker.heard
    assert shown.error == code
    assert shown.text.startswith(f"Error {code}")
    assert shown.pixels is None


def test_neither_call_nor_answer_is_told_apart_from_a_bad_call(photo, executor) -> None:
    run = ask(Scripted("Let me think.", "Answer: red"), photo, executor)
    assert (run.calls, dict(run.errors), run.answered) == (0, {"parse.no_call": 1}, True)


def test_an_answer_beside_a_call_waits_for_what_the_call_shows(photo, executor) -> None:
    speaker = Scripted(f"Answer: blue\n{CROP}", "Answer: red")
    assert ask(speaker, photo, executor).reply == "Answer: red"


def test_turns_run_out(photo, executor) -> None:
    speaker = Scripted(CROP, CROP, CROP)
    run = ask(speaker, photo, executor, max_turns=3)
    assert (run.answered, run.reply, run.turns, run.calls) == (False, "", 3, 3)
    assert len(speaker.heard) == 2, "nobody listens to what the last call shows"


def test_no_question_profits_from_another_ones_calls(photo, executor) -> None:
    depths = 0

    class Counting(RampModel):
        def predict(self, images):  # type: ignore[no-untyped-def]  # as in RampModel
            nonlocal depths
            depths += len(images)
            return super().predict(images)

    executor = ToolExecutor(depth_model=Counting())
    for _ in range(2):
        ask(Scripted(DEPTH, "Answer: red"), photo, executor)
    assert depths == 2


def test_the_executor_works_as_it_did_for_the_data(photo) -> None:
    executor = executor_for({"executor": {"on_partly_outside": "clamp", "zoom_long_side_px": 96}})
    assert executor.settings.on_partly_outside == "clamp"
    assert executor.settings.zoom_long_side_px == 96
    assert executor_for({}).settings.on_partly_outside == "refuse"
    with pytest.raises(UsageError, match="executor settings"):
        executor_for({"executor": {"speed": "fast"}})
