from __future__ import annotations

from pathlib import Path

import pytest
from tiny_samples import changed, tiny_sample

from pearl_data.shards import BlockResult, DatasetReader, DatasetWriter, Sample
from pearl_tools.errors import UsageError
from pearl_train.comparing.held_out import Asked, asked, held_keys, hold_out


def dataset(folder: Path, samples: list[Sample]) -> Path:
    with DatasetWriter.open(folder, {"executor": {"min_side_px": 5}}, tools={}) as writer:
        writer.add_block(0, BlockResult(len(samples), samples, [], []))
        writer.close()
    return folder


def sample(number: int, split: str = "train") -> Sample:
    return changed(tiny_sample(number, split), id=f"s{number:03d}")


@pytest.fixture
def one_split(tmp_path: Path) -> Path:
    """Eight questions on six pictures, all of split train."""
    again = [
        changed(sample(number), id=f"again{number}", task__question="What else?")
        for number in (0, 1)
    ]
    return dataset(tmp_path / "set", [*map(sample, range(6)), *again])


def test_a_picture_with_all_its_questions_is_on_one_side(one_split: Path, tmp_path: Path) -> None:
    held = hold_out(one_split, "train", tmp_path / "out", seed=1)
    train, test = held.train.samples, held.test.samples
    assert len(train) + len(test) == 8
    assert 2 <= len(test) <= 3
    assert not {r for s in train for r in s.roots} & {r for s in test for r in s.roots}
    assert held.shared_pictures == 0
    for side in (held.train, held.test):
        with DatasetReader(side.path) as reader:
            assert reader.verify() == []
            assert reader.manifest is not None
            assert reader.manifest.header.config["executor"] == {"min_side_px": 5}
    with DatasetReader(held.train.path) as reader:
        assert {place.line.split for place in reader.places} == {"train"}


def test_the_same_seed_holds_the_same_out(one_split: Path, tmp_path: Path) -> None:
    first = hold_out(one_split, "train", tmp_path / "a", seed=1)
    again = hold_out(one_split, "train", tmp_path / "a", seed=1)
    elsewhere = hold_out(one_split, "train", tmp_path / "b", seed=1)
    assert first.test.samples == again.test.samples == elsewhere.test.samples
    files = [(tmp_path / name / "test" / "manifest.jsonl").read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]


def test_pictures_that_share_a_question_stay_together() -> None:
    linked = [ask_of("a", "p"), ask_of("b", "q"), ask_of("c", "q", "p"), ask_of("d", "r")]
    for seed in range(20):
        held = held_keys(linked, seed, 0.25)
        assert held in ({"a", "b", "c"}, {"d"})
        assert held == held_keys(linked[::-1], seed, 0.25)


def ask_of(key: str, *roots: str) -> Asked:
    return Asked(key, f"identity {key}", roots, "read", "A", ("A", "B"))


def test_splits_that_are_there_are_used(tiny_data: Path, tmp_path: Path) -> None:
    held = hold_out(tiny_data, "train", tmp_path / "out")
    assert (held.test.split, len(held.test.samples), len(held.train.samples)) == ("test", 4, 12)
    assert held.test.path == tiny_data
    assert not (tmp_path / "out").exists()
    by_wish = hold_out(tiny_data, "train", tmp_path / "out", test_split="val")
    assert [s.key for s in by_wish.test.samples] == [f"val-{n}" for n in range(100, 104)]


def test_a_question_on_both_sides_is_refused(one_split: Path, tmp_path: Path) -> None:
    other = dataset(tmp_path / "other", [sample(40), changed(sample(3), id="renamed")])
    with pytest.raises(UsageError, match=r"1 of 2 test questions .*s003 = renamed"):
        hold_out(one_split, "train", tmp_path / "out", test=other)


def test_a_picture_that_is_in_both_is_counted(one_split: Path, tmp_path: Path) -> None:
    near = changed(sample(3), id="near", task__question="Which colour exactly?")
    other = dataset(tmp_path / "other", [sample(40), near])
    assert hold_out(one_split, "train", tmp_path / "out", test=other).shared_pictures == 1


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    single = dataset(tmp_path / "set", [sample(0)])
    with pytest.raises(UsageError, match="give --test DIR"):
        hold_out(single, "train", tmp_path / "out")


def test_what_is_asked_holds_no_pixels_and_no_steps() -> None:
    found = asked(sample(0).trajectory)
    assert found.answer in found.choices
    assert len(found.roots) == 1
