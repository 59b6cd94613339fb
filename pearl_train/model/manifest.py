"""Hashes of an exported model: ``pearl.sha256`` lists every file that affects an answer.

Its lines are those of ``sha256sum``, so that ``sha256sum -c pearl.sha256`` checks a copy without
this toolkit. It does not list the card and pictures, which people may change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pearl_data.shards.files import file_sha256, write_whole
from pearl_tools.errors import BadInput

MANIFEST = "pearl.sha256"
_LINE = re.compile(r"([0-9a-f]{64})  ([^/\\\0]+(?:/[^/\\\0]+)*)")
_FREE = frozenset({".md", ".png"})
_REMEDY = (
    "copy or export the model again (a run rewrites its own: pearl-train run --resume RUN), or "
    f"remove {MANIFEST} if the change was deliberate"
)


def write_manifest(folder: Path, known: Mapping[str, str] | None = None) -> None:
    """Write the hash of every file in ``folder``; files with ``known`` hashes are not read."""
    digests = dict(known or {})
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and path.suffix not in _FREE and name not in {MANIFEST, *digests}:
            digests[name] = file_sha256(path)
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
    write_whole(folder / MANIFEST, "".join(lines).encode())


def read_manifest(folder: Path) -> dict[str, str] | None:
    """The hashes in ``folder``, by file; None without a manifest. Raises ``BadInput`` for invalid
    lines.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        parts = _LINE.fullmatch(line)
        if parts is None or ".." in parts[2].split("/"):
            raise BadInput(
                f"{path}: line {number}: expected a sha256, two spaces and the name of a file "
                f"below this folder, got {line[:90]!r}; {_REMEDY}"
            )
        found[parts[2]] = parts[1]
    return found


def damage(folder: Path) -> str | None:
    """The fault of the first changed file of ``folder``; None without one, or without hashes."""
    try:
        known = read_manifest(folder)
    except BadInput as error:
        return str(error)
    for name, digest in sorted((known or {}).items()):
        path = folder / name
        if not path.is_file():
            return f"{path}: expected a file with sha256 {digest[:12]}, got none"
        if (got := file_sha256(path)) != digest:
            return f"{path}: expected sha256 {digest[:12]}, as it was written, got {got[:12]}"
    return None


def check_manifest(folder: Path) -> None:
    """Raise ``BadInput`` naming the first changed file of ``folder``."""
    if found := damage(folder):
        raise BadInput(f"{found}; {_REMEDY}")
