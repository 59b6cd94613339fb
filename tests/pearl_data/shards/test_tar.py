from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearl_data.findings import Finding
from pearl_data.shards.buffer import open_buffer
from pearl_data.shards.tar import END, field_of, header_bytes, key_of, padding, scan
from pearl_tools.errors import BadInput

NAMES = st.from_regex(r"[a-z0-9_-]{1,60}\.[a-z0-9]{1,8}", fullmatch=True)


def archive(members: list[tuple[str, bytes]]) -> bytes:
    parts = [header_bytes(n, len(d)) + d + bytes(padding(len(d))) for n, d in members]
    return b"".join(parts) + END


def names_and_faults(data: bytes) -> tuple[list[str], list[Finding]]:
    faults: list[Finding] = []
    return [member.name for member in scan(data, faults)], faults


def foreign(kind: bytes = tarfile.REGTYPE, name: str = "a.json", **fields: object) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.type, info.size = kind, 2 if kind == tarfile.REGTYPE else 0
        for field, value in fields.items():
            setattr(info, field, value)
        tar.addfile(info, io.BytesIO(b"{}"))
    return stream.getvalue()


@given(st.dictionaries(NAMES, st.binary(max_size=1300), max_size=4))
def test_what_is_written_is_what_tarfile_reads(members: dict[str, bytes]) -> None:
    data = archive(list(members.items()))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        read = {}
        for info in tar:
            stream = tar.extractfile(info)
            assert stream
            assert (info.mtime, info.uid, info.gid, info.mode) == (0, 0, 0, 0o644)
            read[info.name] = stream.read()
    assert read == members
    assert names_and_faults(data) == (list(members), [])


@pytest.mark.parametrize("name", ["x" * 97 + ".json", "ключ.json"])
def test_a_name_that_ustar_cannot_say_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="at most 100 ASCII bytes"):
        header_bytes(name, 1)


def test_pax_and_gnu_long_names_of_foreign_tars_are_read() -> None:
    name = "folder/" + "x" * 120 + ".json"
    assert names_and_faults(foreign(name=name, mtime=1.5)) == ([name], [])
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo(name))
    assert names_and_faults(stream.getvalue()) == ([name], [])


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (foreign(tarfile.SYMTYPE, linkname="/etc/passwd"), "a symbolic link"),
        (foreign(tarfile.LNKTYPE, linkname="b.json"), "a hard link"),
        (foreign(tarfile.CHRTYPE), "a character device"),
        (foreign(tarfile.FIFOTYPE), "a fifo"),
        (foreign(name="../up.json"), "outside its folder"),
        (foreign(name="/etc/up.json"), "outside its folder"),
        (foreign(name="a/../../up.json"), "outside its folder"),
        (foreign(name="c:\\up.json"), "outside its folder"),
        (foreign(name="a\x1b[2J.json"), "outside its folder"),
    ],
)
def test_unsafe_members_are_named_and_never_delivered(data: bytes, what: str) -> None:
    names, faults = names_and_faults(data)
    assert names == []
    assert [fault.code for fault in faults] == ["parse.unsafe_member"]
    assert what in faults[0].got


def test_every_truncation_of_a_bare_tar_is_found() -> None:
    data = archive([("a.json", b"{}" * 300), ("b.i0.jpg", b"x" * 513)])
    for length in range(len(data)):
        _, faults = names_and_faults(data[:length])
        assert [fault.code for fault in faults] == ["parse.truncated"], length


@given(st.binary(max_size=2000))
def test_noise_is_a_finding_and_never_an_exception(data: bytes) -> None:
    _, faults = names_and_faults(data)
    assert faults


@given(st.integers(0, 2047), st.binary(min_size=1, max_size=40))
def test_overwritten_bytes_never_raise(position: int, noise: bytes) -> None:
    data = bytearray(archive([("a.json", b"{}"), ("b.json", b"[]")]))
    data[position : position + len(noise)] = noise
    names_and_faults(bytes(data))


def test_keys_end_at_the_first_dot_as_for_other_readers() -> None:
    assert (key_of("d.x/a.b.c"), field_of("d.x/a.b.c")) == ("d.x/a", "b.c")


def test_gz_is_read_and_broken_gz_refused(tmp_path: Path) -> None:
    data = archive([("a.json", b"{}")])
    whole, cut = tmp_path / "a.tar.gz", tmp_path / "b.tar.gz"
    whole.write_bytes(gzip.compress(data))
    with open_buffer(whole) as buffer:
        assert buffer[:] == data
    cut.write_bytes(gzip.compress(data)[:-9])
    with pytest.raises(BadInput, match=r"b\.tar\.gz: expected a whole gz file"), open_buffer(cut):
        pass


def test_an_empty_file_is_truncated_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "a.tar").touch()
    with open_buffer(tmp_path / "a.tar") as buffer:
        assert names_and_faults(buffer[:])[1][0].code == "parse.truncated"
