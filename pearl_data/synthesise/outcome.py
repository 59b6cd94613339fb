"""Turns an episode into a sample of the data set, or a quarantine entry with its reason."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from pearl_data.episode import Episode, Policy
from pearl_data.shards import CallTiming, Quarantined, Sample
from pearl_data.sources.base import Candidate
from pearl_data.trajectory import SCHEMA_VERSION, Final, Trajectory, canonical_json, question_sha256
from pearl_data.validate import Finding, check_text
from pearl_tools.errors import ToolError, tool_error
from pearl_tools.stored import stored_form
from pearl_tools.types import MediaRecord

_KEY_HASH_CHARACTERS = 10


def key_of(candidate: Candidate) -> str:
    """The id of the candidate's record: its stem, and the first digits of its question's hash."""
    digest = question_sha256([root.record for root in candidate.roots], candidate.task)
    return f"{candidate.key_stem}-{digest[:_KEY_HASH_CHARACTERS]}"


def outcome(
    candidate: Candidate, policy: Policy, episode: Episode, val_share: float
) -> Sample | Quarantined:
    """The finished sample, or a quarantine entry with the reason.

    The finished record is checked as any reader of the set would check it. ``val_share`` is
    the share 0..1 of pictures whose trajectories get the split ``val``.
    """
    key = key_of(candidate)
    if episode.conclusion is None:
        reason = episode.error or tool_error(
            "semantic.insufficient_calls", "steps", "an answer within the budget", "no answer"
        )
        record = {
            "task": msgspec.to_builtins(candidate.task),
            "steps": msgspec.to_builtins(episode.steps),
            "source": msgspec.to_builtins(candidate.source),
        }
        return Quarantined(key=key, reason=reason, record=record)
    sample = _assemble(candidate, policy, episode, episode.conclusion, key, val_share)
    findings = check_text(canonical_json(sample.trajectory))
    if findings:
        record = msgspec.to_builtins(sample.trajectory)
        return Quarantined(key=key, reason=_reason(findings[0]), record=record)
    return sample


def timings_of(key: str, episode: Episode) -> list[CallTiming]:
    """Cache use, attempts and duration of every call that was executed."""
    return [
        CallTiming(
            key=key,
            call_id=seen.call_id,
            tool=seen.tool,
            cache=seen.exec.cache,
            attempts=seen.exec.attempts or 1,
            duration_ms=seen.exec.duration_ms or 0.0,
        )
        for step in episode.seen
        for seen in step
        if seen.exec is not None
    ]


def _assemble(
    candidate: Candidate,
    policy: Policy,
    episode: Episode,
    final: Final,
    key: str,
    val_share: float,
) -> Sample:
    members: dict[str, bytes] = {}
    media: list[MediaRecord] = []
    for medium in episode.media.values():
        record, stored = stored_form(medium)
        media.append(record)
        members |= stored
    task = candidate.task
    if task.answer_source == "tool":  # the answer comes from the calls
        task = msgspec.structs.replace(task, answer=final.answer)
    trajectory = Trajectory(
        schema_version=SCHEMA_VERSION,
        id=key,
        split=_split(media, val_share),
        task=task,
        media=media,
        steps=episode.steps,
        final=final,
        origin=policy.origin,
        fault=episode.fault,
        loss_mask=episode.loss_mask,
        source=candidate.source,
    )
    return Sample(trajectory, members)


def _split(media: Sequence[MediaRecord], val_share: float) -> str:
    """``val`` for ``val_share`` of the pictures, so that one picture is never in both."""
    roots = sorted(m.pixel_sha256 for m in media if m.parent is None)
    place = hashlib.sha256(canonical_json(["split", roots])).digest()
    return "val" if int.from_bytes(place[:8], "big") < val_share * 2**64 else "train"


def _reason(finding: Finding) -> ToolError:
    return tool_error(finding.code, finding.path, finding.expected, finding.got, finding.hint)
