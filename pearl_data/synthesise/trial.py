"""One question on its way: its plan, the media so far, the steps taken; in the end a sample.

A trial asks for calls (:meth:`Trial.wanted`), is given what they returned (:meth:`Trial.give`) and
ends with a sample or the reason why there is none. Left out: who runs the calls.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from pearl_data.experts.base import Conclusion, Expert, PlannedCall, Unsupported
from pearl_data.shards import CallTiming, Quarantined, Sample
from pearl_data.sources.base import Candidate
from pearl_data.trajectory import (
    SCHEMA_VERSION,
    Call,
    Final,
    Result,
    Step,
    Trajectory,
    canonical_json,
    question_sha256,
)
from pearl_data.validate import Finding, check_text
from pearl_tools.errors import ToolError, tool_error
from pearl_tools.stored import stored_form
from pearl_tools.types import ExecRecord, MediaRecord, Medium, Observation, ToolCall

_KEY_HASH_CHARACTERS = 10


class Trial:
    """One candidate being carried out by ``expert``.

    After every :meth:`give`, exactly one of ``wanted``, ``conclusion`` and ``reason`` is set.
    """

    def __init__(self, candidate: Candidate, expert: Expert, seed: int, val_share: float) -> None:
        self.candidate, self.expert, self.val_share = candidate, expert, val_share
        self.media: dict[str, Medium] = {root.record.id: root for root in candidate.roots}
        self.steps: list[Step] = []
        self.timings: list[CallTiming] = []
        self.conclusion: Conclusion | None = None
        self.reason: ToolError | None = None
        self._thought = ""
        self._wanted: list[PlannedCall] = []
        self._calls: list[Call] = []
        self._observations: list[Observation] = []
        self._call_count = 0
        digest = question_sha256([root.record for root in candidate.roots], candidate.task)
        self.key = f"{candidate.key_stem}-{digest[:_KEY_HASH_CHARACTERS]}"
        self._plan = expert.plan(candidate.task, self.media, seed)
        self._advance(None)

    def wanted(self) -> ToolCall | None:
        """The next call to be run on ``self.media``, or None when the trial has ended."""
        if self.reason is not None or self.conclusion is not None:
            return None
        planned = self._wanted[len(self._calls)]
        return ToolCall(
            id=f"c{self._call_count + 1}", tool=planned.tool, arguments=dict(planned.arguments)
        )

    def give(self, call: ToolCall, observation: Observation) -> None:
        """Takes what ``call`` returned; plans the next step once all calls of this one are in."""
        self._call_count += 1
        assert isinstance(call.arguments, dict)
        for medium in observation.media:
            self.media[medium.record.id] = medium
        self._observations.append(observation)
        self._calls.append(_call_record(call, observation))
        if observation.exec is not None:
            self.timings.append(_timing(self.key, call, observation, observation.exec))
        if len(self._calls) == len(self._wanted):
            self.steps.append(Step(thought=self._thought, calls=self._calls))
            self._advance(self._observations)

    def _advance(self, observations: list[Observation] | None) -> None:
        try:
            # a generator's first send must be None; typeshed cannot say so
            step = self._plan.send(observations)  # type: ignore[arg-type]
        except StopIteration as stop:
            self.conclusion = stop.value
        except Unsupported as unsupported:
            self.reason = unsupported.error
        else:
            self._thought, self._wanted = step.thought, step.calls
            self._calls, self._observations = [], []

    def sample(self) -> Sample | Quarantined:
        """The finished sample, or the reason why it must not be written.

        What the expert concluded is checked once more as any reader of the set would check it.
        """
        if self.conclusion is None:
            assert self.reason is not None
            return self.quarantined(self.reason)
        sample = self._assemble(self.conclusion)
        findings = check_text(canonical_json(sample.trajectory))
        if findings:
            return self.quarantined(_reason(findings[0]), msgspec.to_builtins(sample.trajectory))
        return sample

    def quarantined(self, reason: ToolError, record: dict[str, Any] | None = None) -> Quarantined:
        """This trial as a quarantine entry, with the question, all calls made, and the source."""
        if record is None:
            record = {
                "task": msgspec.to_builtins(self.candidate.task),
                "steps": msgspec.to_builtins(self.steps),
                "source": msgspec.to_builtins(self.candidate.source),
            }
        return Quarantined(key=self.key, reason=reason, record=record)

    def _assemble(self, conclusion: Conclusion) -> Sample:
        members: dict[str, bytes] = {}
        media: list[MediaRecord] = []
        for medium in self.media.values():
            record, stored = stored_form(medium)
            media.append(record)
            members |= stored
        task = self.candidate.task
        by_tool = task.answer_source == "tool"
        if by_tool:  # the candidate has no answer: what the calls said becomes it
            task = msgspec.structs.replace(task, answer=conclusion.answer)
        trajectory = Trajectory(
            schema_version=SCHEMA_VERSION,
            id=self.key,
            split=self._split(media),
            task=task,
            media=media,
            steps=self.steps,
            final=Final(
                thought=conclusion.thought,
                answer=conclusion.answer,
                verdict="unverified" if by_tool else "supported",
                verifier=self.expert.name,
            ),
            origin="expert",
            fault=None,
            loss_mask=[1] * len(self.steps),
            source=self.candidate.source,
        )
        return Sample(trajectory, members)

    def _split(self, media: list[MediaRecord]) -> str:
        """``val`` for ``val_share`` of the pictures, so that one picture is never in both."""
        roots = sorted(m.pixel_sha256 for m in media if m.parent is None)
        place = hashlib.sha256(canonical_json(["split", roots])).digest()
        return "val" if int.from_bytes(place[:8], "big") < self.val_share * 2**64 else "train"


def _call_record(call: ToolCall, observation: Observation) -> Call:
    executed = observation.exec
    if executed is not None:
        executed = msgspec.structs.replace(executed, cache=None, attempts=None, duration_ms=None)
    assert isinstance(call.arguments, dict)
    return Call(
        id=call.id,
        tool=call.tool,
        arguments_raw=canonical_json(call.arguments).decode(),
        arguments=call.arguments,
        effective=observation.effective,
        result=Result(
            status=observation.status,
            media=[medium.record.id for medium in observation.media],
            text=observation.text,
            error=observation.error,
        ),
        exec=executed,
    )


def _timing(key: str, call: ToolCall, observation: Observation, executed: ExecRecord) -> CallTiming:
    return CallTiming(
        key=key,
        call_id=call.id,
        tool=observation.tool,
        cache=executed.cache,
        attempts=executed.attempts or 1,
        duration_ms=executed.duration_ms or 0.0,
    )


def _reason(finding: Finding) -> ToolError:
    return tool_error(finding.code, finding.path, finding.expected, finding.got, finding.hint)
