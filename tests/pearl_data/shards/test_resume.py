"""Resuming, extending, repairing: the folder ends as that of one run, and nothing else is lost."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

import msgspec
import pytest
from trajectories import build_block

from pearl_data.shards import (
    BlockResult,
    DatasetReader,
    DatasetWriter,
    Sample,
    SummaryLine,
    read_manifest,
)
from pearl_data.shards.files import file_sha256
from pearl_data.shards.sums import PAGE, note_page, page_is_whole
from pearl_tools.errors import BadInput

BLOCKS = 8
#: Which trajectories have the split val.
VAL = 3


@cache
def built(index: int) -> BlockResult:
    """Block ``index``, made once."""
    return build_block(index)


def block(index: int, room: int | None = None) -> BlockResult:
    """Block ``index`` with two splits, cut after the sample that fills ``room``."""
    whole = built(index)
    samples = []
    for trajectory, members in whole.samples[:room]:
        split = "val" if int(trajectory.id[1:]) % VAL == 0 else "train"
        samples.append(Sample(msgspec.structs.replace(trajectory, split=split), members))
    cut = room is not None and room < len(whole.samples)
    kept = [] if cut else whole.quarantined
    return BlockResult(len(samples) + len(kept), samples, kept, whole.timings[: len(samples)])


def write(out: Path, limit: int | None = None, *, stop: int = BLOCKS, per_shard: int = 6,
          **config: object) -> SummaryLine | None:  # fmt: skip
    """A run as :func:`pearl_data.synthesise.synthesise` makes it, killed before block ``stop``."""
    with DatasetWriter.open(
        out, {"seed": 7, "limit": limit, **config}, samples_per_shard=per_shard, tools={}
    ) as writer:
        if writer.summary:
            return writer.summary
        for index in range(writer.next_block, BLOCKS):
            room = None if limit is None else limit - writer.written
            if room is not None and room <= 0:
                break
            if index >= stop:
                return None
            writer.add_block(index, block(index, room))
        return writer.close()


def contents(out: Path) -> dict[str, str]:
    return {
        path.relative_to(out).as_posix(): file_sha256(path)
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def samples_of(out: Path) -> dict[str, dict[str, bytes]]:
    reader = DatasetReader(out)
    return {key: reader.members(number) for number, key in enumerate(reader.keys())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "set"
    write(out)
    return out


LIMITS = [(1, 2), (5, 7), (6, 7), (6, 13), (12, 12), (7, None), (None, 40), (40, None), (13, 26)]


@pytest.mark.parametrize(("first", "then"), LIMITS)
@pytest.mark.parametrize("per_shard", [4, 256])
def test_a_finished_set_is_extended_to_what_one_run_makes(
    tmp_path: Path, first: int | None, then: int | None, per_shard: int
) -> None:
    direct, extended = tmp_path / "direct", tmp_path / "extended"
    write(direct, then, per_shard=per_shard)
    write(extended, first, per_shard=per_shard)
    before = samples_of(extended)
    write(extended, then, per_shard=per_shard)
    after = samples_of(extended)
    assert {key: after[key] for key in before} == before
    assert contents(extended) == contents(direct)


@pytest.mark.parametrize("stop", range(BLOCKS))
def test_an_extension_that_was_killed_is_resumed_with_any_limit(tmp_path: Path, stop: int) -> None:
    direct, extended = tmp_path / "direct", tmp_path / "extended"
    write(direct, 20)
    write(extended, 13)
    write(extended, None, stop=stop)
    written = sum(shard.samples for shard in read_manifest(extended).shards)
    if written > 20:
        with pytest.raises(BadInput, match=f"holds {written} trajectories"):
            write(extended, 20)
    else:
        write(extended, 20)
        assert contents(extended) == contents(direct)


def test_a_smaller_limit_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    out = tmp_path / "set"
    write(out, 13)
    before = contents(out)
    with pytest.raises(BadInput, match="holds 13 trajectories, expected a limit of at least") as e:
        write(out, 12)
    assert "got 12; nothing was changed: raise --limit" in str(e.value)
    assert contents(out) == before


def test_another_configuration_is_refused_whatever_the_limit(tmp_path: Path) -> None:
    out = tmp_path / "set"
    write(out, 5, images="a")
    with pytest.raises(BadInput, match="images: 'a' there, 'b' asked"):
        write(out, 9, images="b")


def test_a_run_that_wrote_nothing_does_not_block_its_folder(tmp_path: Path) -> None:
    wrong, right = tmp_path / "wrong", tmp_path / "right"
    nothing = BlockResult(2, [], [*build_block(1).quarantined, *build_block(3).quarantined], [])
    config = {"seed": 7, "limit": None, "images": "nowhere"}
    with DatasetWriter.open(wrong, config, samples_per_shard=6, tools={}) as writer:
        writer.add_block(0, nothing)
        writer.close()
    (wrong / PAGE).write_text("why")
    note_page(wrong / PAGE)
    assert (wrong / "quarantine/000000.jsonl").is_file()
    write(wrong)
    write(right)
    (wrong / PAGE).unlink()
    assert contents(wrong) == contents(right)


@pytest.mark.parametrize("stop", range(BLOCKS))
def test_a_killed_run_of_two_splits_ends_with_the_bytes_of_a_whole_one(
    whole: Path, tmp_path: Path, stop: int
) -> None:
    write(tmp_path / "set", stop=stop)
    write(tmp_path / "set")
    assert contents(tmp_path / "set") == contents(whole)


def test_half_a_commit_is_dropped(whole: Path, tmp_path: Path) -> None:
    """Killed between the manifest lines of two splits that belong to one commit."""
    out = tmp_path / "set"
    for lines in range(1, len((whole / "manifest.jsonl").read_bytes().splitlines())):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(whole, out)
        text = (whole / "manifest.jsonl").read_bytes().splitlines(keepends=True)
        (out / "manifest.jsonl").write_bytes(b"".join(text[:lines]))
        write(out)
        assert contents(out) == contents(whole), lines


def test_what_a_rerun_did_not_write_it_does_not_delete(tmp_path: Path) -> None:
    out = tmp_path / "set"
    write(out)
    mine = [
        "quarantine/2024.md", "shards/000009.notes.txt", "shards/000042.tar", "notes.md",
        "index/000099.jsonl", "timings/99.jsonl", "shards/.mine.tmp", "duplicates/sub/000000.jsonl",
    ]  # fmt: skip
    for name in mine:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    (out / "shards/.000002.tar.tmp").write_text("half a shard of ours")
    (out / "shards/000000.tar").unlink()
    write(out)
    assert [name for name in mine if (out / name).read_text() != "mine"] == []
    assert not (out / "shards/.000002.tar.tmp").exists()
    assert (out / "shards/000000.tar").is_file()


def files_of(out: Path) -> list[str]:
    return sorted(contents(out))


@pytest.mark.parametrize("hurt", ["lost", "altered", "cut", "link", "fifo"])
def test_every_file_of_a_finished_set_is_repaired(whole: Path, tmp_path: Path, hurt: str) -> None:
    names = [name for name in files_of(whole) if name != "manifest.jsonl"]
    assert {"README.md", "timings/SHA256SUMS"} <= {*names}
    assert {name.partition("/")[0] for name in names} >= {"shards", "index", "quarantine"}
    tried = [*{Path(name).parent: name for name in names}.values(), "timings/SHA256SUMS"]
    for name in tried:
        out = tmp_path / "set"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(whole, out)
        write(out)  # a copy is looked at once
        path = out / name
        data = path.read_bytes()
        path.unlink()
        if hurt == "altered":
            path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        elif hurt == "cut":
            path.write_bytes(data[:-1])
        elif hurt == "link":
            (tmp_path / "outside").write_bytes(data)
            path.symlink_to(tmp_path / "outside")
        elif hurt == "fifo":
            os.mkfifo(path)
        write(out)
        assert contents(out) == contents(whole), name
        assert not path.is_symlink(), name


def test_an_altered_manifest_is_repaired_unless_its_header_is_lost(
    whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    data = (whole / "manifest.jsonl").read_bytes()
    header = data.index(b"\n") + 1
    for offset in range(header, len(data), 397):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(whole, out)
        flipped = bytes([data[offset] ^ 1])
        (out / "manifest.jsonl").write_bytes(data[:offset] + flipped + data[offset + 1 :])
        write(out)
        assert contents(out) == contents(whole), (offset, data[offset - 20 : offset + 20])
    (out / "manifest.jsonl").write_bytes(b"x" + data[1:])
    before = contents(out)
    with pytest.raises(BadInput, match="line 1: expected a manifest line"):
        write(out)
    assert contents(out) == before


def test_a_folder_of_the_writer_that_is_a_link_out_is_refused(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    shutil.copytree(whole, out)
    (out / "shards").rename(tmp_path / "elsewhere")
    (out / "shards").symlink_to(tmp_path / "elsewhere")
    before = contents(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="shards: expected a file in its own folder"):
        write(out)
    assert contents(tmp_path / "elsewhere") == before


def test_tars_that_did_not_change_are_not_read_again(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    shutil.copytree(whole, out)
    write(out)
    read: list[str] = []

    def seen(path: Path) -> str:
        read.append(path.suffix)
        return file_sha256(path)

    monkeypatch.setattr("pearl_data.shards.resume.file_sha256", seen)
    write(out)
    assert ".jsonl" in read
    assert ".tar" not in read


def test_the_page_is_whole_until_it_or_the_set_changes(tmp_path: Path) -> None:
    out = tmp_path / "set"
    write(out, 5)
    assert not page_is_whole(out)
    (out / PAGE).write_text("page")
    note_page(out / PAGE)
    assert page_is_whole(out)
    write(out, 5)
    assert page_is_whole(out)
    write(out, 9)
    assert not page_is_whole(out)
