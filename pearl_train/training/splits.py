"""Which samples belong to a split, and which questions two splits share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pearl_data.shards import DatasetReader
from pearl_data.trajectory import identity_sha256
from pearl_tools.errors import UsageError


def numbers_of(reader: DatasetReader, split: str | None) -> list[int]:
    """The samples of ``split`` as numbers in ``reader``; all of them where it is None.

    A bare tar's index does not know splits: there every record is read once.
    """
    splits = [
        place.line.split if place.line.split is not None else _split_in(reader, number)
        for number, place in enumerate(reader.places)
    ]
    found = [n for n, of_it in enumerate(splits) if split is None or of_it == split]
    if not found:
        have = ", ".join(f"{name} ({n})" for name, n in sorted(Counter(splits).items()))
        raise UsageError(
            f"data.split: expected samples of split {split!r}, got none; the data hold "
            f"{have or 'no samples at all'}"
        )
    return found


def shared_questions(
    first: DatasetReader, of_first: Sequence[int], second: DatasetReader, of_second: Sequence[int]
) -> list[tuple[str, str]]:
    """Pairs of keys that ask the same of the same pixels: what must not be trained on and tested.

    ``of_first`` and ``of_second`` are the samples compared, as numbers in their readers.
    """
    known = {_identity(first, number): number for number in of_first}
    return [
        (first.places[known[identity]].line.key, second.places[number].line.key)
        for number in of_second
        if (identity := _identity(second, number)) in known
    ]


def _identity(reader: DatasetReader, number: int) -> str:
    known = reader.places[number].line.identity
    return known if known is not None else identity_sha256(reader[number].trajectory)


def _split_in(reader: DatasetReader, number: int) -> str:
    return reader[number].trajectory.split
