from __future__ import annotations

import shlex
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from trajectories import build_sample

from pearl_data.cli.show import show
from pearl_data.shards import BlockResult, DatasetWriter
from pearl_data.trajectory import canonical_json
from pearl_tools.errors import BadInput, UsageError


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show") / "set"
    writer = DatasetWriter.open(folder, {"seed": 0}, samples_per_shard=8)
    samples = [build_sample(f"s{n:06d}", seed=n, depth=n == 0) for n in range(8)]
    writer.add_block(0, BlockResult(8, samples, [], []))
    writer.close()
    return folder


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(show, [str(a) for a in arguments])


def test_text_and_pictures_of_one_trajectory(dataset: Path, tmp_path: Path) -> None:
    result = run(dataset, "--key", "s000000", "--out", tmp_path / "one")
    assert result.exit_code == 0
    assert "took [" in result.stdout
    names = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert names == [
        "i0-boxes.png",
        "i0.jpg",
        "o1.png",
        "o2-depth.png",
        "o2.npy",
        "o2.png",
        "trajectory.png",
    ]


def test_the_example_in_the_help_runs(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = (show.help or "").partition("Example: pearl-data show ")[2]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenes").symlink_to(dataset)
    assert run(*shlex.split(example)).exit_code == 0
    assert (tmp_path / "one" / "trajectory.png").is_file()


def test_originals_come_as_they_were_stored(dataset: Path, tmp_path: Path) -> None:
    run(dataset, "--key", "s000000", "--out", tmp_path)
    sample = build_sample("s000000", depth=True)
    assert (tmp_path / "i0.jpg").read_bytes() == sample.members["i0.jpg"]


def test_boxes_are_drawn_on_the_root_in_its_own_pixels(dataset: Path, tmp_path: Path) -> None:
    run(dataset, "--key", "s000000", "--out", tmp_path)
    plain = np.asarray(Image.open(tmp_path / "i0.jpg")).astype(int)
    drawn = np.asarray(Image.open(tmp_path / "i0-boxes.png")).astype(int)
    assert plain.shape == drawn.shape
    assert 0 < (plain != drawn).any(-1).mean() < 0.2


def test_json_is_the_record_and_its_files(dataset: Path, tmp_path: Path) -> None:
    result = run(dataset, "--key", "#1", "--out", tmp_path, "--json")
    told = msgspec.json.decode(result.stdout)
    assert told["trajectory"]["id"] == "s000001"
    assert str(tmp_path / "trajectory.png") in told["files"]


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (["--key", "s00003"], "no trajectory 's00003'; it has s000003"),
        (["--key", "zebra"], "it has s000000, s000001, s000002, s000003, s000004 and 3 more"),
        (["--key", "#8"], "expected #0 to #7"),
        ([], "expected --key; it has s000000"),
    ],
)
def test_unknown_keys_name_a_few_that_exist(dataset: Path, key: list[str], told: str) -> None:
    result = run(dataset, *key)
    assert isinstance(result.exception, UsageError)
    assert told in str(result.exception)


def test_pictures_lie_in_show_key_by_default(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(dataset, "--key", "s000002")
    assert (tmp_path / "show-s000002" / "trajectory.png").is_file()


def test_unpacked_pictures_beside_a_json_file_are_found(tmp_path: Path) -> None:
    sample = build_sample("s1")
    (tmp_path / "s1.json").write_bytes(canonical_json(sample.trajectory))
    (tmp_path / "s1.i0.jpg").write_bytes(sample.members["i0.jpg"])
    result = run(tmp_path / "s1.json", "--key", "s1", "--out", tmp_path / "one")
    assert result.exit_code == 0
    assert (tmp_path / "one" / "i0-boxes.png").is_file()
    assert not (tmp_path / "one" / "o1.png").exists()


def test_names_that_leave_the_folder_are_never_read_or_written(tmp_path: Path) -> None:
    sample = build_sample("s1")
    (tmp_path / "s1.secret").write_bytes(b"secret")
    media = [
        msgspec.structs.replace(medium, name_in_sample="../s1.secret")
        for medium in sample.trajectory.media
    ]
    trajectory = msgspec.structs.replace(sample.trajectory, media=media)
    (tmp_path / "s1.json").write_bytes(canonical_json(trajectory))
    run(tmp_path / "s1.json", "--key", "s1", "--out", tmp_path / "one")
    assert [file.name for file in (tmp_path / "one").iterdir()] == ["trajectory.png"]


def test_a_position_is_that_of_the_record_whatever_its_id(tmp_path: Path) -> None:
    samples = [build_sample("same", seed=n) for n in range(2)]
    lines = [canonical_json(sample.trajectory) for sample in samples]
    path = tmp_path / "odd.jsonl"
    path.write_bytes(b"\n".join([b"not json", *lines]))
    for position, sample in enumerate(samples, 1):
        shown = run(path, "--key", f"#{position}", "--out", tmp_path / "out", "--json")
        (root, *_) = msgspec.json.decode(shown.stdout)["trajectory"]["media"]
        assert root["pixel_sha256"] == sample.trajectory.media[0].pixel_sha256
    unreadable = run(path, "--key", "#0", "--out", tmp_path / "out")
    assert isinstance(unreadable.exception, BadInput)
    assert "#0" in str(unreadable.exception)
    assert isinstance(run(path, "--key", "#3").exception, UsageError)


def test_two_stories_never_lie_in_one_folder(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "one"
    for _ in range(2):
        assert run(dataset, "--key", "s000000", "--out", out).exit_code == 0
    other = run(dataset, "--key", "s000001", "--out", out)
    assert isinstance(other.exception, UsageError)
    assert "found o2-depth.png there" in str(other.exception)
