from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from pearl_tools.errors import BadInput
from pearl_tools.files import inside, open_regular, read_regular


def test_regular_files_and_links_to_them_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").symlink_to("a")
    assert read_regular(tmp_path / "a") == read_regular(tmp_path / "b") == b"abc"
    with open_regular(tmp_path / "a") as stream:
        assert stream.read(2) == b"ab"


@pytest.mark.parametrize(
    ("kind", "got"),
    [
        ("fifo", "a FIFO"),
        ("socket", "a socket"),
        ("folder", "a folder"),
        ("device", "a character device"),
        ("link", "a FIFO"),
    ],
)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str, got: str) -> None:
    path = tmp_path / "a"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        os.mkfifo(tmp_path / "b")
        path.symlink_to("b")
    raised: list[OSError] = []

    def read() -> None:
        try:
            read_regular(path)
        except OSError as error:
            raised.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(5)
    assert [(e.filename, e.strerror) for e in raised] == [
        (str(path), f"expected a regular file, got {got}")
    ]


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "shards/../../a", "", ".", "a\0b"])
def test_a_name_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="expected the name of a file in this folder"):
        inside(tmp_path, name)


def test_a_link_out_of_the_folder_is_refused_and_one_within_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "shards").mkdir(parents=True)
    (tmp_path / "outside").write_bytes(b"")
    (folder / "a").symlink_to(tmp_path / "outside")
    (folder / "b").symlink_to("shards")
    (folder / "out").symlink_to(tmp_path)
    (tmp_path / "named").symlink_to(folder)
    for name in ("a", "out/outside", "out"):
        with pytest.raises(BadInput, match="got a symbolic link out of it"):
            inside(folder, name)
    assert inside(folder, "b/000000.tar") == folder / "b/000000.tar"
    assert inside(tmp_path / "named", "shards/x") == tmp_path / "named/shards/x"
