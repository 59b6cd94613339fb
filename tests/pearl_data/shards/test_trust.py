"""What readers refuse of a set: one that is not finished, files outside it, files that are none."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from trajectories import build_block, build_sample

from pearl_data.audit import audit_paths
from pearl_data.audit.reading import open_collection
from pearl_data.report import write_index
from pearl_data.shards import BlockResult, DatasetReader, DatasetWriter, read_manifest
from pearl_data.shards import buffer as buffers
from pearl_data.shards.buffer import open_buffer
from pearl_data.shards.manifest import MANIFEST, encode_line, summarise
from pearl_data.shards.tar import is_junk
from pearl_data.trajectory import canonical_json
from pearl_data.validate import validate_paths
from pearl_tools.errors import BadInput
from pearl_train.run.data import open_dataset


def write(out: Path, blocks: int = 6, *, close: bool = True) -> Path:
    config = {"seed": 7, "limit": 123}
    with DatasetWriter.open(out, config, samples_per_shard=6, tools={}) as writer:
        for index in range(blocks):
            writer.add_block(index, build_block(index))
        if close:
            writer.close()
    return out


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("whole") / "set")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """13 samples of two shards, and a third one that was not finished."""
    return write(tmp_path_factory.mktemp("killed") / "set", 5, close=False)


def page(path: Path, *, allow_unfinished: bool = False) -> None:
    write_index([path], path.parent / "p.html", title="p", allow_unfinished=allow_unfinished)


READERS: list[Callable[..., object]] = [
    DatasetReader,
    open_dataset,
    open_collection,
    page,
    lambda path, **more: audit_paths([path], **more),
]


@pytest.mark.parametrize("read", READERS)
def test_an_unfinished_set_is_refused_with_how_far_it_is_unless_asked(
    killed: Path, read: Callable[..., object]
) -> None:
    with pytest.raises(BadInput) as caught:
        read(killed)
    assert str(caught.value) == (
        f"{killed}: expected a finished data set, got an unfinished one: 13 of at most 123 "
        "trajectories in 2 shards; run the command that writes it again (it resumes), or read its "
        "shards with --allow-unfinished"
    )
    read(killed, allow_unfinished=True)


def test_what_is_read_of_an_unfinished_set_is_what_is_there(killed: Path) -> None:
    assert len(DatasetReader(killed, allow_unfinished=True)) == 13
    assert audit_paths([killed], allow_unfinished=True).report.records.read == 13


def test_validate_reports_an_unfinished_set_as_a_finding_unless_asked(killed: Path) -> None:
    (found,) = validate_paths([killed]).findings
    assert (found.code, found.file) == ("semantic.identity", str(killed / MANIFEST))
    assert found.got == "an unfinished one: 13 of at most 123 trajectories in 2 shards"
    assert validate_paths([killed], allow_unfinished=True).clean


def test_the_shards_of_an_unfinished_set_are_refused_as_a_folder_but_read_one_by_one(
    killed: Path, whole: Path
) -> None:
    with pytest.raises(BadInput, match="13 of at most 123"):
        open_collection(killed / "shards")
    assert [f.code for f in validate_paths([killed / "shards"]).findings] == ["semantic.identity"]
    assert len(open_collection(killed / "shards", allow_unfinished=True)) == 13
    assert len(open_collection(killed / "shards/000000.tar")) == 7
    assert len(DatasetReader(killed / "shards/000000.tar")) == 7
    assert len(open_collection(whole / "shards")) == 20


def named(folder: Path, name: str) -> None:
    """Let the manifest name another tar, with all its hashes right."""
    manifest = read_manifest(folder)
    first = msgspec.structs.replace(manifest.shards[0], name=name)
    shards = [first, *manifest.shards[1:]]
    assert manifest.summary
    summary = summarise(manifest.header, shards, manifest.summary.card_sha256)
    lines = [manifest.header, *shards, summary]
    (folder / MANIFEST).write_bytes(b"".join(map(encode_line, lines)))


@pytest.mark.parametrize(
    "name", ["../outside.tar", "/outside.tar", "shards/../../outside.tar", "shards/000001.tar", "x"]
)
def test_a_manifest_that_names_another_file_is_refused_by_its_line(
    whole: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(whole, folder)
    shutil.copy(folder / "shards/000000.tar", tmp_path / "outside.tar")
    named(folder, name.replace("/outside", f"{tmp_path}/outside") if name[0] == "/" else name)
    with pytest.raises(BadInput, match=r"line 2: expected the name shards/000000\.tar, got"):
        DatasetReader(folder)
    found = validate_paths([folder]).findings
    assert found[0].file == str(folder / MANIFEST)


@pytest.mark.parametrize(
    "name", ["shards/000000.tar", "shards", "index/000001.jsonl", "index", "README.md", MANIFEST]
)
def test_a_link_out_of_the_folder_is_refused_by_name(
    whole: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(whole, folder)
    (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    found = validate_paths([folder]).findings
    codes = {each.code for each in found if name in each.file}
    assert codes == {"parse.checksum" if name == MANIFEST else "parse.unsafe_member"}
    if name != "README.md":
        with pytest.raises(BadInput, match="symbolic link"):
            DatasetReader(folder)[0]
        with pytest.raises(BadInput, match="symbolic link"):
            audit_paths([folder])


def test_a_link_beside_a_bare_record_is_refused(tmp_path: Path) -> None:
    sample = build_sample("a")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.json").write_bytes(canonical_json(sample.trajectory))
    (tmp_path / "secret").write_bytes(sample.members["i0.jpg"])
    (tmp_path / "in/a.i0.jpg").symlink_to(tmp_path / "secret")
    with pytest.raises(BadInput, match=r"a\.i0\.jpg: expected a file in its own folder"):
        open_collection(tmp_path / "in/a.json").entry(0)


@pytest.mark.parametrize(
    "name", ["shards/000000.tar", "index/000001.jsonl", "README.md", "timings/SHA256SUMS"]
)
def test_a_fifo_in_a_set_is_a_finding_at_once(whole: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "set"
    shutil.copytree(whole, folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert {f.code for f in validate_paths([folder]).findings} == {"parse.missing_member"}


def unfinished_tar(*names: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"junk"))
    return stream.getvalue()


@pytest.mark.parametrize(
    "name",
    ["._a.json", ".DS_Store", "__MACOSX/._a.json", "PaxHeader/a.json", "PaxHeaders.17/a.i0.jpg",
     "d/.DS_Store", "d/._a.i0.jpg", "Thumbs.db", ".ipynb_checkpoints/a.json", "desktop.ini"],
)  # fmt: skip
def test_what_archivers_leave_beside_samples_is_no_member(name: str) -> None:
    assert is_junk(name)


@pytest.mark.parametrize("name", ["a.json", "d/a.json", "../._a.json", "/._a", "a/../.b", "Pax/a"])
def test_what_may_be_a_member_or_is_unsafe_is_not_passed_over(name: str) -> None:
    assert not is_junk(name)


def with_junk(tar: bytes, junk: bytes) -> bytes:
    """The members of both, those of ``junk`` first and between."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as out:
        for data in (junk, tar, junk):
            with tarfile.open(fileobj=io.BytesIO(data)) as part:
                for info in part:
                    out.addfile(info, part.extractfile(info))
    return stream.getvalue()


@pytest.mark.parametrize("gz", [False, True])
def test_junk_in_a_tar_is_said_once_and_costs_nothing(
    whole: Path, tmp_path: Path, gz: bool
) -> None:
    data = with_junk(
        (whole / "shards/000000.tar").read_bytes(), unfinished_tar("._s000000.json", ".DS_Store")
    )
    path = tmp_path / ("a.tar.gz" if gz else "a.tar")
    path.write_bytes(gzip.compress(data) if gz else data)
    (tmp_path / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07")
    report = validate_paths([tmp_path])
    assert (report.documents, report.findings) == (7, [])
    note = f"{path}: 4 files that are not members were skipped (._s000000.json, .DS_Store, "
    assert [each.startswith(note) for each in report.notes] == [True]
    audit = audit_paths([tmp_path])
    assert (audit.report.records.read, audit.notes) == (7, report.notes)
    collection = open_collection(path)
    assert collection.keys() == [f"s{n:06d}" for n in (0, 1, 2, 3, 4, 5, 7)]
    assert collection.sample("s000003") == DatasetReader(whole).get("s000003")


def gz_members(data: bytes, count: int) -> bytes:
    step = len(data) // count + 1
    return b"".join(gzip.compress(data[at : at + step]) for at in range(0, len(data), step))


def test_a_gz_of_many_members_is_one_archive(whole: Path, tmp_path: Path) -> None:
    data = (whole / "shards/000000.tar").read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(gz_members(data, 9))
    with open_buffer(tmp_path / "a.tar.gz") as buffer:
        assert buffer[:] == data


@pytest.mark.parametrize("count", [1, 40])
def test_a_gz_that_unpacks_to_too_much_is_refused_over_all_its_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(buffers, "FREE_UNPACKED", 1 << 20)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gz_members(bytes(40 << 20), count))
    most = 100 * path.stat().st_size
    assert most < 40 << 20
    with pytest.raises(BadInput, match=f"expected at most {most} bytes unpacked"):
        open_collection(path).keys()
    monkeypatch.setattr(buffers, "MAX_RATIO", 10_000)
    monkeypatch.setattr(buffers, "MAX_UNPACKED", 30 << 20)
    with pytest.raises(BadInput, match=f"expected at most {30 << 20} bytes unpacked"):
        open_collection(path).keys()


def test_a_member_that_does_not_fit_in_memory_is_a_finding(tmp_path: Path) -> None:
    size = 600 << 20
    info = tarfile.TarInfo("a.json")
    info.size = size
    with (tmp_path / "a.tar").open("wb") as stream:
        stream.write(info.tobuf())
        stream.truncate(512 + size + 1024)
    codes = [each.code for each in validate_paths([tmp_path / "a.tar"]).findings]
    assert codes[0] == "execution.out_of_memory"


def test_a_pax_header_with_an_endless_number_is_no_crash(tmp_path: Path) -> None:
    text = b"9" * 5000 + b" path=a.json\n"
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(text)
    padded = text + bytes(-len(text) % 512)
    (tmp_path / "a.tar").write_bytes(info.tobuf() + padded + unfinished_tar("b.json"))
    assert validate_paths([tmp_path / "a.tar"]).documents == 1


def test_a_set_with_more_tars_than_may_be_open_is_read(tmp_path: Path) -> None:
    out = tmp_path / "set"
    with DatasetWriter.open(out, {}, samples_per_shard=1, tools={}) as writer:
        for n in range(70):
            writer.add_block(n, BlockResult(1, [build_sample(f"s{n}", seed=n)], [], []))
        writer.close()
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 45, hard))
        assert sum(1 for _ in DatasetReader(out)) == 70
        assert audit_paths([out]).report.records.read == 70
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
