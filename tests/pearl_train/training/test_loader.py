"""The order of samples follows from seed and step alone; what is left out is counted by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_samples import changed, tiny_sample

from pearl_data.shards import BlockResult, DatasetReader, DatasetWriter, Sample
from pearl_tools.errors import BadInput, UsageError
from pearl_train.settings.config import DataConfig
from pearl_train.training.loader import TrainingData, numbers_of, shared_questions
from pearl_train.views.batch import Batch, ViewPlan
from pearl_train.views.encode import Encoder
from pearl_train.views.tally import Outcome

Make = Callable[..., Encoder]
PLAN = ViewPlan(("answer", "pred"), 4, target=True)


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Make) -> Encoder:
    return tiny_encoder("fast_vlm")


def data_of(folder: Path, encoder: Encoder, **options: Any) -> TrainingData:
    chosen = {"split": "train", "seed": 0, "batch": 8, "micro_batch": 8} | options
    return TrainingData(DatasetReader(folder), PLAN, encoder, **chosen)


def keys(steps: list[list[Batch]]) -> list[list[list[str]]]:
    return [[list(batch.keys) for batch in step] for step in steps]


def same(first: Any, second: Any) -> bool:
    """Equal to the last bit."""
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if is_dataclass(first):
        return all(same(getattr(first, f.name), getattr(second, f.name)) for f in fields(first))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def written(folder: Path, samples: list[Sample]) -> Path:
    with DatasetWriter.open(folder, {}, tools={}) as writer:
        writer.add_block(0, BlockResult(len(samples), samples, [], []))
        writer.close()
    return folder


# The order


def test_the_order_is_a_function_of_seed_and_epoch(tiny_data: Path, encoder: Encoder) -> None:
    data, again = (data_of(tiny_data, encoder, seed=3) for _ in range(2))
    orders = [data.order(epoch) for epoch in (0, 1, 2)]
    assert orders == [again.order(epoch) for epoch in (2, 1, 0)][::-1]
    assert len({tuple(order) for order in orders}) == 3
    assert data_of(tiny_data, encoder, seed=4).order(0) != orders[0]


def test_every_epoch_has_every_sample_of_the_split_once(tiny_data: Path, encoder: Encoder) -> None:
    data = data_of(tiny_data, encoder)
    assert len(data) == 12
    assert sorted(data.order(5)) == data.numbers == list(range(12))
    assert data_of(tiny_data, encoder, split="val").numbers == list(range(12, 16))
    assert len(data_of(tiny_data, encoder, split=None)) == 20


def test_an_epoch_may_end_inside_a_step(tiny_data: Path, encoder: Encoder) -> None:
    data = data_of(tiny_data, encoder)
    places = data.samples.reader.places
    walked = [k for step in keys(list(data.batches(0, 3))) for micro in step for k in micro]
    expected = [places[n].line.key for epoch in (0, 1) for n in data.order(epoch)]
    assert walked == expected
    assert data.steps_per_epoch == 1.5


def test_starting_later_is_skipping(tiny_data: Path, encoder: Encoder) -> None:
    whole = list(data_of(tiny_data, encoder, micro_batch=3).batches(0, 5))
    resumed = list(data_of(tiny_data, encoder, micro_batch=3).batches(2, 5))
    assert same(whole[2:], resumed)


def test_without_an_end_there_is_always_another_step(tiny_data: Path, encoder: Encoder) -> None:
    stream = data_of(tiny_data, encoder).batches(1_000_000)
    assert [len(next(stream)) for _ in range(3)] == [1, 1, 1]


# Processes and micro-batches


@pytest.mark.parametrize(("batch", "micro_batch"), [(8, 4), (8, 2), (7, 2), (5, 4)])
def test_more_processes_share_the_micro_batches_of_one(
    batch: int, micro_batch: int, tiny_data: Path, encoder: Encoder
) -> None:
    alone = data_of(tiny_data, encoder, batch=batch, micro_batch=2 * micro_batch)
    both = [
        data_of(tiny_data, encoder, batch=batch, micro_batch=micro_batch, rank=rank, world=2)
        for rank in (0, 1)
    ]
    for step in range(4):
        shares = [data.shares(step) for data in both]
        assert len(shares[0]) == len(shares[1])
        joined = [first + second for first, second in zip(*shares, strict=True)]
        assert joined == alone.shares(step)


def test_micro_batches_are_the_batch_in_parts(tiny_data: Path, encoder: Encoder) -> None:
    whole = keys(list(data_of(tiny_data, encoder).batches(0, 3)))
    parts = keys(list(data_of(tiny_data, encoder, micro_batch=3).batches(0, 3)))
    assert [[len(micro) for micro in step] for step in parts] == [[3, 3, 2]] * 3
    assert [[[key for micro in step for key in micro]] for step in parts] == whole


def test_a_process_without_a_share_gets_a_batch_that_adds_nothing(
    tiny_data: Path, encoder: Encoder
) -> None:
    first, second = (
        next(data_of(tiny_data, encoder, batch=1, rank=rank, world=2).batches()) for rank in (0, 1)
    )
    ((empty,), (full,)) = (first, second)
    assert (len(empty.keys), len(full.keys)) == (0, 1)
    assert set(empty.counts.values()) == {0}
    assert len(empty.context.ids) == 1
    assert len(empty.context.learned["answer"].id) == 0


# Workers and memory


def test_workers_change_nothing(tiny_data: Path, encoder: Encoder) -> None:
    none = list(data_of(tiny_data, encoder, micro_batch=3).batches(1, 4))
    two = list(data_of(tiny_data, encoder, micro_batch=3, workers=2).batches(1, 4))
    assert same(none, two)


def test_what_is_remembered_is_what_was_encoded(tiny_data: Path, encoder: Encoder) -> None:
    forgetful = data_of(tiny_data, encoder, cache_bytes=0)
    data = data_of(tiny_data, encoder)
    assert same(list(data.batches(0, 4)), list(forgetful.batches(0, 4)))
    known = data.samples._remembered
    assert (len(known), len(forgetful.samples._remembered)) == (12, 0)
    assert (1 << 30) - known.room_bytes < 12 * 4 * 64 * 64 * 4 * 3


def test_reading_leaves_the_random_numbers_of_training_alone(
    tiny_data: Path, encoder: Encoder
) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    list(data_of(tiny_data, encoder, workers=1).batches(0, 2))
    assert torch.equal(torch.rand(3), expected)


# Validation


def test_validation_sees_every_sample_once_in_order(tiny_data: Path, encoder: Encoder) -> None:
    data = data_of(tiny_data, encoder, split="val", micro_batch=3)
    assert keys(list(data.once())) == [[["val-100", "val-101", "val-102"]], [["val-103"]]]
    assert keys(list(data.once(most=2))) == [[["val-100", "val-101"]]]
    shares = [
        keys(list(data_of(tiny_data, encoder, split="val", micro_batch=1, rank=r, world=3).once()))
        for r in (0, 1, 2)
    ]
    assert shares == [
        [[["val-100"]], [[]]],
        [[["val-101"]], [[]]],
        [[["val-102"]], [["val-103"]]],
    ]


def test_validation_of_which_nothing_can_be_encoded_is_none(
    tiny_data: Path, tiny_encoder: Make
) -> None:
    encoder = tiny_encoder("fast_vlm", data=DataConfig(max_tokens=10))
    for rank in (0, 1):
        data = data_of(tiny_data, encoder, split="val", micro_batch=1, rank=rank, world=2)
        assert list(data.once()) == []
        assert sum(data.tally.counts().values()) == 4


def test_the_same_question_in_training_and_test_is_found(tiny_data: Path, tmp_path: Path) -> None:
    reader = DatasetReader(tiny_data)
    train, test = numbers_of(reader, "train"), numbers_of(reader, "test")
    assert shared_questions(reader, train, reader, test) == []
    again = changed(tiny_sample(3), id="leaked", split="test")
    other = DatasetReader(written(tmp_path / "set", [tiny_sample(300, "test"), again]))
    found = shared_questions(reader, train, other, numbers_of(other, "test"))
    assert found == [("train-003", "leaked")]


# What is left out, and what is wrong


def test_dropped_samples_are_counted_by_reason_and_named(
    tiny_data: Path, tiny_encoder: Make
) -> None:
    # two root pictures make the longest rows
    encoder = tiny_encoder("fast_vlm", data=DataConfig(max_tokens=240, too_long="drop"))
    plan = ViewPlan(("trajectory",))
    data = TrainingData(
        DatasetReader(tiny_data), plan, encoder, split="train", seed=0, batch=8, micro_batch=4
    )
    steps = list(data.batches(0, 3))
    dropped = data.tally.dropped["too-long"]
    kept = {key for step in keys(steps) for micro in step for key in micro}
    assert kept
    assert dropped
    assert kept | dropped.keys() == {f"train-{n:03d}" for n in range(12)}
    assert not kept & dropped.keys()
    assert data.tally.counts() == {"dropped: too-long": len(dropped)}
    assert all(detail.endswith("tokens, of 240") for detail in dropped.values())


def test_who_has_no_cached_target_leaves_the_others_where_they_are(
    tiny_data: Path, encoder: Encoder
) -> None:
    """So every objective that is compared sees them in the same steps."""
    plain, without = (data_of(tiny_data, encoder, batch=4) for _ in range(2))
    known = {"train-003": Outcome("too-long", "9 of 8"), "train-005": Outcome(changes=("dark",))}
    without.samples.beforehand = known
    walked = [keys(list(data.batches(0, 6))) for data in (plain, without)]
    expected = [
        [[key for key in micro if key != "train-003"] for micro in step] for step in walked[0]
    ]
    assert walked[1] == expected != walked[0]
    assert without.tally.counts() == {"dropped: too-long": 1, "changed: dark": 1}
    assert without.tally.dropped == {"too-long": {"train-003": "9 of 8"}}
    later = data_of(tiny_data, encoder, batch=4)
    later.samples.beforehand = known
    assert keys(list(later.batches(2, 6))) == walked[1][2:]


def test_some_are_wanted_in_the_batches_of_all(tiny_data: Path, encoder: Encoder) -> None:
    data = data_of(tiny_data, encoder, micro_batch=5)
    whole = keys(list(data.once()))
    assert keys(list(data.once(wanted={3, 11}))) == [whole[0], whole[2]]


def test_what_is_tried_for_an_empty_share_is_not_counted(
    tiny_data: Path, tiny_encoder: Make
) -> None:
    """Else the counts would hang on the number of processes."""
    encoder = tiny_encoder("qwen2_5_vl", max_pixels=80 * 60)
    data = data_of(tiny_data, encoder, batch=1, rank=0, world=2)
    assert [batch.keys for batch in next(data.batches())] == [()]
    assert data.tally.counts() == {}


def test_changed_samples_are_counted_by_change(tiny_data: Path, tiny_encoder: Make) -> None:
    encoder = tiny_encoder("qwen2_5_vl", max_pixels=80 * 60)
    data = data_of(tiny_data, encoder)
    list(data.batches(0, 3))  # an epoch and a half
    assert data.tally.counts() == {"changed: max-pixels": 12}


def test_where_nothing_is_left_it_is_said_why(tiny_data: Path, tiny_encoder: Make) -> None:
    encoder = tiny_encoder("fast_vlm", data=DataConfig(max_tokens=10))
    with pytest.raises(BadInput, match=r"12 of which all were dropped.*text-too-long': 12") as told:
        next(data_of(tiny_data, encoder).batches())
    assert str(told.value).endswith("raise data.max_tokens (10), which the words alone exceed")
    assert "downscale" not in str(told.value), "it is in force"
    encoder = tiny_encoder("fast_vlm", data=DataConfig(max_tokens=10, too_long="drop"))
    with pytest.raises(BadInput, match=r'set data.too_long = "downscale", or raise'):
        next(data_of(tiny_data, encoder).batches())


def test_a_micro_batch_of_dropped_samples_adds_nothing(tmp_path: Path, tiny_encoder: Make) -> None:
    long = changed(tiny_sample(0), id="long", task__question="word " * 400)
    folder = written(tmp_path / "set", [long, tiny_sample(1)])
    data = data_of(
        folder, tiny_encoder("fast_vlm", data=DataConfig(max_tokens=300)), batch=2, micro_batch=1
    )
    (step,) = data.batches(0, 1)
    assert sorted(batch.keys for batch in step) == [(), ("train-001",)]
    assert data.tally.counts() == {"dropped: text-too-long": 1}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_sample_stops_the_run_by_name(
    workers: int, tmp_path: Path, encoder: Encoder
) -> None:
    good = tiny_sample(0)
    broken = Sample(good.trajectory, {**good.members, "i0.jpg": good.members["i0.jpg"][:300]})
    data = data_of(written(tmp_path / "set", [broken]), encoder, workers=workers)
    with pytest.raises(BadInput, match=r"^\S+, sample train-000: media\.i0 \(i0\.jpg\): expected"):
        next(data.batches())


def test_an_altered_byte_stops_the_run_by_name(tmp_path: Path, encoder: Encoder) -> None:
    folder = written(tmp_path / "set", [tiny_sample(0)])
    (tar,) = (folder / "shards").glob("*.tar")
    content = bytearray(tar.read_bytes())
    at = content.index(tiny_sample(0).members["i0.jpg"]) + 500
    content[at] ^= 1
    tar.write_bytes(content)
    with pytest.raises(BadInput, match=r"train-000"):
        next(data_of(folder, encoder).batches())


def test_a_split_without_samples_is_refused(tiny_data: Path, encoder: Encoder) -> None:
    with pytest.raises(UsageError, match=r"split 'dev', got none; the data hold test \(4\), train"):
        data_of(tiny_data, encoder, split="dev")


def test_a_bare_tar_tells_its_splits_by_its_records(tiny_data: Path) -> None:
    tars = sorted((tiny_data / "shards").glob("*.tar"))
    assert len(numbers_of(DatasetReader(tars), "val")) == 4
