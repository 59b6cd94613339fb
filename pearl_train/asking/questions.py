"""What is asked of a model: pictures, words, choices; and what the right answer would be.

A question comes from a sample (evaluation) or from files that people name (prediction). Of a sample
only the root pictures and the words are taken: nothing that a tool showed can leak into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pearl_data.shards import DatasetReader, Sample
from pearl_data.trajectory import identity_sha256
from pearl_tools.errors import BadInput, ToolFailure, UsageError
from pearl_tools.media import MediaError, decode_member, open_image, read_file
from pearl_tools.types import Medium
from pearl_train.asking.scoring import Expected, plain_words


@dataclass(frozen=True, kw_only=True)
class Question:
    """Pictures in order, by id, and what is asked about them; ``key`` and ``shard`` of a sample."""

    media: Mapping[str, Medium]
    text: str
    choices: Sequence[str] = ()
    key: str = ""
    shard: str = ""

    @property
    def where(self) -> str:
        """What messages about it begin with; nothing where somebody asks it by hand."""
        return f"{self.shard}, sample {self.key}: " if self.key else ""


class Item(NamedTuple):
    """A question of a data set with what it is judged by."""

    question: Question
    expected: Expected
    family: str
    identity: str
    roots: tuple[str, ...]
    """Hashes of the root pictures' pixels."""


def item_of(sample: Sample, shard: str) -> Item:
    """The question that ``sample`` answers; raises ``BadInput`` for a picture that is missing."""
    record = sample.trajectory
    media: dict[str, Medium] = {}
    for root in [medium for medium in record.media if medium.parent is None]:
        name = root.name_in_sample
        if name is None or name not in sample.members:
            raise BadInput(
                f"{shard}, sample {record.id}: expected the bytes of {root.id} as a member, got "
                f"{', '.join(sorted(sample.members)) or 'none'}; run pearl-data validate"
            )
        try:
            pixels = decode_member(name, sample.members[name])
        except MediaError as failure:
            raise BadInput(f"{shard}, sample {record.id}: {failure}") from failure
        media[root.id] = Medium(facts=root, pixels=pixels)
    task = record.task
    return Item(
        question=Question(
            media=media, text=task.question, choices=task.choices, key=record.id, shard=shard
        ),
        expected=Expected(task.answer, task.choices),
        family=task.family,
        identity=identity_sha256(record),
        roots=tuple(medium.record.pixel_sha256 for medium in media.values()),
    )


def places(reader: DatasetReader, split: str | None) -> list[int]:
    """The numbers of the samples of ``split``, all if it is None.

    A bare tar has no index of splits: its records say. Raises ``UsageError`` for a split without
    samples, ``BadInput`` for data without any.
    """
    chosen = []
    for number, place in enumerate(reader.places):
        of = place.line.split
        if split is not None and of is None:
            of = reader[number].trajectory.split
        if split is None or of == split:
            chosen.append(number)
    if not chosen:
        known = sorted({place.line.split or "?" for place in reader.places})
        got = f"splits {', '.join(known)}" if known else "no sample at all"
        if split is not None:
            raise UsageError(f"expected samples of the split {split!r}, got {got}")
        raise BadInput(f"expected samples, got {got}")
    return chosen


def opened(pictures: Sequence[Path], text: str, choices: Sequence[str] = ()) -> Question:
    """A question about picture files.

    Raises ``UsageError`` for words that ask nothing, and choices that are empty or alike;
    ``BadInput`` for a picture that cannot be used.
    """
    if not pictures:
        raise UsageError("--image: expected at least one picture, got none")
    if not text.strip():
        raise UsageError(f"--question: expected words, got {text!r}; say what is asked")
    _check_choices(choices)
    media = {}
    for number, path in enumerate(pictures):
        name = f"i{number}"
        try:
            media[name] = open_image(read_file(path, where="--image"), id=name, name=path.name)
        except ToolFailure as failure:
            raise BadInput(f"{path}: {failure}") from failure
    return Question(media=media, text=text, choices=choices)


def _check_choices(choices: Sequence[str]) -> None:
    """Raises ``UsageError`` for choices that a reply could not tell apart."""
    offered = ", ".join(repr(choice) for choice in choices)
    met: set[str] = set()
    for number, choice in enumerate(choices, 1):
        if not choice.strip():
            raise UsageError(
                f"--choices: expected words for every answer, got nothing as number {number} of "
                f"{offered}; leave out the comma, or the option, too many"
            )
        said = plain_words(choice)
        if said in met:
            raise UsageError(
                f"--choices: expected answers that differ in more than case, spaces and closing "
                f"punctuation, got {choice!r} again in {offered}; name each once"
            )
        met.add(said)
