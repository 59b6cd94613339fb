"""Datasets whose index says something else, with all hashes right: what a hash cannot find."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from pearl_data.shards.manifest import MANIFEST, Line, encode_line, read_manifest, summarise


def forge_index(folder: Path, change: Callable[[bytes], bytes]) -> None:
    """Rewrite the first index of ``folder`` and seal the manifest anew."""
    path = folder / "index" / "000000.jsonl"
    data = change(path.read_bytes())
    path.write_bytes(data)
    manifest = read_manifest(folder)
    shards = list(manifest.shards)
    shards[0] = msgspec.structs.replace(shards[0], index_sha256=hashlib.sha256(data).hexdigest())
    lines: list[Line] = [manifest.header, *shards, summarise(manifest.header, shards)]
    (folder / MANIFEST).write_bytes(b"".join(map(encode_line, lines)))
