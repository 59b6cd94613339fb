"""Finding every altered or missing byte of a dataset, and naming the sample that it hits.

A shard's sha256 says that it is whole. Where it is not, every one of its bytes is accounted for:
headers are rebuilt from the index and compared, data is hashed member by member, padding and end
must be zeros. So a fault names the file, the byte and the key, never only the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pearl_data.findings import Finding, finding
from pearl_data.shards.buffer import Buffer, open_buffer
from pearl_data.shards.card import CARD
from pearl_data.shards.files import file_sha256
from pearl_data.shards.index import IndexLine, decode_index
from pearl_data.shards.manifest import MANIFEST, Manifest, ShardLine
from pearl_data.shards.records import is_tar
from pearl_data.shards.sums import verify_sums
from pearl_data.shards.tar import BLOCK, END, header_bytes, padding
from pearl_tools.errors import BadInput
from pearl_tools.files import inside, open_regular, read_regular
from pearl_tools.strict_json import decode_error

_AGAIN = "fetch the file again, or run the command that wrote it: it writes what is broken again"


def verify_dataset(
    folder: Path, manifest: Manifest, *, allow_unfinished: bool = False
) -> Iterator[Finding]:
    """Every fault in the bytes of dataset ``folder``; empty if it is sound. A run that has not
    ended is a fault, unless ``allow_unfinished``.
    """
    if not allow_unfinished:
        yield from unfinished(manifest)
    yield from _unnamed(folder, manifest)
    for shard in manifest.shards:
        index = verify_index(folder, shard)
        for name, digest in shard.files().items():
            if name != shard.name and not name.startswith("index/"):
                yield from _file(folder, name, digest)
        if isinstance(index, Finding):
            yield index
        if shard.name and shard.sha256:
            yield from verify_shard(folder, shard, [] if isinstance(index, Finding) else index)
    if manifest.summary and manifest.summary.card_sha256:
        yield from _file(folder, CARD, manifest.summary.card_sha256)
    yield from verify_sums(folder, manifest)


def unfinished(manifest: Manifest) -> Iterator[Finding]:
    """What shows that the dataset is not a finished one."""
    if manifest.torn:
        yield finding(
            "parse.truncated", "", "whole lines", "a last line that was not finished",
            "run the command that writes it again: it resumes", file=MANIFEST,
        )  # fmt: skip
    if manifest.summary is None:
        yield finding(
            "semantic.identity", "", "a summary line, the last of a finished run",
            manifest.progress(), "run the command that writes it again: it resumes", file=MANIFEST,
        )  # fmt: skip


def _unnamed(folder: Path, manifest: Manifest) -> Iterator[Finding]:
    """Tars that the manifest does not name, but other loaders may read."""
    named = {shard.name for shard in manifest.shards}
    shards = folder / "shards"
    for path in sorted(shards.iterdir()) if shards.is_dir() and manifest.summary else ():
        name = path.relative_to(folder).as_posix()
        if name not in named and is_tar(path):
            yield finding(
                "parse.misplaced", "", "only shards that the manifest names", "another tar",
                "our readers do not see it, other loaders may; remove it", file=name,
            )  # fmt: skip


def _file(folder: Path, name: str, sha256: str) -> Iterator[Finding]:
    """The fault of one file that should have this hash, or None."""
    try:
        if file_sha256(inside(folder, name)) != sha256:
            yield _altered(name, sha256)
    except BadInput:
        yield _outside(name)
    except OSError as error:
        yield _missing(name, error)


def verify_index(folder: Path, shard: ShardLine) -> list[IndexLine] | Finding:
    """The index of ``shard``, or what is wrong with it."""
    if shard.index_sha256 is None:
        return []
    name = f"index/{shard.number:06d}.jsonl"
    try:
        data = read_regular(inside(folder, name))
    except OSError as error:
        return _missing(name, error)
    except BadInput:
        return _outside(name)
    if hashlib.sha256(data).hexdigest() != shard.index_sha256:
        return _altered(name, shard.index_sha256)
    try:
        lines = decode_index(data)
    except msgspec.DecodeError as error:
        fault = decode_error(error, "", "index lines")
        return finding(fault.code, "", fault.expected, fault.got, file=name)
    keys = [line.key for line in lines]
    ends = (keys[0], keys[-1]) if keys else (None, None)
    if len(lines) != shard.samples or ends != (shard.first_key, shard.last_key):
        expected = f"{shard.samples} samples from {shard.first_key} to {shard.last_key}"
        return finding(
            "semantic.identity", "", expected, f"{len(keys)} from {ends[0]} to {ends[1]}", file=name
        )
    return lines


def verify_shard(folder: Path, shard: ShardLine, index: list[IndexLine]) -> Iterator[Finding]:
    """Every fault in the bytes of one tar, placed by its ``index`` (empty where that is lost)."""
    assert shard.name
    assert shard.sha256
    try:
        path = inside(folder, shard.name)
        open_regular(path).close()
    except OSError as error:
        yield _missing(shard.name, error)
        return
    except BadInput:
        yield _outside(shard.name)
        return
    if path.stat().st_size == shard.bytes and file_sha256(path) == shard.sha256:
        return
    found = False
    with open_buffer(path) as buffer:
        for fault in _account(buffer, index):
            found = True
            yield fault.at(shard.name)
    if not found:
        yield _altered(shard.name, shard.sha256)


def _account(buffer: Buffer, index: list[IndexLine]) -> Iterator[Finding]:
    """Compare every byte of ``buffer`` with what ``index`` says must be there."""
    end = 0
    for line in index:
        for slot in line.members:
            name = f"{line.key}.{slot.name}"
            start, end = slot.offset, slot.offset + slot.size + padding(slot.size)
            if end > len(buffer):
                yield _cut_off(f"{name} up to byte {end}", len(buffer), line.key)
                return
            header = header_bytes(name, slot.size)
            if bytes(buffer[start - BLOCK : start]) != header:
                yield _different("the header", name, line.key, start - BLOCK)
            data = bytes(buffer[start : start + slot.size])
            if hashlib.sha256(data).hexdigest() != slot.sha256:
                yield _different("the data", name, line.key, start)
            if any(buffer[start + slot.size : end]):
                yield _different("the padding", name, line.key, start + slot.size)
    if index and len(buffer) < end + len(END):
        yield _cut_off("an end marker of two zero blocks", len(buffer), index[-1].key)
    elif index and (len(buffer) != end + len(END) or buffer[end:] != END):
        yield finding(
            "parse.checksum",
            "",
            f"the end of the file at byte {end + len(END)}, two zero blocks before it",
            f"{len(buffer) - end} other bytes",
            _AGAIN,
            key=index[-1].key,
            offset=end,
        )


def _different(part: str, name: str, key: str, offset: int) -> Finding:
    return finding(
        "parse.checksum",
        "",
        f"{part} of {name} as written",
        "other bytes",
        _AGAIN,
        key=key,
        offset=offset,
    )


def _cut_off(expected: str, size: int, key: str) -> Finding:
    return finding(
        "parse.truncated", "", expected, f"the end of the file after {size} bytes", _AGAIN,
        key=key, offset=size,
    )  # fmt: skip


def _missing(name: str, error: OSError) -> Finding:
    got = "no file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
    return finding("parse.missing_member", "", "a file that the manifest names", got, _AGAIN,
                   file=name)  # fmt: skip


def _outside(name: str) -> Finding:
    return finding("parse.unsafe_member", "", "a file in the folder of the set",
                   "a symbolic link that leads out of it", "put a copy of the file there (cp -L)",
                   file=name)  # fmt: skip


def _altered(name: str, digest: str) -> Finding:
    return finding("parse.checksum", "", f"sha256 {digest[:12]}...", "other bytes", _AGAIN,
                   file=name)  # fmt: skip
