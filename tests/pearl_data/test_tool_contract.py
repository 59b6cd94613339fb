"""A tool is one module and one registry line: three of other shapes pass through everything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from trajectories import Builder
from trial_tools import TRIAL_TOOLS

import pearl_tools.registry
from pearl_data.report.story import tell
from pearl_data.schemas import trajectory_schema
from pearl_data.shards.sample import Sample
from pearl_data.trajectory import canonical_json
from pearl_data.validate import check_sample, check_text
from pearl_data.validate.replay import Replayer
from pearl_data.validate.schema import validator


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The trial tools beside the real ones: the registry lines, and schemas written from them."""
    for tool in TRIAL_TOOLS:
        monkeypatch.setitem(pearl_tools.registry._TOOLS, tool.spec.name, tool)
    for written in (trajectory_schema, validator):
        written.cache_clear()
    yield
    for written in (trajectory_schema, validator):
        written.cache_clear()


def sample_of(*calls: tuple[str, dict[str, Any]]) -> Sample:
    builder = Builder(seed=3, suffix="png", settings=None)
    for tool, arguments in calls:
        builder.call(tool, arguments, f"Let me use {tool}.")
    return builder.sample("s000003", "train")


ALL = (
    ("crop", {"image": "i0", "bbox": [0, 0, 1, 1]}),
    ("difference", {"before": "i0", "after": "o1"}),
    ("halves", {"image": "o1"}),
    ("brightness", {"image": "i0"}),
)


@pytest.mark.usefixtures("registered")
def test_tools_of_other_shapes_are_run_stored_validated_and_replayed() -> None:
    sample = sample_of(*ALL)
    made = [call.result.media for step in sample.trajectory.steps for call in step.calls]
    assert made == [["o1"], ["o2"], ["o3", "o4"], []]
    assert check_sample(sample) == []
    replayer = Replayer()
    assert replayer.run([sample]) == [[]]
    counts = {tool: count.equal for tool, count in replayer.counts().items()}
    assert counts == {"crop": 1, "difference": 1, "halves": 1, "brightness": 1}


@pytest.mark.usefixtures("registered")
def test_their_stored_records_are_judged_by_the_tools() -> None:
    record = json.loads(canonical_json(sample_of(*ALL).trajectory))

    def found(edit: Any) -> list[tuple[str, str]]:
        document = json.loads(json.dumps(record))
        edit(document)
        return [(each.code, each.path) for each in check_text(json.dumps(document).encode())]

    def of(document: Any, step: int) -> Any:
        return document["steps"][step]["calls"][0]

    def name_a_missing(document: Any) -> None:
        of(document, 1)["arguments"]["after"] = "o9"

    def drop_a_half(document: Any) -> None:
        of(document, 2)["result"]["media"].pop()

    def claim_a_region(document: Any) -> None:
        of(document, 3)["effective"] = of(document, 0)["effective"]

    def silence(document: Any) -> None:
        of(document, 3)["result"]["text"] = ""

    where = "steps[1].calls[0].arguments.after"
    assert ("reference.unknown_medium", where) in found(name_a_missing)
    assert ("result.missing_media", "steps[2].calls[0].result.media") in found(drop_a_half)
    assert ("result.box_mismatch", "steps[3].calls[0].effective.kind") in found(claim_a_region)
    assert ("schema.length", "steps[3].calls[0].result.text") in found(silence)


@pytest.mark.usefixtures("registered")
def test_replay_finds_an_edited_answer_in_words() -> None:
    sample = sample_of(*ALL)
    steps = list(sample.trajectory.steps)
    (call,) = steps[3].calls
    result = msgspec.structs.replace(call.result, text="mean value 3.0")
    steps[3] = msgspec.structs.replace(
        steps[3], calls=[msgspec.structs.replace(call, result=result)]
    )
    edited = Sample(msgspec.structs.replace(sample.trajectory, steps=steps), sample.members)
    (findings,) = Replayer().run([edited])
    assert [(each.code, each.path) for each in findings] == [
        ("result.replay_differs", "steps[3].calls[0].result.text")
    ]


@pytest.mark.usefixtures("registered")
def test_people_can_follow_them() -> None:
    story = tell(sample_of(*ALL).trajectory)
    assert "took the whole of i0, o1" in story
    assert "mean value" in story
