"""Which samples of a large split are likely the longest, told by their records, without a picture.

How many tokens a character or a pixel is worth differs by model and by view; it is fitted on the
samples that were encoded anyway. Families round and cap their picture tokens, so the first of
several rankings are worth encoding, not the first of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pearl_data.shards import DatasetReader
from pearl_data.trajectory import Trajectory
from pearl_tools.errors import PearlError
from pearl_train.doctor.even import spread

#: Records read at most (about 40 µs each), evenly spread over a larger split.
RECORDS = 100_000
#: Taken of the ranking by fitted tokens, and of that by each measure alone.
BY_TOKENS, BY_MEASURE = 8, 2


class Measures(NamedTuple):
    """What of a record becomes tokens: characters of question and answer, and of the trajectory;
    pictures and their pixels, of the question and from tools.
    """

    asked: int
    told: int
    roots: int
    root_pixels: int
    views: int
    view_pixels: int


class Ranked(NamedTuple):
    """``first`` are the numbers of the samples most likely to be the longest; ``records`` is how
    many were compared. One whose record cannot be read is among ``first``: encoding it says why.
    """

    first: list[int]
    records: int


def measures(record: Trajectory, max_pixels: int | None = None) -> Measures:
    """The measures of ``record``; no picture has more than ``max_pixels`` of ``model``."""
    task = record.task
    told = [record.final.thought]
    for step in record.steps:
        told += [step.thought, *(c.arguments_raw + c.result.text for c in step.calls)]
    pixels: dict[bool, list[int]] = {False: [], True: []}
    for medium in record.media:
        size = medium.width * medium.height
        pixels[medium.parent is None].append(size if max_pixels is None else min(size, max_pixels))
    return Measures(
        asked=len(task.question) + sum(map(len, task.choices)) + len(task.answer),
        told=sum(map(len, told)),
        roots=len(pixels[True]),
        root_pixels=sum(pixels[True]),
        views=len(pixels[False]),
        view_pixels=sum(pixels[False]),
    )


def likely_longest(
    reader: DatasetReader,
    numbers: Sequence[int],
    known: Mapping[int, int],
    max_pixels: int | None = None,
) -> Ranked:
    """Of ``numbers`` in ``reader`` those likely to be the longest, apart from ``known``: the
    tokens of samples that were encoded, by number.
    """
    found: dict[int, Measures] = {}
    unreadable = []
    for number in [*known, *(n for n in spread(numbers, RECORDS) if n not in known)]:
        try:
            found[number] = measures(reader.record(number), max_pixels)
        except PearlError:  # kept: whoever encodes it hears what is wrong
            unreadable.append(number)
    table = np.array([found[number] for number in found], dtype=float)
    table /= np.maximum(table.max(axis=0), 1)
    table = np.column_stack([table, np.ones(len(table))])
    wanted = np.array(list(known.values()), dtype=float)
    worth = np.linalg.lstsq(table[: len(known)], wanted, rcond=None)[0]
    others = list(found)[len(known) :]
    of_others = table[len(known) :]
    first = list(unreadable)
    for scores, taken in [(of_others @ worth, BY_TOKENS), *((c, BY_MEASURE) for c in of_others.T)]:
        order = np.argsort(-scores, kind="stable")[:taken]
        first += [others[place] for place in order]
    return Ranked(list(dict.fromkeys(first)), len(found))
