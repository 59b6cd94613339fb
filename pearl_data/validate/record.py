"""One record through all stages; with its stored bytes, one sample."""

from __future__ import annotations

from collections.abc import Mapping

from pearl_data.findings import Finding, finding
from pearl_data.shards.sample import RECORD_NAME, Sample
from pearl_data.trajectory import Trajectory
from pearl_data.validate.geometry import check_geometry
from pearl_data.validate.members import check_member_bytes
from pearl_data.validate.references import check_references
from pearl_data.validate.schema import read_record
from pearl_data.validate.semantics import check_semantics


def check_text(text: bytes) -> list[Finding]:
    """Every finding about the record in ``text``, without its members; empty where it is valid.

    >>> check_text(b"[]")[0].code
    'parse.not_an_object'
    """
    trajectory, findings = read_record(text)
    return findings if trajectory is None else check_trajectory(trajectory)


def check_trajectory(trajectory: Trajectory) -> list[Finding]:
    """Every finding of the stages behind the schema: reference, geometry, result, semantic."""
    media = {medium.id: medium for medium in trajectory.media}
    return [
        *check_references(trajectory, media),
        *check_geometry(trajectory, media),
        *check_semantics(trajectory, media),
    ]


def check_sample(sample: Sample, *, pixels: bool = True) -> list[Finding]:
    """Every finding about a sample: its record, and its stored bytes against the record.

    ``pixels=False`` leaves out decoding the stored views, for a caller that has just encoded them.
    """
    return [
        *check_trajectory(sample.trajectory),
        *check_member_bytes(sample.trajectory, sample.members, pixels=pixels),
    ]


def check_members(
    members: Mapping[str, bytes], *, pixels: bool = True
) -> tuple[Trajectory | None, list[Finding]]:
    """The record of a stored sample, given its members (``json`` included), and findings."""
    if RECORD_NAME not in members:
        got = ", ".join(sorted(members)) or "nothing"
        return None, [finding("parse.missing_member", "", f"the record, {RECORD_NAME}", got)]
    trajectory, findings = read_record(members[RECORD_NAME])
    if trajectory is None:
        return None, findings
    others = {name: data for name, data in members.items() if name != RECORD_NAME}
    return trajectory, check_sample(Sample(trajectory, others), pixels=pixels)
