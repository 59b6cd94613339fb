"""Trajectories from wherever they lie: dataset folders, tar shards, ``.json`` and ``.jsonl`` files.

Every record found comes out as one :class:`Entry`: read, or unreadable with its reason. Nothing is
dropped in silence. Left out: checking what the records say (:mod:`pearl_data.validate`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from pearl_data.findings import Finding, finding
from pearl_data.shards.reader import DatasetReader, Place
from pearl_data.shards.records import (
    Kind,
    kind_of,
    members_beside,
    read_documents,
    tars_in,
)
from pearl_data.shards.sample import MEMBER_NAME, RECORD_NAME, CallTiming, Quarantined, Sample
from pearl_data.trajectory import decode
from pearl_tools.errors import BadInput
from pearl_tools.strict_json import decode_error


class Entry(NamedTuple):
    """One record found: ``sample``, or ``fault`` where it could not be read."""

    sample: Sample | None
    fault: Finding | None


class Collection(Protocol):
    """What an audit or a look at one sample needs, wherever the trajectories lie."""

    def entries(self) -> Iterator[Entry]:
        """Every record in order, readable or not."""

    def __len__(self) -> int:
        """How many records there are, readable or not."""

    def entry(self, position: int) -> Entry:
        """The record at a position from 0, readable or not."""

    def keys(self) -> list[str]:
        """The keys of the readable records, in order."""

    def sample(self, key: str) -> Sample:
        """The sample ``key``; raises ``KeyError`` where there is none."""

    def quarantined(self) -> Iterator[Quarantined | Finding]:
        """What was kept out, with its reason; a Finding for a line that cannot be read."""

    def timings(self, unreadable: list[Finding]) -> dict[tuple[str, str], CallTiming]:
        """``{(key, call id): timing}``, where the run kept them; lines that cannot be read go to
        ``unreadable``.
        """


def open_collection(path: Path) -> Collection:
    """The trajectories at ``path``.

    Raises ``UsageError`` for a kind of path that holds none, ``BadInput`` for a broken dataset.
    """
    kind = kind_of(path)
    if kind in ("json", "jsonl"):
        return _JsonFile(path, kind)
    return _Shards(path, kind)


class _Shards:
    """A dataset folder, a folder of tars, or one tar."""

    def __init__(self, path: Path, kind: Kind) -> None:
        self.path = path
        self.reader = DatasetReader(tars_in(path) if kind == "tars" else path)

    def entries(self) -> Iterator[Entry]:
        return map(self.entry, range(len(self)))

    def __len__(self) -> int:
        return len(self.reader.places)

    def entry(self, position: int) -> Entry:
        try:
            return Entry(self.reader[position], None)
        except BadInput as error:
            return Entry(None, _unreadable(error, self.reader.places[position]))

    def keys(self) -> list[str]:
        return self.reader.keys()

    def sample(self, key: str) -> Sample:
        return self.reader.get(key)

    def quarantined(self) -> Iterator[Quarantined | Finding]:
        for where, line in _side_lines(self.path, "quarantine"):
            try:
                yield msgspec.json.decode(line, type=Quarantined)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                yield _undecodable(error, where, expected="a line of the quarantine")

    def timings(self, unreadable: list[Finding]) -> dict[tuple[str, str], CallTiming]:
        found: dict[tuple[str, str], CallTiming] = {}
        for where, line in _side_lines(self.path, "timings"):
            try:
                timing = msgspec.json.decode(line, type=CallTiming)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                unreadable.append(_undecodable(error, where, expected="a line of timings"))
            else:
                found[timing.key, timing.call_id] = timing
        return found


class _JsonFile:
    """A ``.json`` file with one trajectory or a list, or a ``.jsonl`` file with one per line, and
    the pictures beside it.
    """

    def __init__(self, path: Path, kind: Kind) -> None:
        self.path = path
        self._documents = list(read_documents(path, kind))

    def entries(self) -> Iterator[Entry]:
        return map(self.entry, range(len(self)))

    def __len__(self) -> int:
        return len(self._documents)

    def entry(self, position: int) -> Entry:
        place, text, _ = self._documents[position]
        try:
            trajectory = decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Entry(None, _undecodable(error, self.path, path=place))
        return Entry(Sample(trajectory, members_beside(self.path, trajectory)), None)

    def keys(self) -> list[str]:
        return [entry.sample.trajectory.id for entry in self.entries() if entry.sample]

    def sample(self, key: str) -> Sample:
        for entry in self.entries():
            if entry.sample and entry.sample.trajectory.id == key:
                return entry.sample
        raise KeyError(key)

    def quarantined(self) -> Iterator[Quarantined | Finding]:
        return iter(())

    def timings(self, unreadable: list[Finding]) -> dict[tuple[str, str], CallTiming]:
        return {}


def safe_members(sample: Sample) -> dict[str, bytes]:
    """The members whose names are safe to use as file names."""
    return {name: data for name, data in sample.members.items() if MEMBER_NAME.fullmatch(name)}


def _side_lines(folder: Path, name: str) -> Iterator[tuple[Path, bytes]]:
    for file in sorted((folder / name).glob("*.jsonl")):
        for line in file.read_bytes().splitlines():
            if line.strip():
                yield file, line


def _unreadable(error: BadInput, place: Place) -> Finding:
    """Why one sample of a shard could not be read, under the code that fits."""
    if isinstance(error.__cause__, msgspec.DecodeError | UnicodeDecodeError | RecursionError):
        return _undecodable(error.__cause__, place.shard, place.line.key)
    whole = any(slot.name == RECORD_NAME for slot in place.line.members)
    code = "parse.checksum" if whole else "parse.missing_member"
    expected = "a sample that reads as it was written" if whole else "a member .json"
    return finding(code, "", expected, str(error), file=place.shard, key=place.line.key)


def _undecodable(
    error: Exception,
    file: Path | str,
    key: str = "",
    path: str = "",
    *,
    expected: str = "a trajectory",
) -> Finding:
    """Why a text is no record, under the code that fits the decoder's message."""
    if not isinstance(error, msgspec.DecodeError):
        return finding("parse.not_json", path, expected, str(error), file=str(file), key=key)
    fault = decode_error(error, path, expected)
    return finding(fault.code, fault.path, expected, fault.got, file=str(file), key=key)
