"""The episode loop: real calls, exact texts, shared batches, and policies that wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from made_media import FakeDepth, photo

from pearl_data.episode import CallQueue, Episode, Turn, run_episode
from pearl_data.trajectory import Final, Origin, canonical_json
from pearl_tools.dialects import DIALECTS, Dialect, calls_in
from pearl_tools.errors import fail
from pearl_tools.executor import ToolExecutor

ANSWER = Final(thought="", answer="red", verdict="unchecked", verifier="none")
INVERTED = '{"name": "crop", "arguments": {"image": "i0", "bbox": [0.5, 0, 0.1, 1]}}'


def call(tool: str, **arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': tool, 'arguments': arguments})}</tool_call>"


DEPTH = call("depth", image="i0")
CROP = call("crop", image="i0", bbox=[0, 0, 0.5, 0.5])


class Scripted:
    """Writes its lines; a line without a call is the answer. ``waits`` for as many loop turns."""

    name = "scripted"
    origin: Origin = "model"

    def __init__(self, *lines: str | Turn, dialect: str = "pearl", waits: int = 0) -> None:
        self.dialect: Dialect = DIALECTS[dialect]
        self._lines, self._waits = list(lines), waits
        self.observed: list[list[str]] = []

    async def act(self, episode: Episode) -> Turn:
        for _ in range(self._waits):
            await asyncio.sleep(0.01)
        self.observed.append([seen.text or str(seen.error) for seen in episode.observations])
        line = self._lines.pop(0)
        if isinstance(line, Turn):
            return line
        if line == "answer":
            return Turn(text=line, conclusion=ANSWER)
        return Turn(text=line, calls=calls_in(line, self.dialect))


def run(*policies: Scripted, depth: FakeDepth | None = None, **limits: int) -> Sequence[Episode]:
    queue = CallQueue(ToolExecutor(depth_model=depth or FakeDepth()))

    async def all_of_them() -> list[Episode]:
        media = [{"i0": photo(100 + 0 * n, 80)} for n, _ in enumerate(policies)]
        pairs = zip(policies, media, strict=True)
        return await asyncio.gather(*(run_episode(p, m, queue, **limits) for p, m in pairs))

    return asyncio.run(all_of_them())


def test_calls_are_run_shown_and_recorded_as_they_were_written() -> None:
    odd = '{"name":  "crop", "arguments": {"image": "i0","bbox":[0,0, .5e0,0.5]}}'.replace(
        ".5e0", "0.50"
    )
    policy = Scripted(f"Look: <tool_call>{odd}</tool_call>", "answer")
    (episode,) = run(policy)
    assert (episode.status, episode.conclusion) == ("answered", ANSWER)
    ((recorded,),) = [step.calls for step in episode.steps]
    assert recorded.arguments_raw == odd
    assert recorded.arguments == {"image": "i0", "bbox": [0, 0, 0.5, 0.5]}
    assert recorded.result.media == ["o1"]
    assert (episode.media["o1"].pixels == episode.media["i0"].pixels[:40, :50]).all()
    assert episode.texts == [f"Look: <tool_call>{odd}</tool_call>", "answer"]
    assert policy.observed[1] == ["o1 is a crop of i0, 50x40 px: pixels [0, 0, 50, 40]."]


def test_a_later_call_of_one_turn_sees_the_media_of_an_earlier_one() -> None:
    (episode,) = run(Scripted(CROP + call("crop", image="o1", bbox=[0, 0, 0.5, 1]), "answer"))
    assert [c.result.media for c in episode.steps[0].calls] == [["o1"], ["o2"]]


def test_bad_calls_are_observations_with_their_code_and_their_text() -> None:
    broken = '{"name": "crop", "arguments": {"image": "i0"'
    lines = f"<tool_call>{INVERTED}</tool_call><tool_call>{broken}</tool_call>"
    (episode,) = run(Scripted(lines, "only words", "answer"))
    bad = [call for step in episode.steps for call in step.calls]
    assert [c.result.error.code for c in bad if c.result.error] == [
        "geometry.inverted",
        "parse.not_json",
        "parse.no_call",
    ]
    assert [c.arguments_raw for c in bad] == [INVERTED, broken, "only words"]
    assert bad[1].arguments is None


def test_calls_are_read_in_the_dialect_of_the_policy() -> None:
    box = json.dumps({"bbox_2d": [100, 100, 600, 600], "img_idx": 0, "label": "x"})
    text = f'<tool_call>{{"name": "image_zoom_in_tool", "arguments": {box}}}</tool_call>'
    (episode,) = run(Scripted(text, "answer", dialect="qwen"))
    (recorded,) = episode.steps[0].calls
    assert (recorded.tool, recorded.arguments) == (
        "zoom",
        {"image": "i0", "bbox": [0.1, 0.1, 0.6, 0.6]},
    )


def test_the_depth_calls_of_many_episodes_share_a_batch() -> None:
    depth = FakeDepth()
    policies = [
        Scripted(CROP, call("depth", image="o1"), "answer"),
        Scripted(
            call("zoom", image="i0", bbox=[0, 0, 0.5, 0.5]), call("depth", image="o1"), "answer"
        ),
    ]
    run(*policies, depth=depth)
    assert depth.batches == [1, 1]  # pictures of other sizes
    depth = FakeDepth()
    boxes = ([0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0.2, 0.2, 0.7, 0.7])
    run(
        *(Scripted(call("crop", image="i0", bbox=b), call("depth", image="o1"), "answer")
          for b in boxes),
        depth=depth,
    )  # fmt: skip
    assert depth.batches == [3]


def test_a_policy_that_waits_blocks_no_other() -> None:
    done: list[str] = []

    class Noted(Scripted):
        async def act(self, episode: Episode) -> Turn:
            turn = await super().act(episode)
            done.append(self.name)
            return turn

    slow, fast = Noted(CROP, "answer", waits=5), Noted(CROP, "answer")
    slow.name, fast.name = "slow", "fast"
    run(slow, fast)
    assert done == ["fast", "fast", "slow", "slow"]


def test_a_budget_ends_an_episode_without_an_answer() -> None:
    (episode,) = run(Scripted(CROP, DEPTH, CROP), max_turns=2)
    assert (episode.status, episode.conclusion, len(episode.steps)) == ("budget", None, 2)


def test_a_policy_that_gives_up_leaves_its_reason() -> None:
    class GivesUp(Scripted):
        async def act(self, episode: Episode) -> Turn:
            raise fail("semantic.ambiguous", "task", "one answer", "two")

    (episode,) = run(GivesUp())
    assert episode.error is not None
    assert (episode.status, episode.error.code) == ("fault", "semantic.ambiguous")


def test_a_fault_made_on_purpose_is_data_and_so_is_its_recovery() -> None:
    wrong = Turn(
        text=INVERTED,
        calls=calls_in(f"<tool_call>{INVERTED}</tool_call>", DIALECTS["pearl"]),
        learn=False,
        fault="geometry.inverted",
    )
    (episode,) = run(Scripted(CROP, wrong, DEPTH, "answer"))
    assert episode.fault is not None
    assert (episode.fault.code, episode.fault.step, episode.fault.recovered_at) == (
        "geometry.inverted",
        1,
        2,
    )
    assert episode.loss_mask == [1, 0, 1]


def test_half_a_character_of_a_model_ends_in_a_record_that_can_be_written() -> None:
    lines = ["\ud800", "<tool_call>\ud800</tool_call>", call("crop", image="\ud800")]
    turn = Turn(text="x", thought="hm \udfff", calls=calls_in(lines[1], DIALECTS["pearl"]))
    (episode,) = run(Scripted(*lines, turn, "answer"))
    codes = [one.result.error and one.result.error.code for s in episode.steps for one in s.calls]
    assert codes == ["parse.no_call", "parse.not_json", "schema.type", "parse.not_json"]
    assert b"\\\\ud800" in canonical_json(episode.steps)
    assert b"hm \\\\udfff" in canonical_json(episode.steps)
