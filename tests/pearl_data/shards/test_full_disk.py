"""A full disk names the file that was being written, and what is there can be resumed."""

from __future__ import annotations

import errno
import hashlib
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from trajectories import build_block, build_sample

from pearl_data.audit import audit_paths
from pearl_data.audit.spooled import Spooled
from pearl_data.report import write_index, write_pictures
from pearl_data.shards import DatasetWriter, read_manifest
from pearl_data.shards.files import file_sha256, write_whole


@contextmanager
def no_file_over(size: int) -> Iterator[None]:
    """Inside, no file can grow beyond ``size`` bytes: the system refuses it as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write(out: Path) -> None:
    with DatasetWriter.open(out, {"seed": 1}, samples_per_shard=6, tools={}) as writer:
        for index in range(writer.next_block, 6):
            writer.add_block(index, build_block(index))
        writer.close()


def contents(out: Path) -> dict[str, str]:
    return {p.relative_to(out).as_posix(): file_sha256(p) for p in out.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "set"
    write(out)
    return out


@pytest.mark.parametrize("size", [100, 500, 700, 1500, 2500, 4000, 20_000, 60_000])
def test_a_writer_names_the_file_and_can_be_resumed(whole: Path, tmp_path: Path, size: int) -> None:
    out = tmp_path / "set"
    with pytest.raises(OSError, match="File too large") as caught, no_file_over(size):
        write(out)
    assert caught.value.errno == errno.EFBIG
    named = Path(caught.value.filename).relative_to(out).as_posix()
    assert named in contents(whole)
    assert len(contents(whole)) > 3
    if (out / "manifest.jsonl").is_file():
        assert not read_manifest(out).torn
    write(out)
    assert contents(out) == contents(whole)


def page(folder: Path, out: Path) -> Path:
    write_index([folder], out / "page.html", title="page")
    return out / "page.html"


def parquet(folder: Path, out: Path) -> Path:
    audit_paths([folder]).calls.write(out / "calls.parquet")
    return out / "calls.parquet"


def pictures(folder: Path, out: Path) -> Path:
    return write_pictures(build_sample(), out / "one")[0]


@pytest.mark.parametrize("make", [page, parquet, pictures])
def test_every_writer_names_its_file_and_leaves_none_that_is_cut_off(
    whole: Path, tmp_path: Path, make: Callable[[Path, Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = audit_paths([whole])
    monkeypatch.setattr("pearl_data.report.index.audit_paths", lambda *_, **__: audit)
    monkeypatch.setitem(globals(), "audit_paths", lambda *_, **__: audit)
    path = make(whole, tmp_path / "first") if (tmp_path / "first").mkdir() is None else None
    assert path
    name = path.relative_to(tmp_path / "first")
    (tmp_path / "then").mkdir()
    with pytest.raises(OSError, match="File too large") as caught, no_file_over(200):
        make(whole, tmp_path / "then")
    assert Path(caught.value.filename) == tmp_path / "then" / name
    assert [p for p in (tmp_path / "then").rglob("*") if p.is_file()] == []


def test_rows_of_an_audit_that_do_not_fit_name_their_file(whole: Path) -> None:
    with pytest.raises(OSError, match="File too large") as caught, no_file_over(300):
        audit_paths([whole])
    assert caught.value.filename == tempfile.gettempdir()
    rows = Spooled({"a": pl.String})
    many = [(hashlib.sha256(b"%d" % number).hexdigest(),) for number in range(1 << 13)]
    with pytest.raises(OSError, match="File too large") as caught, no_file_over(60_000):
        rows.add(many)
    assert str(caught.value.filename).endswith(".parquet")


def test_an_old_file_stays_where_its_successor_does_not_fit(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"old")
    with pytest.raises(OSError, match="File too large"), no_file_over(10):
        write_whole(tmp_path / "a", bytes(11))
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"old")]
