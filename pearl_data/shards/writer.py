"""Writes a dataset: blocks, in input order, become shards. A shard is complete or absent.

The order of the blocks alone decides the shard of a sample, so any number of workers writes equal
bytes. A tar holds samples of one split, so that other loaders can tell the splits apart. A commit
writes, in this order: a tar for each split, its index, the quarantined and dropped inputs, the
timings, and last the manifest lines. Not here: computing blocks.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import weakref
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from pearl_data.shards.card import CARD, dataset_card
from pearl_data.shards.files import WholeFile, naming, write_whole
from pearl_data.shards.index import IndexLine, MemberSlot, encode_index
from pearl_data.shards.manifest import (
    MANIFEST,
    HeaderLine,
    ShardLine,
    SummaryLine,
    config_sha256,
    encode_line,
    shard_name,
    summarise,
)
from pearl_data.shards.resume import card_is_whole, index_lines, restore, with_card
from pearl_data.shards.sample import (
    BlockResult,
    CallTiming,
    Quarantined,
    Sample,
    sample_members,
)
from pearl_data.shards.sums import timings_name, write_sums
from pearl_data.shards.tar import END, header_bytes, padding
from pearl_data.trajectory import SCHEMA_VERSION, canonical_json, identity_sha256
from pearl_tools.errors import BadInput, ToolBug
from pearl_tools.types import Record


class Duplicate(Record, frozen=True, kw_only=True):
    """A sample that was not written because ``duplicate_of`` asks the same of the same pixels.

    ``answer`` is what it held to be right, which may be another answer than the one that is kept.
    """

    key: str
    identity: str
    duplicate_of: str
    answer: str


class _Tar:
    """The samples of one split since the last commit."""

    def __init__(self, path: Path, split: str) -> None:
        self.split, self.file = split, WholeFile(path)
        self.index: list[IndexLine] = []


class _Pending:
    """The samples since the last commit: a tar for every split that occurs."""

    def __init__(self, first_block: int) -> None:
        self.first_block = first_block
        self.inputs = self.samples = 0
        self.tars: dict[str, _Tar] = {}
        self.quarantined: list[Quarantined] = []
        self.duplicates: list[Duplicate] = []
        self.timings: list[CallTiming] = []


class DatasetWriter:
    """Writes one dataset folder; open it with :meth:`open`, end it with :meth:`close`.

    ``next_block`` is the first block still to be computed, ``summary`` is set once the
    dataset is finished, ``dropped`` lists the damaged or outdated parts that are written again.

    >>> with DatasetWriter.open(folder, {"seed": 0}) as writer:  # doctest: +SKIP
    ...     for index in range(writer.next_block, blocks):
    ...         writer.add_block(index, compute(index))
    ...     print(writer.close())
    """

    def __init__(self, out: Path, header: HeaderLine, lock: int) -> None:
        self.out, self.header = out, header
        self._shards, self.summary, self._sums, self.dropped = restore(out, header)
        self.next_block = self._shards[-1].next_block if self._shards else 0
        self._keys: set[str] = set()
        self._identities: dict[bytes, str] = {}
        self._fields: set[str] = set()
        self._splits = Counter[str]()
        if self.summary is None:
            for line in index_lines(out, self._shards):
                self._keys.add(line.key)
                self._identities[bytes.fromhex(line.identity or "")] = line.key
                self._note(line)
        elif not card_is_whole(out, self.summary):
            for line in index_lines(out, self._shards):
                self._note(line)
            self.summary = with_card(out, self.summary, header, self._shards, self._card())
            self.dropped.append(f"{CARD} was missing or altered")
        self._pending = _Pending(self.next_block)
        self._release = weakref.finalize(self, os.close, lock)

    @classmethod
    def open(
        cls,
        out: Path,
        config: dict[str, Any],
        *,
        samples_per_shard: int = 256,
        tools: dict[str, str] | None = None,
    ) -> DatasetWriter:
        """Create the dataset ``out``, or resume it.

        ``config`` holds all settings (JSON values) that affect the bytes: source, seed, tools. Its
        ``limit``, the most samples that the caller will add (null: all), may differ from that
        of the earlier run if the set has no more samples: it ends as if begun with this limit.
        ``tools`` maps tool names to versions, by default those of the registry. A shard is
        committed at the first block edge at which it has ``samples_per_shard`` samples. Raises
        ``BadInput`` if ``out`` holds other files or a dataset of another configuration (the
        differing keys are named), or while another process writes there.
        """
        if samples_per_shard < 1:
            raise BadInput(f"samples_per_shard: expected at least 1, got {samples_per_shard}")
        plain = msgspec.json.decode(canonical_json(config))
        header = HeaderLine(
            schema_version=SCHEMA_VERSION,
            toolkit_version=toolkit_version(),
            tools=_registered() if tools is None else tools,
            samples_per_shard=samples_per_shard,
            config=plain,
            config_sha256=config_sha256(plain),
        )
        out = Path(out)
        lock = _lock(out)
        try:
            return cls(out, header, lock)
        except BaseException:
            os.close(lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abandon()

    @property
    def written(self) -> int:
        """Samples written so far, committed or not."""
        return len(self._keys)

    def add_block(self, index: int, result: BlockResult) -> None:
        """Add block ``index``, which must be ``next_block``; commits a shard when it is full.

        Samples whose identity was written before are dropped and counted. Raises ``ToolBug``
        where the block comes out of order or its counts do not add up, ``BadInput`` for a sample
        that cannot be stored (see :func:`pearl_data.shards.sample.sample_members`).
        """
        if index != self.next_block or self.summary or not self._release.alive:
            state = "a finished dataset" if self.summary else f"block {self.next_block} next"
            raise ToolBug(f"{self.out}: got block {index}, expected {state}")
        if result.inputs != len(result.samples) + len(result.quarantined):
            raise ToolBug(
                f"block {index}: expected inputs = samples + quarantined, got {result.inputs} = "
                f"{len(result.samples)} + {len(result.quarantined)}"
            )
        for sample in result.samples:
            self._add(sample)
        pending = self._pending
        pending.inputs += result.inputs
        pending.quarantined += result.quarantined
        pending.timings += result.timings
        self.next_block += 1
        pending.samples = sum(len(tar.index) for tar in pending.tars.values())
        if pending.samples >= self.header.samples_per_shard:
            self._commit()

    def close(self) -> SummaryLine:
        """Commit the rest, write the card and the summary line, let go of the folder.

        Of a dataset that was finished before, the summary that it has.
        """
        if self.summary is None:
            if self._pending.inputs:
                self._commit()
            card_sha256 = write_whole(self.out / CARD, self._card())
            summary = summarise(self.header, self._shards, card_sha256)
            assert summary.inputs == summary.written + summary.quarantined + summary.duplicates
            write_sums(self.out, self._sums)
            self._append(summary)
            self.summary = summary
        self.abandon()
        return self.summary

    def abandon(self) -> None:
        """Release the folder and discard uncommitted samples; a later run resumes there."""
        for tar in self._pending.tars.values():
            tar.file.discard()
        self._release()

    def _add(self, sample: Sample) -> None:
        """Write ``sample`` into the pending shard, unless it is a duplicate."""
        trajectory, pending = sample.trajectory, self._pending
        key, identity = trajectory.id, identity_sha256(trajectory)
        first = self._identities.get(bytes.fromhex(identity))
        if first is not None:
            answer = trajectory.task.answer
            pending.duplicates.append(
                Duplicate(key=key, identity=identity, duplicate_of=first, answer=answer)
            )
            return
        if key in self._keys:
            raise BadInput(f"sample {key}: expected a key of its own, got one that is taken")
        members = sample_members(sample)
        self._keys.add(key)
        self._identities[bytes.fromhex(identity)] = key
        tar = pending.tars.get(trajectory.split)
        if tar is None:
            number = len(self._shards) + len(pending.tars)
            tar = pending.tars[trajectory.split] = _Tar(
                self.out / shard_name(number), trajectory.split
            )
        slots = []
        for name, data in members:
            tar.file.write(header_bytes(f"{key}.{name}", len(data)))
            offset = tar.file.size
            tar.file.write(data)
            tar.file.write(bytes(padding(len(data))))
            digest = hashlib.sha256(data).hexdigest()
            slots.append(MemberSlot(name=name, offset=offset, size=len(data), sha256=digest))
        line = IndexLine(key=key, split=trajectory.split, identity=identity, members=slots)
        tar.index.append(line)
        self._note(line)

    def _note(self, line: IndexLine) -> None:
        """Add one sample to the figures of the card."""
        self._splits[line.split or ""] += 1
        self._fields.update(slot.name for slot in line.members)

    def _card(self) -> bytes:
        return dataset_card(self.header, self._shards, self._fields, dict(self._splits))

    def _commit(self) -> None:
        """Make all pending data durable, the manifest lines last."""
        pending, first = self._pending, len(self._shards)
        lines = []
        tars: list[_Tar | None] = [*pending.tars.values()]
        for number, tar in enumerate(tars or [None], first):
            last = number == first + max(len(tars), 1) - 1
            lines.append(self._line(number, tar, last=last))
        number = lines[-1].number
        if timed := self._write_lines("timings", number, pending.timings):
            self._sums[timings_name(number)] = timed
            write_sums(self.out, self._sums)
        self._append(*lines)
        self._shards += lines
        self._pending = _Pending(self.next_block)

    def _line(self, number: int, tar: _Tar | None, *, last: bool) -> ShardLine:
        """Rename one tar; returns its line. The last line of a commit has the blocks."""
        pending, index = self._pending, tar.index if tar else []
        sha256 = None
        if tar:
            tar.file.write(END)
            sha256 = tar.file.commit()
        quarantined = pending.quarantined if last else []
        duplicates = pending.duplicates if last else []
        return ShardLine(
            number=number,
            name=shard_name(number) if tar else None,
            sha256=sha256,
            bytes=tar.file.size if tar else 0,
            samples=len(index),
            first_key=index[0].key if index else None,
            last_key=index[-1].key if index else None,
            first_block=pending.first_block,
            next_block=self.next_block if last else pending.first_block,
            inputs=len(index) + len(quarantined) + len(duplicates),
            quarantined=dict(Counter(each.reason.code for each in quarantined)),
            duplicates=len(duplicates),
            index_sha256=self._write("index", number, encode_index(index)),
            quarantine_sha256=self._write_lines("quarantine", number, quarantined),
            duplicates_sha256=self._write_lines("duplicates", number, duplicates),
            split=tar.split if tar else None,
        )

    def _write_lines(self, folder: str, number: int, records: list[Any]) -> str | None:
        return self._write(folder, number, b"".join(canonical_json(r) + b"\n" for r in records))

    def _write(self, folder: str, number: int, data: bytes) -> str | None:
        """Write ``data`` unless it is empty; its sha256."""
        if not data:
            return None
        (self.out / folder).mkdir(exist_ok=True)
        return write_whole(self.out / folder / f"{number:06d}.jsonl", data)

    def _append(self, *lines: ShardLine | SummaryLine) -> None:
        path = self.out / MANIFEST
        with path.open("ab", buffering=0) as stream:
            size = stream.seek(0, os.SEEK_END)
            try:
                with naming(path):
                    data = b"".join(map(encode_line, lines))
                    while data:  # an almost full disk may accept only a part
                        data = data[stream.write(data) :]
                    os.fsync(stream.fileno())
            except OSError:
                stream.truncate(size)  # remove the partial line
                raise


def toolkit_version() -> str:
    """The version of the installed toolkit, ``unknown`` when it runs uninstalled."""
    try:
        return version("pearl-toolkit")
    except PackageNotFoundError:
        return "unknown"


def _registered() -> dict[str, str]:
    from pearl_tools.registry import TOOLS

    return {name: tool.spec.version for name, tool in TOOLS.items()}


def _lock(out: Path) -> int:
    """An open handle of ``out`` that keeps other writers away while it is open."""
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: expected a new or empty folder, got a file")
    out.mkdir(parents=True, exist_ok=True)
    handle = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise BadInput(f"{out}: another process is writing there; wait for it") from error
    except OSError:
        pass  # some network file systems cannot lock; two writers there are the user's risk
    return handle
