from __future__ import annotations

import gc
import io
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image
from trajectories import build_block, build_sample

from pearl_data.shards import BlockResult, DatasetReader, DatasetWriter, read_manifest
from pearl_tools.errors import BadInput


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("read") / "set"
    with DatasetWriter.open(out, {}, samples_per_shard=6, tools={}) as writer:
        for index in range(4):
            writer.add_block(index, build_block(index))
        writer.close()
    return out


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A dataset of one shard with two samples, to be hurt."""
    out = tmp_path / "set"
    samples = [build_sample("a", seed=1), build_sample("b", seed=2, depth=True)]
    with DatasetWriter.open(out, {}, tools={}) as writer:
        writer.add_block(0, BlockResult(2, samples, [], []))
        writer.close()
    return out


def tars(dataset: Path) -> list[str]:
    return sorted(map(str, (dataset / "shards").iterdir()))


def test_samples_come_back_as_they_were_written(dataset: Path) -> None:
    expected = [sample for index in range(4) for sample in build_block(index).samples]
    expected = [sample for sample in expected if sample.trajectory.id != "s000010"]  # duplicate
    reader = DatasetReader(dataset)
    assert list(reader) == expected
    assert reader[-1] == expected[-1]
    assert reader[2:4] == expected[2:4]
    assert reader.get("s000004") == expected[4]
    assert reader.keys() == reader.keys("train") == [sample.trajectory.id for sample in expected]
    assert reader.keys("test") == []
    with pytest.raises(KeyError):
        reader.get("nobody")


def test_bare_tars_read_like_the_dataset(dataset: Path) -> None:
    assert list(DatasetReader(tars(dataset))) == list(DatasetReader(dataset))
    assert len(DatasetReader(tars(dataset)[0])) == read_manifest(dataset).shards[0].samples


def test_a_reader_survives_pickling_and_closing(dataset: Path) -> None:
    reader = DatasetReader(dataset)
    first = reader[0]
    copy = pickle.loads(pickle.dumps(reader))  # noqa: S301  # our own bytes
    reader.close()
    assert copy[0] == reader[0] == first


def test_plain_tarfile_reads_the_shards(dataset: Path) -> None:
    with tarfile.open(tars(dataset)[0]) as tar:
        names = tar.getnames()
        record = tar.extractfile("s000000.json")
        assert record
        assert msgspec.json.decode(record.read())["id"] == "s000000"
    assert names == sorted(names)
    assert names[:4] == ["s000000.i0.jpg", "s000000.json", "s000000.o1.png", "s000000.o2.npy"]


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning",  # webdataset 1.0.2 leaves the tars open
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
def test_webdataset_reads_and_decodes_the_shards(dataset: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    rows = list(webdataset.WebDataset(tars(dataset), shardshuffle=False).decode("rgb8"))
    assert [row["__key__"] for row in rows] == DatasetReader(dataset).keys()
    first, sample = rows[0], DatasetReader(dataset)[0]
    assert first["json"]["task"]["question"] == sample.trajectory.task.question
    assert first["i0.jpg"].shape == (120, 160, 3)
    assert first["o1.png"].dtype == np.uint8
    assert first["o2.npy"].dtype == np.float32
    crop = np.asarray(Image.open(io.BytesIO(sample.members["o1.png"])))
    assert np.array_equal(first["o1.png"], crop)
    gc.collect()  # while the warnings of its open files are still ignored


def test_hugging_face_datasets_loads_samples_with_different_fields(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset(str(dataset), split="train", cache_dir=str(tmp_path / "cache"))
    reader = DatasetReader(dataset)
    assert rows.num_rows == len(reader)
    assert {tuple(sorted(reader.members(n))) for n in range(6)} != {tuple(reader.members(0))}
    for number, row in enumerate(rows):
        members = reader.members(number)
        assert row["__key__"] == reader.keys()[number]
        assert_equal_to_ten_decimals(row["json"], msgspec.json.decode(members["json"]))
        assert {name for name in row if row[name] is not None} == {
            "__key__",
            "__url__",
            *members,
        }
        assert row["i0.jpg"].size == (160, 120)
    depth = np.load(io.BytesIO(reader.members(0)["o2.npy"]), allow_pickle=False)
    assert np.array_equal(np.array(rows[0]["o2.npy"], dtype=np.float32), depth)


def assert_equal_to_ten_decimals(left: Any, right: Any) -> None:
    if isinstance(right, dict):
        assert left.keys() == right.keys()
        for key, value in right.items():
            assert_equal_to_ten_decimals(left[key], value)
    elif isinstance(right, list):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_equal_to_ten_decimals(one, other)
    elif isinstance(right, float):
        assert abs(left - right) < 1e-9
    else:
        assert left == right


def test_every_flipped_byte_of_a_shard_is_found_with_its_key(small: Path) -> None:
    path = small / "shards/000000.tar"
    data = bytearray(path.read_bytes())
    reader = DatasetReader(small)
    assert reader.verify() == []
    edges = [
        (slot.offset - 512, slot.offset + slot.size, place.line.key)
        for place in reader.places
        for slot in place.line.members
    ]
    for offset in (*range(0, 1024, 3), *range(1024, len(data), 29)):
        data[offset] ^= 1 << offset % 8
        path.write_bytes(data)
        faults = reader.verify()
        data[offset] ^= 1 << offset % 8
        assert faults, offset
        assert all(fault.file == "shards/000000.tar" for fault in faults)
        keys = [key for start, _, key in edges if start <= offset]
        assert [fault.key for fault in faults] == [keys[-1]], offset
        assert all(fault.offset is not None and fault.offset <= offset for fault in faults)


def test_every_truncation_of_a_shard_is_found_with_its_key(small: Path) -> None:
    path = small / "shards/000000.tar"
    data = path.read_bytes()
    reader = DatasetReader(small)
    for length in range(0, len(data), 101):
        path.write_bytes(data[:length])
        faults = reader.verify()
        assert faults[-1].code == "parse.truncated", length
        assert faults[-1].key in {"a", "b"}
        assert faults[-1].file == "shards/000000.tar"


def test_added_bytes_are_found(small: Path) -> None:
    path = small / "shards/000000.tar"
    reader = DatasetReader(small)
    path.write_bytes(path.read_bytes() + bytes(512))
    assert [(fault.code, fault.key) for fault in reader.verify()] == [("parse.checksum", "b")]
    with pytest.raises(BadInput, match=r"expected \d+ bytes, got"):
        DatasetReader(small)


@pytest.mark.parametrize("name", ["manifest.jsonl", "index/000000.jsonl"])
def test_every_flipped_bit_of_manifest_and_index_is_found(small: Path, name: str) -> None:
    path = small / name
    data = bytearray(path.read_bytes())
    for offset in range(len(data)):
        bit = 1 << (offset % 7)
        data[offset] ^= bit
        path.write_bytes(data)
        assert is_refused_or_found(small), (offset, bit)
        data[offset] ^= bit


def is_refused_or_found(dataset: Path) -> bool:
    try:
        return bool(DatasetReader(dataset).verify())
    except BadInput:
        return True


def test_altered_bytes_are_never_delivered(small: Path) -> None:
    path = small / "shards/000000.tar"
    data = bytearray(path.read_bytes())
    slot = DatasetReader(small).places[1].line.members[0]
    data[slot.offset + 40] ^= 4
    path.write_bytes(data)
    reader = DatasetReader(small)
    assert reader[0].trajectory.id == "a"
    with pytest.raises(BadInput, match=r"shards/000000\.tar, sample b: expected i0\.jpg"):
        reader[1]


def test_what_the_manifest_does_not_name_is_not_read(small: Path) -> None:
    shutil.copy(small / "shards/000000.tar", small / "shards/000001.tar")
    assert len(DatasetReader(small)) == 2


def test_a_missing_shard_is_named(small: Path) -> None:
    reader = DatasetReader(small)
    (small / "shards/000000.tar").unlink()
    assert [(f.code, f.file) for f in reader.verify()] == [
        ("parse.missing_member", "shards/000000.tar")
    ]
    with pytest.raises(BadInput, match="no file; run pearl-data validate"):
        DatasetReader(small)
