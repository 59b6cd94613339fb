from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from trajectories import RampModel, draw, encode_picture

from pearl_data.formats.chat import Seen, observation_text
from pearl_tools.errors import UsageError
from pearl_tools.executor import ToolExecutor
from pearl_tools.media import open_image
from pearl_tools.types import Medium
from pearl_train.asking.explicit_tools import Picture, Spoken, ask, executor_for


def call(tool: str, **arguments: object) -> str:
    body = json.dumps({"name": tool, "arguments": arguments})
    return f"<tool_call>\n{body}\n</tool_call>"


CROP = call("crop", image="i0", bbox=[0, 0, 0.5, 0.5])
DEPTH = call("depth", image="i0")
OF_CROP = call("crop", image="o1", bbox=[0, 0, 0.5, 0.5])
INVERTED = call("crop", image="i0", bbox=[0.5, 0, 0.1, 1])


class Scripted:
    """A speaker that says its lines, and remembers what it was shown."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.heard: list[Sequence[Seen]] = []
        self.pictures: dict[str, Picture] = {}

    def say(self, max_tokens: int) -> Spoken:
        line = self.lines.pop(0)
        return Spoken(line, len(line.split()), ended=True)

    def hear(self, seen: Sequence[Seen], pictures: Mapping[str, Picture]) -> None:
        self.heard.append(seen)
        self.pictures |= pictures


@pytest.fixture
def photo() -> dict[str, Medium]:
    pixels, _, _ = draw(0)
    return {"i0": open_image(encode_picture(pixels, "png"), id="i0")}


@pytest.fixture
def executor() -> ToolExecutor:
    return ToolExecutor(depth_model=RampModel())


def test_calls_are_really_run_and_shown_until_there_is_an_answer(
    photo: dict[str, Medium], executor: ToolExecutor
) -> None:
    speaker = Scripted(f"I look closer.\n{CROP}", "It is red.\nAnswer: red")
    run = ask(speaker, photo, executor)
    assert run.answered
    assert run.reply == "It is red.\nAnswer: red"
    assert (run.turns, run.calls, dict(run.tools), dict(run.errors)) == (2, 1, {"crop": 1}, {})
    [[seen]] = speaker.heard
    assert seen.media == ("o1",)
    assert (speaker.pictures["o1"] == photo["i0"].pixels[:60, :80]).all()


def test_a_call_may_point_at_what_an_earlier_one_showed(
    photo: dict[str, Medium], executor: ToolExecutor
) -> None:
    speaker = Scripted(f"{CROP}{DEPTH}", OF_CROP, "Answer: red")
    run = ask(speaker, photo, executor)
    assert dict(run.tools) == {"crop": 2, "depth": 1}
    assert not run.errors
    assert [[s.media for s in turn] for turn in speaker.heard] == [[("o1",), ("o2",)], [("o3",)]]


def test_a_depth_map_is_shown_as_its_grey_picture(
    photo: dict[str, Medium], executor: ToolExecutor
) -> None:
    speaker = Scripted(DEPTH, "Answer: red")
    ask(speaker, photo, executor)
    assert speaker.pictures["o1"].dtype == np.uint8
    assert speaker.pictures["o1"].shape[2] == 3


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
def test_a_mistake_is_counted_by_its_code_and_told(
    photo: dict[str, Medium], executor: ToolExecutor, said: str, code: str, tool: str
) -> None:
    speaker = Scripted(said, "Answer: red")
    run = ask(speaker, photo, executor)
    assert dict(run.errors) == {code: 1}
    assert dict(run.tools) == {tool: 1}
    [[seen]] = speaker.heard
    assert observation_text(seen).startswith(f"Error {code}: ")
    assert not speaker.pictures


def test_neither_call_nor_answer_is_told_apart_from_a_bad_call(
    photo: dict[str, Medium], executor: ToolExecutor
) -> None:
    run = ask(Scripted("Let me think.", "Answer: red"), photo, executor)
    assert (run.calls, dict(run.errors), run.answered) == (0, {"parse.no_call": 1}, True)


def test_an_answer_beside_a_call_waits_for_what_the_call_shows(
    photo: dict[str, Medium], executor: ToolExecutor
) -> None:
    speaker = Scripted(f"Answer: blue\n{CROP}", "Answer: red")
    assert ask(speaker, photo, executor).reply == "Answer: red"


def test_turns_run_out(photo: dict[str, Medium], executor: ToolExecutor) -> None:
    speaker = Scripted(CROP, CROP, CROP)
    run = ask(speaker, photo, executor, max_turns=3)
    assert (run.answered, run.reply, run.turns, run.calls) == (False, "", 3, 3)
    assert len(speaker.heard) == 2, "nobody listens to what the last call shows"


def test_no_question_profits_from_another_ones_calls(
    photo: dict[str, Medium], executor: ToolExecutor
) -> None:
    depths = 0

    class Counting(RampModel):
        def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
            nonlocal depths
            depths += len(images)
            return super().predict(images)

    executor = ToolExecutor(depth_model=Counting())
    for _ in range(2):
        ask(Scripted(DEPTH, "Answer: red"), photo, executor)
    assert depths == 2


def test_the_executor_works_as_it_did_for_the_data(photo: dict[str, Medium]) -> None:
    executor = executor_for({"executor": {"on_partly_outside": "clamp", "zoom_long_side_px": 96}})
    assert executor.settings.on_partly_outside == "clamp"
    assert executor.settings.zoom_long_side_px == 96
    assert executor_for({}).settings.on_partly_outside == "refuse"
    with pytest.raises(UsageError, match="executor settings"):
        executor_for({"executor": {"speed": "fast"}})
