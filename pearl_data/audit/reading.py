"""Reads trajectories from dataset folders, tar shards, ``.json`` and ``.jsonl`` files.

Every record becomes one :class:`Entry`: read, or unreadable with its reason. Nothing is dropped
silently. Not here: checks of the records (:mod:`pearl_data.validate`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from pearl_data.findings import Finding, finding
from pearl_data.shards.manifest import ShardLine, read_manifest
from pearl_data.shards.reader import MemberReader, Place, shard_places, tar_places
from pearl_data.shards.records import (
    Document,
    Kind,
    junk_note,
    kind_of,
    members_beside,
    read_documents,
    tars_in,
    unfinished_around,
)
from pearl_data.shards.sample import MEMBER_NAME, RECORD_NAME, CallTiming, Quarantined, Sample
from pearl_data.shards.sums import timings_name
from pearl_data.trajectory import decode
from pearl_tools.errors import BadInput
from pearl_tools.files import inside, open_regular
from pearl_tools.strict_json import decode_error, decode_json


class Entry(NamedTuple):
    """One record found: ``sample``, or ``fault`` where it could not be read."""

    sample: Sample | None
    fault: Finding | None


class Part(NamedTuple):
    """A part of a collection that fits in memory: records, quarantine entries, timings."""

    entries: Iterator[Entry]
    quarantined: Iterator[Quarantined | Finding]
    timings: dict[tuple[str, str], CallTiming]


class Collection(Protocol):
    """The interface to trajectories in any storage, for ``audit`` and ``show``.

    ``notes`` lists files that were skipped without being errors, such as dot files.
    """

    notes: list[str]

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
        """The quarantine entries; a Finding for a line that cannot be read."""

    def parts(self, unreadable: list[Finding]) -> Iterator[Part]:
        """All records, part by part; lines of timings that cannot be read are appended to
        ``unreadable``.
        """


def open_collection(path: Path, *, allow_unfinished: bool = False) -> Collection:
    """The trajectories at ``path``.

    Raises ``UsageError`` for a path of another kind, ``BadInput`` for a broken dataset, and
    for one whose run has not ended unless ``allow_unfinished``.
    """
    kind = kind_of(path)
    if kind in ("json", "jsonl"):
        return _JsonFile(path, kind)
    if kind == "dataset":
        return _Dataset(path, allow_unfinished=allow_unfinished)
    if kind == "tar":
        return _Tars([path])
    if not allow_unfinished and (manifest := unfinished_around(path)):
        manifest.require_finished(path.parent)
    return _Tars(tars_in(path))


class _Shards:
    """Samples in tars; only the index of one tar is in memory."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._members = MemberReader(check=True)
        self._loaded: tuple[int, list[Place]] = (-1, [])
        self._counts: dict[int, int] = {}

    def _load(self, number: int) -> list[Place]:
        raise NotImplementedError

    def _tars(self) -> int:
        """The number of tars."""
        raise NotImplementedError

    def _places(self, number: int) -> list[Place]:
        if self._loaded[0] != number:
            self._members.close()
            self._loaded = (number, self._load(number))
            self._counts[number] = len(self._loaded[1])
        return self._loaded[1]

    def _count(self, number: int) -> int:
        if number not in self._counts:
            self._places(number)
        return self._counts[number]

    def _all(self) -> Iterator[Place]:
        return (place for number in range(self._tars()) for place in self._places(number))

    def _entry(self, place: Place) -> Entry:
        try:
            return Entry(self._members.sample(place), None)
        except BadInput as error:
            return Entry(None, _unreadable(error, place))

    def entries(self) -> Iterator[Entry]:
        return map(self._entry, self._all())

    def __len__(self) -> int:
        return sum(map(self._count, range(self._tars())))

    def entry(self, position: int) -> Entry:
        for number in range(self._tars()):
            if position < self._count(number):
                return self._entry(self._places(number)[position])
            position -= self._count(number)
        raise IndexError(position)

    def keys(self) -> list[str]:
        return [place.line.key for place in self._all()]

    def sample(self, key: str) -> Sample:
        for place in self._all():
            if place.line.key == key:
                return self._members.sample(place)
        raise KeyError(key)


class _Tars(_Shards):
    """Bare tars, plain or gz."""

    def __init__(self, tars: Sequence[Path]) -> None:
        super().__init__()
        self._paths = tars
        self._told: set[Path] = set()

    def _tars(self) -> int:
        return len(self._paths)

    def _load(self, number: int) -> list[Place]:
        path, junk = self._paths[number], list[str]()
        places = tar_places(path, junk)
        if junk and path not in self._told:
            self._told.add(path)
            self.notes.append(junk_note(path, junk))
        return places

    def quarantined(self) -> Iterator[Quarantined | Finding]:
        return iter(())

    def parts(self, unreadable: list[Finding]) -> Iterator[Part]:
        for number in range(self._tars()):
            yield Part(map(self._entry, self._places(number)), iter(()), {})


class _Dataset(_Shards):
    """A dataset folder: only what its manifest names."""

    def __init__(self, path: Path, *, allow_unfinished: bool) -> None:
        super().__init__()
        self.path = path
        manifest = read_manifest(path)
        if not allow_unfinished:
            manifest.require_finished(path)
        self._lines = manifest.shards
        self._counts = {number: line.samples for number, line in enumerate(self._lines)}

    def _tars(self) -> int:
        return len(self._lines)

    def _load(self, number: int) -> list[Place]:
        return shard_places(self.path, self._lines[number])

    def quarantined(self) -> Iterator[Quarantined | Finding]:
        return (one for line in self._lines for one in self._quarantined(line))

    def parts(self, unreadable: list[Finding]) -> Iterator[Part]:
        first = 0
        for last, line in enumerate(self._lines):
            if line.first_block == line.next_block and last + 1 < len(self._lines):
                continue  # the last tar of a commit has the timings of all
            numbers, first = range(first, last + 1), last + 1
            places = (place for number in numbers for place in self._places(number))
            timings = self._timings(line, unreadable)
            yield Part(map(self._entry, places), self._quarantined(line), timings)

    def _quarantined(self, line: ShardLine) -> Iterator[Quarantined | Finding]:
        if not line.quarantined:
            return
        for where, text in self._side_lines(f"quarantine/{line.number:06d}.jsonl"):
            try:
                yield decode_json(text, Quarantined)
            except msgspec.DecodeError as error:
                yield _undecodable(error, where, expected="a line of the quarantine")

    def _timings(
        self, line: ShardLine, unreadable: list[Finding]
    ) -> dict[tuple[str, str], CallTiming]:
        found: dict[tuple[str, str], CallTiming] = {}
        for where, text in self._side_lines(timings_name(line.number)):
            try:
                timing = decode_json(text, CallTiming)
            except msgspec.DecodeError as error:
                unreadable.append(_undecodable(error, where, expected="a line of timings"))
            else:
                found[timing.key, timing.call_id] = timing
        return found

    def _side_lines(self, name: str) -> Iterator[tuple[Path, bytes]]:
        """The lines of an optional file; empty if it does not exist."""
        try:
            with open_regular(inside(self.path, name)) as stream:
                yield from ((self.path / name, line) for line in stream if line.strip())
        except FileNotFoundError:
            return


class _JsonFile:
    """A ``.json`` file with one trajectory or a list, or a ``.jsonl`` file with one per line, and
    the pictures beside it.
    """

    def __init__(self, path: Path, kind: Kind) -> None:
        self.path, self._kind = path, kind
        self.notes: list[str] = []

    def entries(self) -> Iterator[Entry]:
        return map(self._entry, read_documents(self.path, self._kind))

    def __len__(self) -> int:
        return sum(1 for _ in read_documents(self.path, self._kind))

    def entry(self, position: int) -> Entry:
        return self._entry(next(islice(read_documents(self.path, self._kind), position, None)))

    def _entry(self, document: Document) -> Entry:
        place, text, _ = document
        try:
            trajectory = decode(text)
        except msgspec.DecodeError as error:
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

    def parts(self, unreadable: list[Finding]) -> Iterator[Part]:
        yield Part(self.entries(), iter(()), {})


def safe_members(sample: Sample) -> dict[str, bytes]:
    """The members whose names are safe to use as file names."""
    return {name: data for name, data in sample.members.items() if MEMBER_NAME.fullmatch(name)}


def _unreadable(error: BadInput, place: Place) -> Finding:
    """Why one sample of a shard could not be read, under the code that fits."""
    if isinstance(error.__cause__, msgspec.DecodeError):
        return _undecodable(error.__cause__, place.shard, place.line.key)
    whole = any(slot.name == RECORD_NAME for slot in place.line.members)
    code = "parse.checksum" if whole else "parse.missing_member"
    expected = "a sample that reads as it was written" if whole else "a member .json"
    return finding(code, "", expected, str(error), file=place.shard, key=place.line.key)


def _undecodable(
    error: msgspec.DecodeError,
    file: Path | str,
    key: str = "",
    path: str = "",
    *,
    expected: str = "a trajectory",
) -> Finding:
    """Why a text is no record, under the code that fits the decoder's message."""
    fault = decode_error(error, path, expected)
    return finding(fault.code, fault.path, expected, fault.got, file=str(file), key=key)
