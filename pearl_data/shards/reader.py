"""Reads samples by number or key, or all in order.

A dataset folder is read by its manifest and offset index, so files that are not in the manifest, or
lie outside the folder, are never read; a set whose run has not ended is an error. A bare tar is
scanned once for its members. Members are checked against the hashes in the index as they are read;
a mismatch raises. Not here: decoding pictures (:mod:`pearl_tools.media`) and checking records
(:mod:`pearl_data.validate`).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, overload

import msgspec

from pearl_data.findings import Finding
from pearl_data.shards.buffer import FileBuffer, open_buffer, open_file
from pearl_data.shards.index import IndexLine, MemberSlot
from pearl_data.shards.manifest import Manifest, ShardLine, read_manifest
from pearl_data.shards.sample import RECORD_NAME, Sample
from pearl_data.shards.tar import field_of, key_of, scan
from pearl_data.shards.verify import verify_dataset, verify_index
from pearl_data.trajectory import Trajectory, decode
from pearl_tools.errors import BadInput
from pearl_tools.files import inside

#: Most tars open at a time; a set may have more than a process may open.
_OPEN = 32


class Place(NamedTuple):
    """Where a sample lies: its tar, the tar's name in messages, and its index line."""

    path: Path
    shard: str
    line: IndexLine


class DatasetReader(Sequence[Sample]):
    """The samples of ``path``: a dataset folder, one tar, or a list of tars.

    ``reader[3]`` and ``reader.get(key)`` read one sample, iteration all of them in order.
    ``check`` compares every member with its hash in the index as it is read (1.7 GB/s here);
    turn it off after :meth:`verify`. Raises ``BadInput`` for an unreadable sample, naming the
    shard and the key, and for a dataset whose run has not ended, unless ``allow_unfinished``.
    Readers may be pickled and forked; each process opens the tars itself.
    """

    def __init__(
        self,
        path: Path | str | Sequence[Path | str],
        *,
        check: bool = True,
        allow_unfinished: bool = False,
    ) -> None:
        self.folder: Path | None = None
        self.manifest: Manifest | None = None
        self._members = MemberReader(check=check)
        named = [path] if isinstance(path, str | Path) else path
        if isinstance(path, str | Path) and Path(path).is_dir():
            self.folder = Path(path)
            self.manifest = read_manifest(self.folder)
            if not allow_unfinished:
                self.manifest.require_finished(self.folder)
            shards = self.manifest.shards
            self.places = [p for shard in shards for p in shard_places(self.folder, shard)]
        else:
            self.places = [place for tar in named for place in _plain_places(Path(tar))]
        self._by_key = {place.line.key: number for number, place in enumerate(self.places)}
        if len(self._by_key) != len(self.places):
            where = ", ".join(map(str, named))
            raise BadInput(f"{where}: expected every key once; validate names the one that is not")

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return self._members.sample(self.places[index])

    def record(self, index: int) -> Trajectory:
        """The record of one sample; nothing else of it is read."""
        return self._members.record(self.places[index])

    def __iter__(self) -> Iterator[Sample]:
        for number in range(len(self)):
            yield self[number]

    def get(self, key: str) -> Sample:
        """The sample ``key``; raises ``KeyError`` where there is none."""
        return self[self._by_key[key]]

    def keys(self, split: str | None = None) -> list[str]:
        """All keys in order, or those of one split."""
        return [p.line.key for p in self.places if split is None or p.line.split == split]

    def members(self, index: int) -> dict[str, bytes]:
        """All members of one sample by name, the record (``json``) as bytes among them."""
        place = self.places[index]
        return self._members.read(place, place.line.members)

    def verify(self) -> list[Finding]:
        """Every fault in the dataset's bytes: empty where all is whole. A bare tar is scanned."""
        if self.folder and self.manifest:
            return list(verify_dataset(self.folder, self.manifest))
        found: list[Finding] = []
        for path in dict.fromkeys(place.path for place in self.places):
            faults: list[Finding] = []
            with open_buffer(path) as buffer:
                list(scan(buffer, faults))
            found += [fault.at(str(path)) for fault in faults]
        return found

    def close(self) -> None:
        """Close the open files; the next read reopens them."""
        self._members.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class MemberReader:
    """Reads members at their offsets, with a few tars open at a time; caches no bytes."""

    def __init__(self, *, check: bool) -> None:
        self.check = check
        self._open: OrderedDict[Path, FileBuffer] = OrderedDict()

    def sample(self, place: Place) -> Sample:
        """The sample at ``place``; raises ``BadInput`` naming shard and key."""
        members = self.read(place, place.line.members)
        return Sample(_decoded(place, members.pop(RECORD_NAME, None)), members)

    def record(self, place: Place) -> Trajectory:
        """The record at ``place``; nothing else of the sample is read."""
        slots = [slot for slot in place.line.members if slot.name == RECORD_NAME]
        return _decoded(place, self.read(place, slots).get(RECORD_NAME))

    def read(self, place: Place, slots: Iterable[MemberSlot]) -> dict[str, bytes]:
        """The members in ``slots`` by name, of the slots' lengths; checks hashes if asked."""
        buffer = self._buffer(place.path)
        members = {}
        for slot in slots:
            data = buffer[slot.offset : slot.offset + slot.size]
            if len(data) != slot.size:
                raise BadInput(
                    f"{place.shard}, sample {place.line.key}: expected {slot.size} bytes of "
                    f"{slot.name} at byte {slot.offset}, got {len(data)}: the file is cut off"
                )
            if self.check and slot.sha256 and hashlib.sha256(data).hexdigest() != slot.sha256:
                raise BadInput(
                    f"{place.shard}, sample {place.line.key}: expected {slot.name} (byte "
                    f"{slot.offset}) as it was written, got other bytes; run pearl-data validate"
                )
            members[slot.name] = data
        return members

    def close(self) -> None:
        """Close the open files."""
        while self._open:
            self._open.popitem()[1].close()

    def __getstate__(self) -> dict[str, Any]:
        return {"check": self.check, "_open": OrderedDict()}

    def _buffer(self, path: Path) -> FileBuffer:
        buffer = self._open.get(path)
        if buffer is None:
            while len(self._open) >= _OPEN:
                self._open.popitem(last=False)[1].close()
            buffer = self._open[path] = open_file(path)
        self._open.move_to_end(path)
        return buffer


def _decoded(place: Place, text: bytes | None) -> Trajectory:
    if text is None:
        raise BadInput(f"{place.shard}, sample {place.line.key}: expected a .json member")
    try:
        return decode(text)
    except msgspec.DecodeError as error:
        raise BadInput(
            f"{place.shard}, sample {place.line.key}: expected a trajectory, got {error}; "
            "run pearl-data validate"
        ) from error


def shard_places(folder: Path, shard: ShardLine) -> list[Place]:
    """The samples of one shard of dataset ``folder``; raises ``BadInput`` for a broken one."""
    if shard.name is None:
        return []
    index = verify_index(folder, shard)
    if isinstance(index, Finding):
        raise BadInput(f"{folder}: {index}")
    path = inside(folder, shard.name)
    if not path.is_file() or path.stat().st_size != shard.bytes:
        raise BadInput(
            f"{path}: expected {shard.bytes} bytes, got "
            f"{path.stat().st_size if path.is_file() else 'no file'}; run pearl-data validate"
        )
    return [Place(path, shard.name, line) for line in index]


def tar_places(path: Path, junk: list[str] | None = None) -> list[Place]:
    """The samples of a bare tar: its members grouped by key, in order of appearance. Names of files
    that are not members are added to ``junk``; raises ``BadInput`` for an unreadable tar.
    """
    faults: list[Finding] = []
    slots: dict[str, list[MemberSlot]] = {}
    with open_buffer(path) as buffer:
        for member in scan(buffer, faults, junk):
            slot = MemberSlot(name=field_of(member.name), offset=member.offset, size=member.size)
            slots.setdefault(key_of(member.name), []).append(slot)
    if faults:
        raise BadInput(f"{path}: {faults[0]}")
    return [
        Place(path, str(path), IndexLine(key=key, split=None, identity=None, members=members))
        for key, members in slots.items()
    ]


def _plain_places(path: Path) -> list[Place]:
    if path.suffix in {".gz", ".tgz"}:
        raise BadInput(f"{path}: expected a plain tar for random access; unpack it with gunzip")
    return tar_places(path)
