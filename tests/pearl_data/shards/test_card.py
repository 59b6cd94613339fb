from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from trajectories import build_sample

from pearl_data.shards import BlockResult, DatasetWriter, Sample
from pearl_data.shards.card import hf_splits

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write(out: Path, blocks: Sequence[Sequence[Sample]], *, per_shard: int = 2) -> Path:
    with DatasetWriter.open(out, {}, samples_per_shard=per_shard, tools={}) as writer:
        for index, samples in enumerate(blocks):
            writer.add_block(index, BlockResult(len(samples), list(samples), [], []))
        writer.close()
    return out


def run_lines_of_card(folder: Path) -> dict[str, Any]:
    """The very lines of the card, with the folder in the place of its name; what they leave."""
    card = (folder / "README.md").read_text()
    (lines,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    names: dict[str, Any] = {}
    exec(lines.replace("PATH/OF/THIS/FOLDER", str(folder)), names)  # noqa: S102 - our own card
    return names


def keys_by_split(splits: Any) -> dict[str, list[str]]:
    return {name: [row["__key__"] for row in rows] for name, rows in splits.items()}


def test_one_split(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", [[build_sample("a", seed=1), build_sample("b", seed=2)]])
    left = run_lines_of_card(folder)
    assert keys_by_split(left["splits"]) == {"train": ["a", "b"]}
    assert left["trajectory"]["id"] == "b"
    assert left["picture"].size == (160, 120)


def test_two_splits_in_one_block(tmp_path: Path) -> None:
    samples = [
        build_sample(f"s{n}", seed=n, split="val" if n in (1, 4) else "train") for n in range(6)
    ]
    left = run_lines_of_card(write(tmp_path / "set", [samples[:3], samples[3:]]))
    assert keys_by_split(left["splits"]) == {
        "train": ["s0", "s2", "s3", "s5"],
        "val": ["s1", "s4"],
    }


def test_a_split_in_a_later_shard_and_fields_that_the_first_samples_lack(tmp_path: Path) -> None:
    first = [build_sample(f"a{n}", seed=n) for n in range(6)]
    deep = build_sample("b0", seed=7, depth=True, second_crop=True, suffix="png", split="val")
    left = run_lines_of_card(write(tmp_path / "set", [first, [deep]], per_shard=6))
    assert keys_by_split(left["splits"]) == {"train": [f"a{n}" for n in range(6)], "val": ["b0"]}
    (row,) = left["splits"]["val"]
    assert {name for name in row if row[name] is not None} == {
        "__key__", "__url__", "json", "i0.png", "o1.png", "o2.png", "o3.npy", "o3.png",
    }  # fmt: skip
    assert left["splits"]["train"][0]["o3.npy"] is None
    assert left["picture"].size == (160, 120)  # "i0.jpg", or "i0.png" of a sample without it


def test_a_set_of_png_roots_alone_names_them(tmp_path: Path) -> None:
    sample = build_sample("a", suffix="png")
    left = run_lines_of_card(write(tmp_path / "set", [[sample]]))
    assert left["picture"].size == (160, 120)


@pytest.mark.parametrize("split", ["all", "val-2", "7", "null"])
def test_names_of_splits_that_the_loader_reserves_or_cannot_say(tmp_path: Path, split: str) -> None:
    folder = write(tmp_path / "set", [[build_sample("a", split=split), build_sample("b", seed=1)]])
    left = run_lines_of_card(folder)
    assert keys_by_split(left["splits"]) == {hf_splits([split])[split]: ["a"], "train": ["b"]}


def test_a_tar_that_the_manifest_does_not_name_is_not_loaded(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", [[build_sample("a")]])
    other = write(tmp_path / "other", [[build_sample("b", seed=1)]])
    (other / "shards/000000.tar").rename(folder / "shards/000007.tar")
    assert keys_by_split(run_lines_of_card(folder)["splits"]) == {"train": ["a"]}


def test_an_empty_set_has_a_card_without_lines(tmp_path: Path) -> None:
    card = (write(tmp_path / "set", []) / "README.md").read_text()
    assert "load_dataset" not in card
    assert "configs:" not in card


def test_every_tar_holds_one_split_and_the_samples_of_a_commit_come_together(
    tmp_path: Path,
) -> None:
    samples = [build_sample(f"s{n}", seed=n, split="val" if n % 2 else "train") for n in range(4)]
    folder = write(tmp_path / "set", [samples])
    lines = [
        msgspec.json.decode(line)
        for line in (folder / "manifest.jsonl").read_bytes().splitlines()[1:-1]
    ]
    assert [(x["split"], x["first_key"], x["first_block"], x["next_block"]) for x in lines] == [
        ("train", "s0", 0, 0),
        ("val", "s1", 0, 1),
    ]
