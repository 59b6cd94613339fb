"""``pearl-data show``: one trajectory, its text in the terminal, its pictures as files."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import click

from pearl_data.command_line import allow_unfinished_option, json_option
from pearl_data.terminal import print_json, say
from pearl_tools.errors import BadInput, UsageError

_KEYS_NAMED = 5


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--key", help="Which trajectory: its key, or #N for the one at position N from 0.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the pictures alone (default: show-KEY here).",
)
@allow_unfinished_option
@json_option
def show(
    path: Path, *, key: str | None, out: Path | None, allow_unfinished: bool, as_json: bool
) -> None:
    """Tell one trajectory of a dataset folder, tar, .json or .jsonl file: question, thoughts,
    calls, boxes, what came back, the answer; and write its pictures to a folder.

    With --json the record itself is printed, with the names of the files written.

    Example: pearl-data show scenes --key '#3' --out one
    """
    from pearl_data.audit.reading import open_collection
    from pearl_data.report import tell, write_pictures

    collection = open_collection(path, allow_unfinished=allow_unfinished)
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
