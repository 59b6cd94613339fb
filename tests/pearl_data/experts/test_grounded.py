from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from drawn import picture
from numpy.typing import NDArray

from pearl_data.experts.base import Conclusion, ExpertSettings, PlannedStep, Unsupported
from pearl_data.experts.grounded import GroundedExpert
from pearl_data.sources.base import DEPTH_TRUTH_MARGIN
from pearl_data.trajectory import Evidence, Task
from pearl_tools.executor import ToolExecutor
from pearl_tools.media import open_image
from pearl_tools.types import Medium, Observation, ToolCall

RED, BLUE = (40, 150, 70, 180), (200, 60, 240, 100)


class LeftIsNear:
    """A depth model for which everything gets farther from left to right."""

    model_id, weights_sha256, device, dtype = "left-is-near", "0" * 64, "cpu", "float32"
    libraries: tuple[str, ...] = ()

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        ramp = np.linspace(1, 0, 64, dtype=np.float32)
        return [np.tile(ramp, (48, 1)) for _ in images]


def box(px: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
    return (px[0] / 320, px[1] / 240, px[2] / 320, px[3] / 240)


def task(**changes: Any) -> Task:
    fields: dict[str, Any] = {
        "question": "What colour is the box?",
        "choices": ["red", "blue"],
        "answer": "red",
        "answer_type": "choice",
        "answer_source": "annotation",
        "family": "attribute",
        "evidence": [Evidence(media="i0", label="the box", bbox=box(RED), role="target")],
    }
    return Task(**{**fields, **changes})


def pair(answer: str, **changes: Any) -> Task:
    """Which of the two boxes is nearer."""
    evidence = [
        Evidence(media="i0", label="the red box", bbox=box(RED), role="pair"),
        Evidence(media="i0", label="the blue box", bbox=box(BLUE), role="pair"),
    ]
    choices = ["the red box", "the blue box"]
    return task(answer=answer, choices=choices, family="nearer", evidence=evidence, **changes)


def carry_out(
    question: Task, tools: list[str], seed: int = 0
) -> tuple[list[tuple[PlannedStep, list[Observation]]], Conclusion]:
    """Runs a plan with real calls, as the synthesiser does."""
    photo = open_image(picture([("red", RED), ("blue", BLUE)]), id="i0", name="p.png")
    media: dict[str, Medium] = {"i0": photo}
    executor = ToolExecutor(depth_model=LeftIsNear())
    plan = GroundedExpert(ExpertSettings(tools=tools)).plan(question, media, seed)
    steps: list[tuple[PlannedStep, list[Observation]]] = []
    step = next(plan)
    while True:
        seen = []
        for number, call in enumerate(step.calls):
            request = ToolCall(id=f"c{number}", tool=call.tool, arguments=call.arguments)
            observation = executor.run(request, media)
            media |= {m.record.id: m for m in observation.media}
            seen.append(observation)
        steps.append((step, seen))
        try:
            step = plan.send(seen)
        except StopIteration as stop:
            return steps, stop.value


@pytest.mark.parametrize("seed", range(12))
def test_every_look_really_shows_the_evidence(seed: int) -> None:
    steps, conclusion = carry_out(task(), ["crop", "zoom"], seed)
    assert conclusion.answer == "red"
    assert 1 <= len(steps) <= 2
    for _, (observation,) in steps:
        assert observation.effective is not None
        x0, y0, x1, y1 = observation.effective.box_root
        assert x0 <= RED[0]
        assert y0 <= RED[1]
        assert x1 >= RED[2]
        assert y1 >= RED[3]


def test_the_depth_map_is_read_and_quoted() -> None:
    steps, conclusion = carry_out(pair("the red box"), ["depth"])
    assert [call.tool for step, _ in steps for call in step.calls] == ["depth"]
    assert "the red box" in conclusion.thought
    assert "0.83" in conclusion.thought  # the ramp of LeftIsNear at the middle of the red box


def test_a_depth_map_that_contradicts_the_annotation_supports_nothing() -> None:
    with pytest.raises(Unsupported, match="the blue box is nearer than the red box") as caught:
        carry_out(pair("the blue box"), ["depth"])
    assert caught.value.error.code == "semantic.observation_contradicts"


@pytest.mark.parametrize("seed", range(12))
def test_order_and_detail_take_two_to_four_calls_of_both_tools(seed: int) -> None:
    both = pair("the red box")
    target = Evidence(media="i0", label="the red box", bbox=box(RED), role="target")
    question = task(family="nearer_read", evidence=[*both.evidence, target])
    steps, conclusion = carry_out(question, ["crop", "zoom", "depth"], seed)
    tools = [call.tool for step, _ in steps for call in step.calls]
    assert 2 <= len(tools) <= 4
    assert "depth" in tools
    assert {"crop", "zoom"} & set(tools)
    assert conclusion.answer == "red"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("family", "role"), [("presence", "target"), ("count", "region")])
def test_what_depends_on_its_borders_is_viewed_with_exactly_those(
    family: str, role: str, seed: int
) -> None:
    evidence = [Evidence(media="i0", label="the spot", bbox=box(RED), role=role)]  # type: ignore[arg-type]
    answer = "yes" if family == "presence" else "1"
    question = task(family=family, evidence=evidence, answer=answer, choices=[answer, "no"])
    ((_, (observation,)),), _ = carry_out(question, ["crop", "zoom"], seed)
    assert observation.effective is not None
    assert observation.effective.box_px == RED


def test_a_region_of_a_users_own_question_is_looked_at_not_counted_in() -> None:
    region = Evidence(media="i0", label="the corner", bbox=box(RED), role="region")
    steps, conclusion = carry_out(task(family="given", evidence=[region]), ["crop"])
    assert "ount" not in "".join(step.thought for step, _ in steps) + conclusion.thought


@pytest.mark.parametrize(
    ("family", "role", "answer"),
    [
        ("attribute", "target", "red"),
        ("identity", "target", "red"),
        ("presence", "target", "no"),
        ("whole", "target", "yes"),
        ("part", "target", "no"),
        ("count", "region", "1"),
    ],
)
def test_what_needs_no_tool_is_answered_without_a_call(family: str, role: str, answer: str) -> None:
    evidence = [Evidence(media="i0", label="the spot", bbox=box(RED), role=role)]  # type: ignore[arg-type]
    question = task(
        family=family, evidence=evidence, answer=answer, choices=[answer, "maybe"], needs_tool=False
    )
    with pytest.raises(StopIteration) as stopped:
        next(GroundedExpert(ExpertSettings(tools=["crop"])).plan(question, {}, 0))
    assert stopped.value.value.answer == answer
    assert answer in stopped.value.value.thought


def test_a_relation_is_said_of_the_one_that_it_holds_for() -> None:
    both = pair("the red box")
    question = task(
        question="Which is farther to the left, the red box or the blue box?",
        choices=both.choices,
        answer="the red box",
        family="relation",
        evidence=both.evidence,
        needs_tool=False,
    )
    with pytest.raises(StopIteration) as stopped:
        next(GroundedExpert(ExpertSettings(tools=["crop"])).plan(question, {}, 0))
    assert "is farther to the left: the red box." in stopped.value.value.thought.lower()


def by_tool(**changes: Any) -> Task:
    return pair("the red box", answer_source="tool", **changes)


@pytest.mark.parametrize("seed", range(4))
def test_a_clear_depth_map_says_the_answer_that_nobody_annotated(seed: int) -> None:
    question = msgspec.structs.replace(by_tool(), answer="")
    steps, conclusion = carry_out(question, ["depth"], seed)
    assert [call.tool for step, _ in steps for call in step.calls] == ["depth"]
    assert conclusion.answer == "the red box"  # LeftIsNear, and it is 0.5 of the range nearer


def test_a_depth_map_that_decides_by_too_little_says_no_answer() -> None:
    near = msgspec.structs.replace(by_tool().evidence[1], bbox=(0.18, 0.6, 0.28, 0.7))
    question = msgspec.structs.replace(by_tool(), answer="", evidence=[by_tool().evidence[0], near])
    with pytest.raises(Unsupported) as caught:
        carry_out(question, ["depth"])
    error = caught.value.error
    assert (error.code, error.path) == ("semantic.ambiguous", "task.answer")
    assert f"differ by {DEPTH_TRUTH_MARGIN:.0%}" in error.expected
    assert 0 <= float(error.got.rstrip("%")) < 100 * DEPTH_TRUTH_MARGIN


def test_more_or_fewer_than_two_things_are_not_compared() -> None:
    both = pair("the red box")
    question = task(family="given", evidence=both.evidence[:1])
    with pytest.raises(Unsupported, match="exactly two things"):
        carry_out(question, ["depth"])


def test_a_question_that_needs_a_disabled_tool_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="enable depth"):
        carry_out(pair("the red box"), ["crop"])


def test_thoughts_come_before_their_call_and_vary() -> None:
    thoughts = {carry_out(task(), ["crop"], seed)[0][0][0].thought for seed in range(20)}
    assert len(thoughts) >= 10
    assert all("crop" in t.lower() or "cut" in t.lower() for t in thoughts)


def test_the_same_seed_gives_the_same_plan() -> None:
    first, second = (carry_out(task(), ["crop", "zoom"], 7) for _ in range(2))
    assert first[1] == second[1]
    assert [s.thought for s, _ in first[0]] == [s.thought for s, _ in second[0]]


def test_each_of_several_evidence_boxes_is_looked_at() -> None:
    evidence = [
        Evidence(media="i0", label=label, bbox=box(px), role="target")
        for label, px in (("the red box", RED), ("the blue box", BLUE))
    ]
    steps, _ = carry_out(task(family="given", evidence=evidence), ["zoom"])
    assert len(steps) == 2
