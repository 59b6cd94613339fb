"""Reading samples: any one of them by number or key, or all in order, from mapped tars.

A dataset folder is read by its manifest and offset index, so a file that is not in the manifest
is never seen. A bare tar is scanned once for its members. Members are checked against the hashes
in the index as they are read; what does not match raises, it is never delivered.
Left out: decoding pictures (:mod:`pearl_tools.media`) and judging records
(:mod:`pearl_data.validate`).
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, overload

import msgspec

from pearl_data.findings import Finding
from pearl_data.shards.index import IndexLine, MemberSlot
from pearl_data.shards.manifest import Manifest, read_manifest
from pearl_data.shards.sample import RECORD_NAME, Sample
from pearl_data.shards.tar import field_of, key_of, open_buffer, scan
from pearl_data.shards.verify import verify_dataset, verify_index
from pearl_data.trajectory import Trajectory, decode
from pearl_tools.errors import BadInput


class Place(NamedTuple):
    """Where a sample lies: its tar, the tar's name in messages, and its index line."""

    path: Path
    shard: str
    line: IndexLine


class DatasetReader(Sequence[Sample]):
    """The samples of ``path``: a dataset folder, one tar, or a list of tars.

    ``reader[3]`` and ``reader.get(key)`` read one sample, iteration all of them in order.
    ``check`` compares every member with its hash in the index as it is read (1.7 GB/s here);
    turn it off after :meth:`verify`. Raises ``BadInput`` for what cannot be read, naming the
    shard and the key. Readers may be pickled and forked; each process maps the tars itself.
    """

    def __init__(self, path: Path | str | Sequence[Path | str], *, check: bool = True) -> None:
        self.check = check
        self.folder: Path | None = None
        self.manifest: Manifest | None = None
        self._maps: dict[Path, mmap.mmap] = {}
        named = [path] if isinstance(path, str | Path) else path
        if isinstance(path, str | Path) and Path(path).is_dir():
            self.folder = Path(path)
            self.manifest = read_manifest(self.folder)
            self.places = list(_from_manifest(self.folder, self.manifest))
        else:
            self.places = [place for tar in named for place in _from_tar(Path(tar))]
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
        place = self.places[index]
        members = self._members(place, place.line.members)
        return Sample(_decoded(place, members.pop(RECORD_NAME, None)), members)

    def record(self, index: int) -> Trajectory:
        """The record of one sample; nothing else of it is read."""
        place = self.places[index]
        slots = [slot for slot in place.line.members if slot.name == RECORD_NAME]
        return _decoded(place, self._members(place, slots).get(RECORD_NAME))

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
        return self._members(place, place.line.members)

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
        """Let go of the mapped files; reading again maps them again."""
        for mapped in self._maps.values():
            mapped.close()
        self._maps.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

    def _members(self, place: Place, slots: Sequence[MemberSlot]) -> dict[str, bytes]:
        mapped = self._maps.get(place.path)
        if mapped is None:
            try:
                with place.path.open("rb") as stream:
                    mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise BadInput(f"{place.path}: cannot be read: {error}") from error
            self._maps[place.path] = mapped
        members = {}
        for slot in slots:
            data = mapped[slot.offset : slot.offset + slot.size]
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


def _decoded(place: Place, text: bytes | None) -> Trajectory:
    if text is None:
        raise BadInput(f"{place.shard}, sample {place.line.key}: expected a .json member")
    try:
        return decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(
            f"{place.shard}, sample {place.line.key}: expected a trajectory, got {error}; "
            "run pearl-data validate"
        ) from error


def _from_manifest(folder: Path, manifest: Manifest) -> Iterator[Place]:
    for shard in manifest.shards:
        if shard.name is None:
            continue
        index = verify_index(folder, shard)
        if isinstance(index, Finding):
            raise BadInput(f"{folder}: {index}")
        path = folder / shard.name
        if not path.is_file() or path.stat().st_size != shard.bytes:
            raise BadInput(
                f"{path}: expected {shard.bytes} bytes, got "
                f"{path.stat().st_size if path.is_file() else 'no file'}; run pearl-data validate"
            )
        for line in index:
            yield Place(path, shard.name, line)


def _from_tar(path: Path) -> Iterator[Place]:
    """The samples of a bare tar: its members grouped by key, in order of appearance."""
    if path.suffix in {".gz", ".tgz"}:
        raise BadInput(f"{path}: expected a plain tar for random access; unpack it with gunzip")
    faults: list[Finding] = []
    slots: dict[str, list[MemberSlot]] = {}
    with open_buffer(path) as buffer:
        for member in scan(buffer, faults):
            slot = MemberSlot(name=field_of(member.name), offset=member.offset, size=member.size)
            slots.setdefault(key_of(member.name), []).append(slot)
    if faults:
        raise BadInput(f"{path}: {faults[0]}")
    for key, members in slots.items():
        line = IndexLine(key=key, split=None, identity=None, members=members)
        yield Place(path, str(path), line)
