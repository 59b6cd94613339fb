"""Resumes or extends a dataset: keeps its sound part, rewrites the rest, or refuses.

A resumed run must end with the same bytes as an uninterrupted one. So all commits up to the first
file that does not match the manifest are kept, and the rest is written again. Only files that the
manifest names, or that have one of our temporary names, are ever removed.

Only ``limit`` may differ from the earlier run: then the commits are kept in which neither limit can
have cut a block. If the earlier run wrote no trajectory, a run with another configuration starts
over in its folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pearl_data.shards.card import CARD
from pearl_data.shards.files import file_sha256, temporary_name, write_whole
from pearl_data.shards.index import IndexLine, decode_index
from pearl_data.shards.manifest import (
    LIMIT,
    MANIFEST,
    HeaderLine,
    Line,
    Manifest,
    ShardLine,
    SummaryLine,
    encode_line,
    header_alone,
    read_manifest,
    summarise,
)
from pearl_data.shards.sums import PAGE, SUMS, read_sums, timings_name, whole, write_sums
from pearl_tools.errors import BadInput
from pearl_tools.files import inside, read_regular

#: Folders that belong to the writer; anything else in the output folder is left alone.
FOLDERS = ("shards", "index", "quarantine", "duplicates", "timings")

_TEMPORARY = re.compile(r"\.(\d{6,}\.(tar|jsonl)|SHA256SUMS)\.tmp")


class Restored(NamedTuple):
    """The state of ``out`` at the start of a run: sound shards, and a line for each change."""

    shards: list[ShardLine]
    summary: SummaryLine | None
    sums: dict[str, str]
    changed: list[str]


def restore(out: Path, header: HeaderLine) -> Restored:
    """Make ``out`` a dataset of ``header`` with only sound shards in it, new or resumed.

    Raises ``BadInput`` if ``out`` holds other files, a dataset of another configuration, or
    more trajectories than the limit of ``header``; then nothing was changed.
    """
    if not (out / MANIFEST).exists():
        _refuse_other_things(out)
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / MANIFEST, encode_line(header))
        (out / "shards").mkdir(exist_ok=True)
        return Restored([], None, {}, [])
    manifest, altered = _manifest(out)
    for folder in FOLDERS:
        inside(out, folder)
    kept, changed = _kept_under(out, manifest, header)
    changed += altered
    (out / "shards").mkdir(exist_ok=True)
    look = _Look(out)
    sums = _sums_of(out, manifest, changed)
    for position, shard in enumerate(kept):
        fault = look.fault(shard, sums)
        if fault:
            kept = kept[:position]
            changed.append(f"{fault}; it and what follows is written again")
            break
    while kept and kept[-1].first_block == kept[-1].next_block:
        kept = kept[:-1]  # one split of a commit that lacks its last line
    whole_set = len(kept) == len(manifest.shards) and manifest.header == header
    summary = manifest.summary if whole_set else None
    if not whole_set or manifest.torn or altered:
        dropped = manifest.shards[len(kept) :]
        sums = _without(out, sums, [*map(_timings, dropped), PAGE])
        for name in [n for shard in dropped for n in (*shard.files(), timings_name(shard.number))]:
            (inside(out, str(Path(name).parent)) / Path(name).name).unlink(missing_ok=True)
        lines: list[Line] = [header, *kept, *([summary] if summary else [])]
        write_whole(out / MANIFEST, b"".join(map(encode_line, lines)))
    elif summary and look.hashed:
        look.settle()
    _remove_temporaries(out)
    return Restored(kept, summary, sums, changed)


def index_lines(out: Path, shards: list[ShardLine]) -> Iterator[IndexLine]:
    """The index lines of ``shards``, which are sound, one shard at a time."""
    for shard in shards:
        if shard.index_sha256:
            yield from decode_index(read_regular(inside(out, f"index/{shard.number:06d}.jsonl")))


def with_card(out: Path, summary: SummaryLine, header: HeaderLine, shards: list[ShardLine],
              card: bytes) -> SummaryLine:  # fmt: skip
    """Rewrite the missing or altered card of a finished dataset; returns the matching summary."""
    made = summarise(header, shards, write_whole(out / CARD, card))
    if made != summary:
        lines: list[Line] = [header, *shards, made]
        write_whole(out / MANIFEST, b"".join(map(encode_line, lines)))
    return made


def card_is_whole(out: Path, summary: SummaryLine) -> bool:
    """True if the card is unchanged; earlier versions stored no hash of it."""
    return summary.card_sha256 is None or whole(out, CARD, summary.card_sha256)


def _manifest(out: Path) -> tuple[Manifest, list[str]]:
    """The valid part of the manifest, and notes on its faults."""
    try:
        manifest = read_manifest(out)
    except BadInput as error:
        return header_alone(out), [f"{error}; all shards are written again"]
    torn = [f"{MANIFEST}: the last line was not finished"] if manifest.torn else []
    return manifest, torn


def _kept_under(
    out: Path, manifest: Manifest, header: HeaderLine
) -> tuple[list[ShardLine], list[str]]:
    """The shards that a run of ``header`` keeps, if sound, and notes on the others."""
    there = manifest.header
    written = sum(shard.samples for shard in manifest.shards)
    if _without_limit(there) != _without_limit(header):
        if written:
            _refuse_other_config(out, there, header)
        return [], [
            "the earlier run wrote no trajectory and had another configuration: starting over"
        ]
    old, new = there.config.get(LIMIT), header.config.get(LIMIT)
    if old == new:
        return manifest.shards, []
    if isinstance(new, int) and written > new:
        raise BadInput(
            f"{out}: holds {written} trajectories, expected a limit of at least as many, got "
            f"{new}; nothing was changed: raise --limit, or choose another folder"
        )
    least = min((limit for limit in (old, new) if isinstance(limit, int)), default=0)
    kept: list[ShardLine] = []
    samples = in_commit = position = 0
    for number, shard in enumerate(manifest.shards, 1):
        samples, in_commit = samples + shard.samples, in_commit + shard.samples
        if shard.first_block == shard.next_block:
            continue
        # a partial commit ended with its run; a later one may be cut
        if samples >= least or in_commit < header.samples_per_shard:
            break
        in_commit, position = 0, number
    kept = manifest.shards[:position]
    keeps = sum(shard.samples for shard in kept)
    told = f"limit {_or_all(old)} is now {_or_all(new)}"
    return kept, [
        f"{told}; {written - keeps} of {written} trajectories are computed again, with equal bytes"
    ]


def _or_all(limit: object) -> str:
    return "none" if limit is None else str(limit)


def _sums_of(out: Path, manifest: Manifest, changed: list[str]) -> dict[str, str]:
    """The hashes of timings and page; timings without a hash get one."""
    try:
        sums = read_sums(out)
    except BadInput as error:
        sums = {}
        changed.append(f"{error}; the hashes are computed again")
    known, told = dict(sums), bool(changed)
    for shard in manifest.shards:
        with suppress(OSError):
            if _timings(shard) not in known:
                known[_timings(shard)] = file_sha256(inside(out, _timings(shard)))
    if known != sums or told or (manifest.summary and not (out / SUMS).is_file()):
        write_sums(out, known)
    return known


class _Look:
    """One check of the files of a dataset: small ones are hashed, a tar only if it has changed
    since the manifest last did, by ``ctime``.

    Every write to a file updates its ``ctime``. Bit errors of the disk are found by
    ``pearl-data validate``, which reads every byte.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.hashed = False
        self._before_ns = (out / MANIFEST).stat().st_ctime_ns

    def fault(self, shard: ShardLine, sums: dict[str, str]) -> str | None:
        """The fault of the first missing or altered file of ``shard``, or None."""
        files = shard.files()
        if _timings(shard) in sums:
            files[_timings(shard)] = sums[_timings(shard)]
        for name, sha256 in files.items():
            try:
                path = inside(self.out, name)
                if name == shard.name:
                    found = path.stat()
                    if found.st_size != shard.bytes:
                        return f"{name} does not have the size of the manifest"
                    if found.st_ctime_ns < self._before_ns:
                        continue
                    self.hashed = True
                if file_sha256(path) != sha256:
                    return f"{name} does not have the sha256 of the manifest"
            except FileNotFoundError:
                return f"{name} is missing"
            except OSError as error:
                return f"{name} cannot be read ({error.strerror or error})"
            except BadInput as error:
                return str(error)
        return None

    def settle(self) -> None:
        """Make the manifest the youngest file if possible, since all tars are sound."""
        path = self.out / MANIFEST
        with suppress(OSError):
            times = path.stat()
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _timings(shard: ShardLine) -> str:
    return timings_name(shard.number)


def _without(out: Path, sums: dict[str, str], names: list[str]) -> dict[str, str]:
    """Remove ``names`` from ``sums``, on disk too."""
    left = {name: sha256 for name, sha256 in sums.items() if name not in names}
    if left != sums:
        write_sums(out, left)
    return left


def _remove_temporaries(out: Path) -> None:
    for folder in FOLDERS:
        for path in (out / folder).glob(".*.tmp"):
            if _TEMPORARY.fullmatch(path.name):
                path.unlink()
    for name in (MANIFEST, CARD, PAGE):
        temporary_name(out / name).unlink(missing_ok=True)


def _refuse_other_things(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: expected a new or empty folder, got a file")
    found = [path.name for path in out.iterdir()] if out.exists() else []
    others = sorted(name for name in found if name != temporary_name(out / MANIFEST).name)
    if others:
        shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise BadInput(
            f"{out}: expected a new or empty folder, or a dataset with a {MANIFEST}, "
            f"got a folder with {shown}; choose another folder"
        )


def _refuse_other_config(out: Path, there: HeaderLine, asked: HeaderLine) -> None:
    old, new = _flat(_without_limit(there)), _flat(_without_limit(asked))
    absent = "absent"
    differences = [
        f"{key}: {old.get(key, absent)!r} there, {new.get(key, absent)!r} asked"
        for key in sorted(old.keys() | new.keys())
        if old.get(key, absent) != new.get(key, absent)
    ]
    raise BadInput(
        f"{out}: holds a dataset of another configuration ({'; '.join(differences)}); "
        "choose another folder, or repeat the command that began it"
    )


def _without_limit(header: HeaderLine) -> dict[str, Any]:
    """The configuration that a later run must match."""
    return {key: value for key, value in _comparable(header).items() if key != LIMIT}


def _comparable(header: HeaderLine) -> dict[str, Any]:
    return {
        "schema_version": header.schema_version,
        "toolkit_version": header.toolkit_version,
        "tools": header.tools,
        "samples_per_shard": header.samples_per_shard,
        **header.config,
    }


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        out: dict[str, Any] = {}
        for key, child in value.items():
            out |= _flat(child, f"{path}.{key}" if path else key)
        return out
    return {path: value}
