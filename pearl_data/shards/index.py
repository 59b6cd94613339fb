"""The offset index: for each sample of a shard its key, split, identity and members.

One canonical JSON line per sample. With it any sample is one seek away, a resumed run knows which
questions it has already written, and a flipped byte is traced to its member.
"""

from __future__ import annotations

from pearl_data.trajectory import canonical_json
from pearl_tools.strict_json import decode_json
from pearl_tools.types import Count, Record, Sha256


class MemberSlot(Record, frozen=True, kw_only=True, gc=False):
    """Where one member's data lies in the tar. ``sha256`` is null where an index was built by
    scanning a bare tar.
    """

    name: str
    offset: Count
    size: Count
    sha256: Sha256 | None = None


class IndexLine(Record, frozen=True, kw_only=True):
    """One sample: ``identity`` is :func:`pearl_data.trajectory.identity_sha256` of its record."""

    key: str
    split: str | None
    identity: Sha256 | None
    members: list[MemberSlot]


def encode_index(lines: list[IndexLine]) -> bytes:
    """The index file of one shard."""
    return b"".join(canonical_json(line) + b"\n" for line in lines)


def decode_index(data: bytes) -> list[IndexLine]:
    """The lines of one index file; raises ``msgspec.DecodeError`` where it is none."""
    return [decode_json(line, IndexLine) for line in data.splitlines()]
