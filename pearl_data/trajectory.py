"""The trajectory record: a question, the expert's tool calls, their observations, the answer.

A sample in a shard is one :class:`Trajectory` as canonical JSON beside the bytes
of its media. Not here: pixels, checking (:mod:`pearl_data.validate`) and storage
(:mod:`pearl_data.shards`). Facts of one run (durations, cache hits, attempts) are not part of the
record: the dataset's ``timings`` files hold them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec

from pearl_tools.errors import ToolError
from pearl_tools.registry import TOOLS
from pearl_tools.strict_json import decode_json
from pearl_tools.types import MAX_CALLS, Box, Count, Effective, ExecRecord, MediaRecord, Record

SCHEMA_VERSION: Literal["2.0"] = "2.0"

#: Choices that one question may have.
MAX_CHOICES = 1024

AnswerType = Literal["choice", "number", "text"]
#: Who says the answer: people who annotated, the scene that was rendered, a tool, a model.
AnswerSource = Literal["annotation", "scene", "tool", "model"]
Origin = Literal["expert", "model", "injected", "imported"]

Verdict = Literal["supported", "unsupported", "unchecked", "unverified"]

#: Question families of the grounded expert; imported records may use ``other``.
Family = Literal[
    "attribute",
    "identity",
    "presence",
    "whole",
    "part",
    "read",
    "count",
    "relation",
    "nearer",
    "nearer_read",
    "given",
    "other",
]


class Evidence(Record, frozen=True, kw_only=True):
    """A box that the answer rests on, as a fraction 0..1 of medium ``media`` (a root).

    ``role`` tells what it is for: ``target`` must lie inside what was cropped; ``pair`` marks
    the things compared; ``region`` the area counted in.
    """

    media: str
    label: str
    bbox: Box
    role: Literal["target", "pair", "region"]


class Task(Record, frozen=True, kw_only=True):
    """The question, its choices (empty for an open answer) and the source of its answer.

    ``needs_tool`` is false for a question that the whole picture answers at the model's resolution:
    its answer may rest on no call at all.
    """

    question: Annotated[str, msgspec.Meta(min_length=1)]
    choices: Annotated[list[str], msgspec.Meta(max_length=MAX_CHOICES)]
    answer: str
    answer_type: AnswerType
    answer_source: AnswerSource
    family: Family
    evidence: list[Evidence]
    needs_tool: bool = True


class Result(Record, frozen=True, kw_only=True):
    """What one call returned: ids of new media and text, or one error."""

    status: Literal["ok", "error"]
    media: list[str]
    text: str
    error: ToolError | None


class Call(Record, frozen=True, kw_only=True):
    """One tool call: as it was written, as it was understood, what it really did and returned.

    ``arguments_raw`` is the caller's own text; ``arguments`` is null where it could not be
    understood (then ``result.error`` says why).
    """

    id: Annotated[str, msgspec.Meta(pattern="^c[0-9]+$")]
    tool: str
    arguments_raw: str
    arguments: dict[str, Any] | None
    effective: Effective | None
    result: Result
    exec: ExecRecord | None


class Step(Record, frozen=True, kw_only=True):
    """One turn: the thought that says why, then the calls it makes."""

    thought: str
    calls: Annotated[list[Call], msgspec.Meta(max_length=MAX_CALLS)]


class Final(Record, frozen=True, kw_only=True):
    """The conclusion. ``verdict``: ``verifier`` found the answer supported or not, or did not check
    it, or it is ``unverified``: a tool alone says so (``answer_source`` is ``tool``).
    """

    thought: str
    answer: str
    verdict: Verdict
    verifier: str


class Fault(Record, frozen=True, kw_only=True):
    """A mistake that the trajectory contains: its code, where, and where it was repaired."""

    code: str
    step: Count
    recovered_at: Count | None


class Source(Record, frozen=True, kw_only=True):
    """The origin of the question: data set, row in it, licence of the media.

    ``extra`` keeps what the row said beside what is used, by column.
    """

    dataset: str
    row: str
    licence: str
    extra: dict[str, Any] = {}


class Trajectory(Record, frozen=True, kw_only=True):
    """One expert trajectory. ``loss_mask[i]`` is 1 where step i is learned from, 0 where it is a
    mistake that is kept only as context; it has one entry per step.
    """

    schema_version: Literal["2.0"]
    id: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9_-]*$")]
    split: Annotated[str, msgspec.Meta(pattern="^[a-z0-9_-]+$")]
    task: Task
    media: list[MediaRecord]
    steps: list[Step]
    final: Final
    origin: Origin
    fault: Fault | None
    loss_mask: list[Literal[0, 1]]
    source: Source


def named_media(call: Call) -> list[str]:
    """The ids of the media that ``call`` names, in the order of its tool's arguments; empty for an
    unknown tool or arguments that could not be read.
    """
    tool = TOOLS.get(call.tool)
    if tool is None or not call.arguments:
        return []
    return [name for _, name in tool.named_media(call.arguments)]


def canonical_json(value: Any) -> bytes:
    """``value`` (a record or JSON value) as the one UTF-8 text that equal values share.

    Keys are sorted, nothing is padded, floats have their shortest round-trip form.
    """
    return msgspec.json.encode(value, order="sorted")


def decode(text: bytes | str) -> Trajectory:
    """The trajectory in ``text``; raises ``msgspec.DecodeError`` naming the first fault.

    :func:`pearl_data.validate.check_text` is the one that reports all faults.
    """
    return decode_json(text, Trajectory, strict=False)


def identity_sha256(trajectory: Trajectory) -> str:
    """Hash of what makes two trajectories the same question: root pixels, question, choices.

    Runs, tools and thoughts do not count, so that duplicates are found across them.
    """
    return question_sha256([m for m in trajectory.media if m.parent is None], trajectory.task)


def question_sha256(roots: Iterable[MediaRecord], task: Task) -> str:
    """The identity of a question on ``roots``, known before any call is made."""
    pixels = sorted(root.pixel_sha256 for root in roots)
    return hashlib.sha256(canonical_json([pixels, task.question, sorted(task.choices)])).hexdigest()
