"""What goes into shards: a sample with its members, and the result of one block of inputs.

A *block* is a fixed slice of the input order, computed by any worker. A *member* is one file of a
sample in the tar, named ``{key}.{name}``; the sample's record is the member ``{key}.json``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from pearl_data.trajectory import Trajectory, canonical_json
from pearl_tools.errors import BadInput, ToolError
from pearl_tools.types import Positive, Record

RECORD_NAME = "json"
#: ``i0.jpg``, ``o2.npy``: a medium id and a suffix, lower case, for readers that fold case.
MEMBER_NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z0-9]+")


class Sample(NamedTuple):
    """A trajectory and its members by name (``i0.jpg`` -> bytes), the record itself not among
    them.
    """

    trajectory: Trajectory
    members: dict[str, bytes]


class Quarantined(Record, frozen=True, kw_only=True):
    """One input that was not written, why, and what it was (trajectory or question as JSON)."""

    key: str
    reason: ToolError
    record: dict[str, Any] | None = None


class CallTiming(Record, frozen=True, kw_only=True):
    """Facts of one run about one call; kept beside the shards and never hashed."""

    key: str
    call_id: str
    tool: str
    cache: Literal["hit", "miss"] | None
    attempts: Positive
    duration_ms: Annotated[float, msgspec.Meta(ge=0)]


class BlockResult(NamedTuple):
    """What became of one block: ``inputs`` is the number of samples plus quarantined."""

    inputs: int
    samples: list[Sample]
    quarantined: list[Quarantined]
    timings: list[CallTiming]


def sample_members(sample: Sample) -> list[tuple[str, bytes]]:
    """All members of ``sample`` with the record, as they lie in the tar: sorted by name.

    Raises ``BadInput`` where the record and the members do not belong together: a member that no
    medium names or a named one that is missing, a name that other readers would misread, or facts
    of one run (durations, cache hits) in the record, which would make equal work unequal bytes.
    """
    trajectory, members = sample
    key = trajectory.id
    named = {
        name
        for medium in trajectory.media
        for name in (medium.name_in_sample, medium.picture_in_sample)
        if name
    }
    if named != members.keys():
        missing, extra = sorted(named - members.keys()), sorted(members.keys() - named)
        raise BadInput(
            f"sample {key}: expected exactly the members that its media name, "
            f"got missing {missing}, unnamed {extra}"
        )
    for name in members:
        if not MEMBER_NAME.fullmatch(name):
            raise BadInput(f"sample {key}: expected a member name like i0.jpg, got {name!r}")
    for step in trajectory.steps:
        for call in step.calls:
            ran = call.exec
            if ran and (ran.cache, ran.attempts, ran.duration_ms) != (None, None, None):
                raise BadInput(
                    f"sample {key}, call {call.id}: expected null cache, attempts and duration_ms "
                    "in a stored record, got values; they belong into BlockResult.timings"
                )
    return sorted([*members.items(), (RECORD_NAME, canonical_json(trajectory))])
