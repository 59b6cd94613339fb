"""Stored samples as they lie in tars, with every fault of their packing; nothing is trusted.

A tar of a dataset is read by its index, so that samples behind a broken header are still judged;
a bare tar is scanned, and its members are grouped into samples by key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pearl_data.findings import Finding, finding
from pearl_data.shards.buffer import Buffer, open_buffer
from pearl_data.shards.index import IndexLine
from pearl_data.shards.sample import RECORD_NAME
from pearl_data.shards.tar import Member, field_of, key_of, scan


class Stored(NamedTuple):
    """One stored sample: its key and members, and the index line where there is one."""

    key: str
    members: dict[str, bytes]
    line: IndexLine | None = None


def read_indexed(path: Path, index: list[IndexLine]) -> Iterator[Stored]:
    """The samples of ``path`` by its index; truncated ones are skipped."""
    with open_buffer(path) as buffer:
        for line in index:
            ends = [slot.offset + slot.size for slot in line.members]
            if max(ends, default=0) > len(buffer):
                continue  # the shard's check has said that it is cut off
            members = {
                slot.name: bytes(buffer[slot.offset : slot.offset + slot.size])
                for slot in line.members
            }
            yield Stored(line.key, members, line)


def read_tar(path: Path, faults: list[Finding], junk: list[str]) -> Iterator[Stored]:
    """The samples of a bare tar in order; faults of the tar are added to ``faults``, names
    of files that are not members to ``junk``.
    """
    with open_buffer(path) as buffer:
        closed: set[str] = set()
        key, members = "", dict[str, bytes]()
        for member in scan(buffer, faults, junk):
            name, field = key_of(member.name), field_of(member.name)
            if name != key:
                if key:
                    yield from _finished(key, members, faults)
                    closed.add(key)
                key, members = name, {}
                if name in closed:
                    faults.append(_apart(member))
            if field in members:
                faults.append(_twice(member))
            elif field:
                members[field] = _data(buffer, member)
            else:
                faults.append(_no_key(member))
        if key:
            yield from _finished(key, members, faults)


def disagreements(path: Path, index: list[IndexLine]) -> Iterator[Finding]:
    """Members of the tar that the index does not give, and the other way round."""
    faults: list[Finding] = []
    with open_buffer(path) as buffer:
        there = Counter((m.name, m.offset, m.size) for m in scan(buffer, faults))
    given = Counter(
        (f"{line.key}.{slot.name}", slot.offset, slot.size)
        for line in index
        for slot in line.members
    )
    for name, offset, _ in sorted([*(there - given).elements(), *(given - there).elements()]):
        more = there[name, offset, _] > given[name, offset, _]
        where = "the tar but not the index" if more else "the index alone"
        yield finding(
            "parse.misplaced",
            "",
            "a tar and an index that agree",
            f"{name} in {where}",
            key=key_of(name),
            offset=offset,
        )


def _finished(key: str, members: dict[str, bytes], faults: list[Finding]) -> Iterator[Stored]:
    if RECORD_NAME in members:
        yield Stored(key, members)
        return
    dotted = next((name for name in members if name.endswith(".json")), None)
    hint = f"{key}.{dotted} is here: a key must not contain dots" if dotted else ""
    got = ", ".join(sorted(members)) or "nothing"
    faults.append(finding("parse.missing_member", "", f"the record {key}.json", got, hint, key=key))


def _data(buffer: Buffer, member: Member) -> bytes:
    return bytes(buffer[member.offset : member.offset + member.size])


def _apart(member: Member) -> Finding:
    return finding(
        "parse.misplaced",
        "",
        "the members of a sample side by side",
        f"{member.name} apart from the others",
        key=key_of(member.name),
        offset=member.header_offset,
    )


def _twice(member: Member) -> Finding:
    return finding(
        "reference.duplicate_id",
        "",
        "every member once",
        f"{member.name} again",
        "the first one was read",
        key=key_of(member.name),
        offset=member.header_offset,
    )


def _no_key(member: Member) -> Finding:
    return finding(
        "parse.misplaced", "", "a name like KEY.json or KEY.i0.jpg", member.name,
        offset=member.header_offset,
    )  # fmt: skip
