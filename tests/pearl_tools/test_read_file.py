"""Picture files on disk: regular ones only, and never more bytes than promised."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pearl_tools import media
from pearl_tools.errors import ToolError, ToolFailure
from pearl_tools.media import read_file


def refused(path: Path) -> ToolError:
    with pytest.raises(ToolFailure) as raised:
        read_file(path)
    return raised.value.error


def test_bytes_of_a_regular_file_come_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"any")
    assert read_file(tmp_path / "a.png") == b"any"


@pytest.mark.parametrize("name", ["none.png", "a.png/b.png", "x" * 300, "a\0b"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.png").write_bytes(b"any")
    assert refused(tmp_path / name).code == "reference.no_such_file"


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe.png", "link.png", "folder.png"):
        error = refused(tmp_path / name)
        assert (error.code, error.expected) == (
            "reference.wrong_kind",
            f"a regular file named {name!r}",
        )
    assert refused(Path("/dev/zero")).got == "a character device"


def test_a_file_beyond_what_is_promised_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(bytes(11))
    monkeypatch.setattr(media, "MAX_FILE_BYTES", 10)
    assert refused(tmp_path / "a.png").code == "execution.out_of_memory"
