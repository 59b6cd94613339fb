"""Where trajectories may lie, decided once for all who read them; and bare records with the
pictures beside them.

A path is a dataset folder, a folder of tars, one tar, or a ``.json`` or ``.jsonl`` file. Pictures
of a bare record are looked for beside its file as an unpacked tar leaves them, ``{key}.{name}``.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Literal, NamedTuple

import msgspec

from pearl_data.findings import Finding, finding
from pearl_data.shards.manifest import MANIFEST, Manifest, read_manifest
from pearl_data.shards.sample import MEMBER_NAME
from pearl_data.trajectory import Trajectory
from pearl_tools.errors import BadInput, UsageError, listed
from pearl_tools.files import inside, open_regular, read_regular

Kind = Literal["dataset", "tars", "tar", "json", "jsonl"]
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")


class Document(NamedTuple):
    """One document of a file: ``place`` names it (empty for a single one), ``offset`` is its first
    byte where the file has one document a line.
    """

    place: str
    text: bytes
    offset: int | None = None


def kind_of(path: Path) -> Kind:
    """What ``path`` is; raises ``UsageError`` for what holds no trajectories."""
    name = path.name.lower()
    if path.is_dir():
        return "dataset" if (path / MANIFEST).is_file() else "tars"
    if path.is_file():
        if name.endswith(TAR_SUFFIXES):
            return "tar"
        if name.endswith(".json"):
            return "json"
        if name.endswith(".jsonl"):
            return "jsonl"
    got = f"{path.name!r}" if path.exists() else "nothing there"
    raise UsageError(
        f"{path}: expected a dataset folder, a folder of tars, {', '.join(TAR_SUFFIXES)}, "
        f".json or .jsonl, got {got}"
    )


def is_tar(path: Path) -> bool:
    """True if ``path`` has the name of a tar and is not a dot file."""
    return path.name.lower().endswith(TAR_SUFFIXES) and not path.name.startswith(".")


def tars_in(folder: Path) -> list[Path]:
    """The tars that lie in ``folder``, by name."""
    return sorted(filter(is_tar, folder.iterdir()))


def unfinished_around(path: Path) -> Manifest | None:
    """The manifest of the unfinished dataset if ``path`` is its folder of shards, else None."""
    if path.name != "shards" or not (path.parent / MANIFEST).is_file():
        return None
    try:
        manifest = read_manifest(path.parent)
    except BadInput:
        return None  # its tars can be read by themselves
    return None if manifest.summary else manifest


def junk_note(path: Path, names: Sequence[str]) -> str:
    """A note on the files of a tar that are not members."""
    return f"{path}: {len(names)} files that are not members were skipped ({listed(names)})"


def read_documents(path: Path, kind: Kind) -> Iterator[Document]:
    """The documents of a ``json`` file (one, or a list of them) or a ``jsonl`` file (one a line).

    Raises ``BadInput`` for a file that cannot be read.
    """
    try:
        with open_regular(path) as stream:
            if kind == "jsonl":
                yield from _lines(stream)
                return
            data = stream.read()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        documents: Sequence[msgspec.Raw] = msgspec.json.decode(data, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        yield Document("", data)  # one document, or none that can be read
        return
    for number, document in enumerate(documents):
        yield Document(f"[{number}]", bytes(document))


def _lines(stream: IO[bytes]) -> Iterator[Document]:
    """The documents of a ``jsonl`` file, one line at a time."""
    # skip a byte order mark
    offset = len(codecs.BOM_UTF8) if stream.read(3) == codecs.BOM_UTF8 else 0
    stream.seek(offset)
    lines = (line for part in stream for line in part.splitlines(keepends=True))
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield Document(f"line {number}", line, offset)
        offset += len(line)


def members_beside(path: Path, trajectory: Trajectory) -> dict[str, bytes]:
    """The members of ``trajectory`` beside its file ``path``, by name.

    Raises ``BadInput`` for a link out of that folder.
    """
    members = {}
    for medium in trajectory.media:
        for name in (medium.name_in_sample, medium.picture_in_sample):
            if name and MEMBER_NAME.fullmatch(name):
                file = inside(path.parent, f"{trajectory.id}.{name}")
                if file.is_file():
                    members[name] = read_regular(file)
    return members


def no_records(path: Path) -> Finding:
    """That ``path`` holds nothing to read: a download or a run that failed looks like this."""
    hint = ""
    if path.is_dir() and any((path / "shards").glob("*.tar")):
        hint = f"{MANIFEST} is lost; {path / 'shards'} can be read by itself"
    expected = "at least one record"
    return finding("parse.missing_member", "", expected, "none", hint, file=str(path))
