"""What is trained on and what is tested on, kept apart by picture.

Three ways, in this order: a test set of its own (``--test``); splits that the data have already; or
a part of the pictures set aside here, with everything that is asked about them, and written as two
data sets, so that anybody can look at what was held out. A question that is in both is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pearl_data.progress import Progress
from pearl_data.randomness import rng_for
from pearl_data.shards import BlockResult, DatasetReader, DatasetWriter, Sample
from pearl_data.trajectory import Trajectory, identity_sha256
from pearl_tools.errors import BadInput, UsageError
from pearl_train.asking.questions import places
from pearl_train.run.data import open_dataset
from pearl_train.run.folder import data_sha256
from pearl_train.run.names import folder_name

SHARE = 0.25
_BLOCK = 64
#: Splits that are for testing, the better name first.
_TEST_SPLITS = ("test", "val")


class Asked(NamedTuple):
    """What of a sample matters here and for rules that do not look: no pixels."""

    key: str
    identity: str
    roots: tuple[str, ...]
    family: str
    answer: str
    choices: tuple[str, ...]


class Side(NamedTuple):
    """A data set and the split to use (None: all of it). ``splits`` are those that it has."""

    path: Path
    split: str | None
    samples: Sequence[Asked]
    splits: frozenset[str] = frozenset()


class HeldOut(NamedTuple):
    """What is trained on, what is tested on, and the pictures (by hash) that are in both.

    ``how`` says in a sentence how they were kept apart.
    """

    train: Side
    test: Side
    shared_pictures: int
    how: str


def hold_out(
    data: Path,
    split: str,
    out: Path,
    *,
    test: Path | None = None,
    test_split: str | None = None,
    seed: int = 0,
    share: float = SHARE,
    allow_unfinished: bool = False,
) -> HeldOut:
    """Train and test side of ``data`` (its split ``split``).

    ``test`` is a data set of its own, ``test_split`` the split of it, or of ``data``, to test on.
    Without either, a split ``test`` or ``val`` of ``data``; without that, ``share`` (0..1) of the
    pictures, chosen by ``seed``, with everything asked about them, goes to ``out/test`` and the
    rest to ``out/train``. Raises ``UsageError`` if a question is on both sides, and ``BadInput``
    for data whose run has not ended unless ``allow_unfinished``.
    """
    side = partial(_side, allow_unfinished=allow_unfinished)
    train = side(data, split)
    if test is not None:
        kept = side(test, test_split)
        return _checked(train, kept, f"tested on {test}, which is a data set of its own")
    known = {sample_split for sample_split in train.splits if sample_split != split}
    chosen = test_split or next((name for name in _TEST_SPLITS if name in known), None)
    if chosen is not None:
        return _checked(train, side(data, chosen), f"tested on the split {chosen} of the same data")
    return _divided(train, out, seed, share)


def asked(record: Trajectory) -> Asked:
    """The part of a record that is asked, and its answer."""
    task = record.task
    roots = tuple(medium.pixel_sha256 for medium in record.media if medium.parent is None)
    return Asked(
        key=record.id,
        identity=identity_sha256(record),
        roots=roots,
        family=task.family,
        answer=task.answer,
        choices=tuple(task.choices),
    )


def _side(path: Path, split: str | None, *, allow_unfinished: bool = False) -> Side:
    with open_dataset(path, check=False, allow_unfinished=allow_unfinished) as reader:
        chosen = places(reader, split)
        samples = [asked(reader.record(number)) for number in chosen]
        splits = {place.line.split for place in reader.places if place.line.split is not None}
    return Side(path, split, samples, frozenset(splits))


def _checked(train: Side, test: Side, how: str) -> HeldOut:
    learned = {sample.identity: sample.key for sample in train.samples}
    both = [(learned[s.identity], s.key) for s in test.samples if s.identity in learned]
    if both:
        pairs = ", ".join(f"{a} = {b}" if a != b else a for a, b in both[:3])
        raise UsageError(
            f"expected no question on both sides, got {len(both)} of {len(test.samples)} test "
            f"questions in {train.path} as well (same pictures, question and choices: {pairs}); "
            "give another --test, or leave it out: part of the pictures is then held out"
        )
    seen = {root for sample in train.samples for root in sample.roots}
    shared = {root for sample in test.samples for root in sample.roots if root in seen}
    return HeldOut(train, test, len(shared), how)


def _divided(whole: Side, out: Path, seed: int, share: float) -> HeldOut:
    """Two data sets made of ``whole``, no picture in both."""
    held = held_keys(whole.samples, seed, share)
    if not held or len(held) == len(whole.samples):
        raise UsageError(
            f"{whole.path}: expected pictures enough to hold {100 * share:g} % of "
            f"{len(whole.samples)} samples out, got too few different ones; give --test DIR"
        )
    config: dict[str, Any] = {
        "part_of": data_sha256(whole.path),
        "split": whole.split,
        "seed": seed,
        "share": share,
    }
    test = _written(whole, held, out / "test", {**config, "part": "test"}, "test")
    rest = {sample.key for sample in whole.samples} - held
    train = _written(
        whole, rest, out / "train", {**config, "part": "train"}, whole.split or "train"
    )
    how = (
        f"{100 * share:g} % of the samples of {folder_name(whole.path)} held out by picture "
        f"(seed {seed}): no picture is on both sides"
    )
    return _checked(train, test, how)


def held_keys(samples: Sequence[Asked], seed: int, share: float) -> set[str]:
    """The keys of about ``share`` of ``samples``: whole groups of those that share a picture."""
    groups = list(_by_picture(samples))
    rng_for(seed, "held-out").shuffle(groups)
    held: set[str] = set()
    for group in groups:
        if len(held) >= share * len(samples):
            break
        held |= group
    return held


def _by_picture(samples: Sequence[Asked]) -> Iterator[set[str]]:
    """Keys of samples that are linked by pictures, in an order that follows from the pictures."""
    leader: dict[str, str] = {}

    def find(picture: str) -> str:
        """The least of all pictures that are linked with this one."""
        while leader.setdefault(picture, picture) != picture:
            leader[picture] = picture = leader[leader[picture]]
        return picture

    for sample in samples:
        for other in sample.roots[1:]:
            first, second = sorted((find(sample.roots[0]), find(other)))
            leader[second] = first
    groups: dict[str, set[str]] = {}
    for sample in samples:
        groups.setdefault(find((sample.roots or (sample.key,))[0]), set()).add(sample.key)
    yield from (groups[name] for name in sorted(groups))


def _written(whole: Side, keys: set[str], folder: Path, config: dict[str, Any], split: str) -> Side:
    """The samples ``keys`` of ``whole`` as the data set ``folder``; one that is there is kept."""
    with DatasetReader(whole.path, allow_unfinished=True) as reader:  # as its side was read
        header = reader.manifest.header if reader.manifest else None
        if header is not None and "executor" in header.config:
            config = {**config, "executor": header.config["executor"]}
        tools = dict(header.tools) if header else {}
        numbers = [n for n, place in enumerate(reader.places) if place.line.key in keys]
        blocks = [numbers[start : start + _BLOCK] for start in range(0, len(numbers), _BLOCK)]
        with (
            DatasetWriter.open(folder, config, tools=tools) as writer,
            Progress(f"hold out {folder.name}", len(blocks), "blocks") as progress,
        ):
            if writer.summary is None:
                for index in range(writer.next_block, len(blocks)):
                    samples = [_renamed(reader[number], split) for number in blocks[index]]
                    writer.add_block(index, BlockResult(len(samples), samples, [], []))
                    progress.advance()
                writer.close()
    side = _side(folder, None)
    if {sample.key for sample in side.samples} != keys:
        raise BadInput(
            f"{folder}: expected the {len(keys)} samples held apart by this seed, got "
            f"{len(side.samples)}; remove the folder and run again"
        )
    return side


def _renamed(sample: Sample, split: str) -> Sample:
    return Sample(msgspec.structs.replace(sample.trajectory, split=split), sample.members)


def sides_sha256(held: HeldOut) -> str:
    """A name for exactly these two sides."""
    text = "".join(f"{data_sha256(side.path)} {side.split}\n" for side in (held.train, held.test))
    return hashlib.sha256(text.encode()).hexdigest()
