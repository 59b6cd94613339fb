"""The manifest: a header line, a line per shard, and a summary line once the set is finished.

``manifest.jsonl`` is canonical JSON Lines. It is the only truth about what belongs to a dataset: a
file that no line names does not exist for any reader. Each shard line carries the hashes of the
files written with it; the summary carries the hash of all lines before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from pearl_data.trajectory import canonical_json
from pearl_tools.errors import BadInput
from pearl_tools.files import inside, read_regular
from pearl_tools.strict_json import decode_json
from pearl_tools.types import Count, Positive, Record, Sha256

MANIFEST = "manifest.jsonl"
#: The only key of the configuration that a later run may change: most samples to write, or null.
LIMIT = "limit"


class HeaderLine(Record, frozen=True, kw_only=True, tag="header", tag_field="kind"):
    """What the run was asked to do and with what; a resumed run must agree with all of it."""

    schema_version: Literal["2.0"]
    toolkit_version: str
    tools: dict[str, str]
    samples_per_shard: Positive
    config: dict[str, Any]
    config_sha256: Sha256


class ShardLine(
    Record, frozen=True, kw_only=True, tag="shard", tag_field="kind", omit_defaults=True
):
    """Blocks ``first_block`` up to ``next_block`` and the files that hold them, of one split.

    ``inputs = written + quarantined + duplicates``. Blocks without samples have no tar and no
    index: then ``name``, ``sha256``, ``index_sha256``, ``first_key`` and ``last_key`` are null.
    Each split has its own tar. Then the lines before the last have no block of
    their own (``first_block`` equals ``next_block``), and count only once the last one exists.
    """

    number: Count
    name: str | None
    sha256: Sha256 | None
    bytes: Count
    samples: Count
    first_key: str | None
    last_key: str | None
    first_block: Count
    next_block: Count
    inputs: Count
    quarantined: dict[str, Positive]
    duplicates: Count
    index_sha256: Sha256 | None
    quarantine_sha256: Sha256 | None
    duplicates_sha256: Sha256 | None
    split: str | None = None

    def files(self) -> dict[str, str]:
        """The files of this commit, relative to the dataset, with their sha256."""
        stem = f"{self.number:06d}"
        named = {
            self.name: self.sha256,
            f"index/{stem}.jsonl": self.index_sha256,
            f"quarantine/{stem}.jsonl": self.quarantine_sha256,
            f"duplicates/{stem}.jsonl": self.duplicates_sha256,
        }
        return {name: digest for name, digest in named.items() if name and digest}


class SummaryLine(
    Record, frozen=True, kw_only=True, tag="summary", tag_field="kind", omit_defaults=True
):
    """Totals of the run; ``inputs = written + quarantined + duplicates``.

    ``card_sha256`` is the hash of ``README.md``; sets of earlier versions have none.
    """

    inputs: Count
    written: Count
    quarantined: Count
    duplicates: Count
    quarantined_by_code: dict[str, Positive]
    shards: Count
    bytes: Count
    lines_sha256: Sha256
    card_sha256: Sha256 | None = None

    def __str__(self) -> str:
        return (
            f"{self.inputs} inputs = {self.written} written + {self.quarantined} quarantined "
            f"+ {self.duplicates} duplicates, in {self.shards} shards of {self.bytes} bytes"
        )


Line = HeaderLine | ShardLine | SummaryLine


class Unfinished(BadInput):
    """The run that writes a data set has not ended; the message says what to do."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest as read. ``torn`` is the unfinished last line of an interrupted run, if any."""

    header: HeaderLine
    shards: list[ShardLine]
    summary: SummaryLine | None
    torn: bytes = b""

    def require_finished(self, folder: Path) -> None:
        """Raise ``Unfinished`` with the progress if the run that writes the set has not ended."""
        if self.summary is None:
            raise Unfinished(
                f"{folder}: expected a finished data set, got {self.progress()}; run the command "
                "that writes it again (it resumes), or read its shards with --allow-unfinished"
            )

    def progress(self) -> str:
        """The progress of an unfinished run: ``68 of at most 123 trajectories in 2 shards``."""
        limit = self.header.config.get(LIMIT)
        most = f" of at most {limit}" if isinstance(limit, int) else ""
        written = sum(shard.samples for shard in self.shards)
        shards = sum(shard.name is not None for shard in self.shards)
        return f"an unfinished one: {written}{most} trajectories in {shards} shards"


def shard_name(number: int) -> str:
    """The name of a shard's tar, relative to the dataset."""
    return f"shards/{number:06d}.tar"


def config_sha256(config: dict[str, Any]) -> str:
    """The hash of a run's configuration: of its canonical JSON."""
    return hashlib.sha256(canonical_json(config)).hexdigest()


def encode_line(line: Line) -> bytes:
    """One manifest line with its newline."""
    return canonical_json(line) + b"\n"


def summarise(
    header: HeaderLine, shards: list[ShardLine], card_sha256: str | None = None
) -> SummaryLine:
    """The summary that belongs to these lines."""
    by_code: dict[str, int] = {}
    for shard in shards:
        for code, count in shard.quarantined.items():
            by_code[code] = by_code.get(code, 0) + count
    lines: list[Line] = [header, *shards]
    return SummaryLine(
        inputs=sum(shard.inputs for shard in shards),
        written=sum(shard.samples for shard in shards),
        quarantined=sum(by_code.values()),
        duplicates=sum(shard.duplicates for shard in shards),
        quarantined_by_code=by_code,
        shards=sum(shard.name is not None for shard in shards),
        bytes=sum(shard.bytes for shard in shards),
        lines_sha256=hashlib.sha256(b"".join(map(encode_line, lines))).hexdigest(),
        card_sha256=card_sha256,
    )


def read_manifest(folder: Path) -> Manifest:
    """The manifest of dataset ``folder``; raises ``BadInput`` naming the line that is wrong."""
    path = folder / MANIFEST
    *whole, torn = _read(folder).split(b"\n")
    return _ordered(list(_lines(whole, path)), torn, path)


def header_alone(folder: Path) -> Manifest:
    """The header of an altered manifest, without the shards: only the summary protects the other
    lines. Raises ``BadInput`` for an invalid header.
    """
    first, newline, _ = _read(folder).partition(b"\n")
    lines = list(_lines([first] if newline else [], folder / MANIFEST))
    return _ordered(lines, b"", folder / MANIFEST)


def _read(folder: Path) -> bytes:
    try:
        return read_regular(inside(folder, MANIFEST))
    except OSError as error:
        raise BadInput(f"{folder / MANIFEST}: cannot be read: {error.strerror}") from error


def _lines(texts: list[bytes], path: Path) -> Iterator[Line]:
    """The complete lines; raises ``BadInput`` at the first invalid one."""
    for number, text in enumerate(texts, 1):
        try:
            line: Line = decode_json(text, Line)
        except msgspec.DecodeError as error:
            raise BadInput(
                f"{path}, line {number}: expected a manifest line, got {error}"
            ) from error
        if encode_line(line) != text + b"\n":
            raise BadInput(f"{path}, line {number}: expected canonical JSON, got an altered line")
        yield line


def _ordered(lines: list[Line], torn: bytes, path: Path) -> Manifest:
    """The lines as a manifest, where their order and numbers are right."""
    summary = lines.pop() if lines and isinstance(lines[-1], SummaryLine) else None
    header = lines[0] if lines else None
    shards = [line for line in lines[1:] if isinstance(line, ShardLine)]
    if not isinstance(header, HeaderLine) or len(shards) != len(lines) - 1:
        raise BadInput(
            f"{path}: expected one header line, shard lines, then at most one summary line"
        )
    if header.config_sha256 != config_sha256(header.config):
        raise BadInput(f"{path}, line 1: expected config_sha256 to be that of its config")
    block = 0
    for number, shard in enumerate(shards):
        if shard.number != number or shard.first_block != block:
            raise BadInput(
                f"{path}, line {number + 2}: expected shard {number} from block {block}, "
                f"got shard {shard.number} from block {shard.first_block}"
            )
        if shard.name not in (None, shard_name(number)):
            raise BadInput(
                f"{path}, line {number + 2}: expected the name {shard_name(number)}, "
                f"got {shard.name!r}"
            )
        if shard.next_block < block:
            raise BadInput(f"{path}, line {number + 2}: expected blocks in order")
        block = shard.next_block
        if shard.inputs != shard.samples + sum(shard.quarantined.values()) + shard.duplicates:
            raise BadInput(
                f"{path}, line {number + 2}: expected inputs = written + quarantined + duplicates, "
                f"got {shard.inputs} = {shard.samples} + {sum(shard.quarantined.values())} + "
                f"{shard.duplicates}"
            )
    if isinstance(summary, SummaryLine) and summary != summarise(
        header, shards, summary.card_sha256
    ):
        raise BadInput(f"{path}: expected the summary to follow from the lines before it")
    return Manifest(
        header=header,
        shards=shards,
        summary=summary if isinstance(summary, SummaryLine) else None,
        torn=torn,
    )
