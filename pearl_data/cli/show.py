"""``pearl-data show``: one trajectory, its text in the terminal, its pictures as files."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pearl_data.cli.output import leave
from pearl_data.command_line import allow_unfinished_option, json_option
from pearl_data.terminal import one_line, print_json, say
from pearl_tools.errors import BadInput, UsageError

if TYPE_CHECKING:
    from pearl_data.audit.reading import Collection

_KEYS_NAMED = 5


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--key", help="The trajectory: its key, or #N for the one at position N, counted from 0."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the pictures. [default: show-KEY in the current folder]",
)
@click.option(
    "--quarantine",
    metavar="[CODE]",
    is_flag=False,
    flag_value="",
    help="Show quarantined inputs with their reasons: all, of one code (geometry.outside) or of "
    "one stage (geometry); with --key one entry in full.",
)
@allow_unfinished_option
@json_option
def show(
    path: Path,
    *,
    key: str | None,
    out: Path | None,
    quarantine: str | None,
    allow_unfinished: bool,
    as_json: bool,
) -> None:
    """Show one trajectory of a dataset folder, tar, .json or .jsonl file: question, thoughts,
    calls, boxes, results, the answer. Writes its pictures to a folder.

    --json prints the record itself, with the names of the files written. --quarantine shows
    quarantined inputs instead, and writes nothing.

    Example: pearl-data show scenes --key '#3' --out one
    """
    from pearl_data.audit.reading import open_collection
    from pearl_data.report import tell, write_pictures

    collection = open_collection(path, allow_unfinished=allow_unfinished)
    if quarantine is not None:
        if out is not None:
            raise UsageError("--out: expected no --quarantine beside it; entries have no pictures")
        _show_quarantine(collection, path, quarantine or None, key, as_json=as_json)
        return
    position = _position(key, len(collection), path)
    if position is None:
        sample = collection.sample(_find(key, collection.keys(), path))
    else:
        found = collection.entry(position)
        if found.sample is None:
            raise BadInput(f"{path}, #{position}: {found.fault}")
        sample = found.sample
    folder = out or Path(f"show-{sample.trajectory.id}")
    written = write_pictures(sample, folder)
    if as_json:
        files = [str(file) for file in written]
        print_json({"trajectory": sample.trajectory, "files": files})
        return
    say(tell(sample.trajectory))
    names = ", ".join(file.name for file in written)
    say(f"\npictures in {folder}: {names}")


def _show_quarantine(
    collection: Collection, path: Path, code: str | None, key: str | None, *, as_json: bool
) -> None:
    from pearl_data.report.quarantine import quarantine_lines, select
    from pearl_data.shards.records import kind_of

    if kind_of(path) != "dataset":
        raise UsageError(f"--quarantine: expected a dataset folder, which has one, got {path}")
    entries, unreadable = select(collection.quarantined(), code, key)
    if as_json:
        print_json({"quarantined": entries, "unreadable": unreadable})
    else:
        for line in quarantine_lines(entries, whole=key is not None):
            say(one_line(line))
        for fault in unreadable:
            say(one_line(str(fault)), err=True)
    if unreadable:
        leave(1)


def _position(key: str | None, count: int, path: Path) -> int | None:
    """The position that ``#N`` means, None for a key; raises ``UsageError`` for one too many."""
    if key is None or not key.startswith("#") or not count:
        return None
    if not key[1:].isdecimal() or int(key[1:]) >= count:
        raise UsageError(f"{path}: --key {key}: expected #0 to #{count - 1}")
    return int(key[1:])


def _find(key: str | None, keys: Sequence[str], path: Path) -> str:
    """The key that is meant; raises ``UsageError`` naming a few keys that exist."""
    if not keys:
        raise UsageError(f"{path}: expected trajectories, found none that can be read")
    if key is not None and key in keys:
        return key
    if key is None:
        wanted, near = "expected --key", list(keys[:_KEYS_NAMED])
    else:
        wanted = f"--key: no trajectory {key!r}"
        near = difflib.get_close_matches(key, keys, _KEYS_NAMED, 0.3) or list(keys[:_KEYS_NAMED])
    rest = len(keys) - len(near)
    more = f" and {rest} more" if rest else ""
    raise UsageError(f"{path}: {wanted}; it has {', '.join(near)}{more}")
