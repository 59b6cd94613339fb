"""Going on with a dataset: what of it is whole, what is rewritten, and when to refuse.

The run that goes on must end with the bytes of one that was never interrupted. So everything up
to the last shard whose files all match the manifest is kept; the rest is removed, be it left-over
temporary files, a shard that no line names yet, or whatever follows a shard that was altered.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from pearl_data.shards.files import file_sha256, temporary_name, write_whole
from pearl_data.shards.index import IndexLine, decode_index
from pearl_data.shards.manifest import (
    MANIFEST,
    HeaderLine,
    Line,
    Manifest,
    ShardLine,
    SummaryLine,
    encode_line,
    read_manifest,
)
from pearl_tools.errors import BadInput

#: Folders that belong to the writer; anything else in the output folder is left alone.
FOLDERS = ("shards", "index", "quarantine", "duplicates", "timings")


class Restored(NamedTuple):
    """What a run finds when it opens ``out``: whole shards, their samples, what was dropped."""

    shards: list[ShardLine]
    summary: SummaryLine | None
    samples: list[IndexLine]
    dropped: list[str]


def restore(out: Path, header: HeaderLine) -> Restored:
    """Make ``out`` a dataset of ``header`` with only whole shards in it, new or as it was left.

    Raises ``BadInput`` where ``out`` holds other things, or a dataset of another configuration;
    then nothing was touched.
    """
    if not (out / MANIFEST).exists():
        _refuse_other_things(out)
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / MANIFEST, encode_line(header))
        manifest = Manifest(header=header, shards=[], summary=None)
    else:
        manifest = read_manifest(out)
        _refuse_other_config(out, manifest.header, header)
    (out / "shards").mkdir(exist_ok=True)
    kept, fault = _whole_shards(out, manifest.shards)
    summary = manifest.summary if len(kept) == len(manifest.shards) else None
    dropped = [f"{fault}; it and what follows is written again"] if fault else []
    if manifest.torn:
        dropped.append(f"{MANIFEST}: the last line was not finished")
    if fault or manifest.torn:
        lines: list[Line] = [header, *kept, *([summary] if summary else [])]
        write_whole(out / MANIFEST, b"".join(map(encode_line, lines)))
    dropped += _remove_rest(out, len(kept))
    samples = [
        line
        for shard in kept
        if shard.index_sha256
        for line in decode_index((out / f"index/{shard.number:06d}.jsonl").read_bytes())
    ]
    return Restored(kept, summary, samples, dropped)


def broken_file(out: Path, shard: ShardLine) -> str | None:
    """What is wrong with the first file of ``shard`` that is missing or altered, or None."""
    for name, digest in shard.files().items():
        path = out / name
        if not path.is_file():
            return f"{name} is missing"
        if file_sha256(path) != digest:
            return f"{name} does not have the sha256 of the manifest"
    return None


def _whole_shards(out: Path, shards: list[ShardLine]) -> tuple[list[ShardLine], str | None]:
    for position, shard in enumerate(shards):
        fault = broken_file(out, shard)
        if fault:
            return shards[:position], fault
    return shards, None


def _remove_rest(out: Path, shards: int) -> list[str]:
    """Remove the writer's files of shard ``shards`` and later, and all temporary ones."""
    removed = []
    for path in sorted(path for folder in FOLDERS for path in (out / folder).glob("*")):
        stem = path.name.partition(".")[0]
        if path.name.endswith(".tmp") or (stem.isdigit() and int(stem) >= shards):
            path.unlink()
            removed.append(f"{path.relative_to(out).as_posix()}: not in the manifest, removed")
    for name in (MANIFEST, "README.md"):
        temporary_name(out / name).unlink(missing_ok=True)
    return removed


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
    if there == asked:
        return
    old, new = _flat(_comparable(there)), _flat(_comparable(asked))
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
