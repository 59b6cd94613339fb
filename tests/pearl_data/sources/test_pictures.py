"""File names as annotation tools write them: the one file that is meant, or an error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from drawn import picture

from pearl_data.sources.pictures import PictureFolder, read_picture
from pearl_tools.errors import BadInput, ToolFailure


def folder(root: Path, *names: str) -> PictureFolder:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture([("red", (10, 10, 20, 20))]))
    return PictureFolder(root)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("1.png", "1.png"),
        ("1.png", "./1.png"),
        ("images/1.png", "images\\1.png"),
        ("1.png", "images\\1.png"),
        ("1.png", "C:\\data\\images\\1.png"),
        ("1.png", "/data/images/1.png"),
        ("1.png", "file:///data/images/1.png"),
        ("my dog.png", "my%20dog.png"),
        ("a%20b.png", "a%20b.png"),
        ("a\\b.png", "a\\b.png"),
        ("1.png", "images/1.png"),
        ("train2017/03.png", "http://images.cocodataset.org/train2017/03.png"),
        ("train2017/03.png", "https://bucket/val/03.png?X-Sig=a/b"),
        ("sub/1.png", "/data/local-files/?d=root/sub/1.png"),
        ("sub/1.PNG", "Sub/1.png"),
        ("caf\u00e9.png", "cafe\u0301.png"),
        ("a/1.png", "1.png"),
    ],
)
def test_a_name_means_the_one_file_that_fits_it(tmp_path: Path, file: str, name: str) -> None:
    assert folder(tmp_path, file, "other/2.png").find(name) == file


def test_the_longest_tail_decides_and_two_equal_ones_are_an_error(tmp_path: Path) -> None:
    pictures = folder(tmp_path, "train/1.png", "val/1.png", ".cache/1.png", "x/__MACOSX/1.png")
    assert pictures.find("/old/val/1.png") == "val/1.png"
    with pytest.raises(ToolFailure) as failure:
        pictures.find("/old/test/1.png")
    assert failure.value.error.code == "semantic.ambiguous"
    assert "train/1.png, val/1.png" in failure.value.error.got
    (tmp_path / "1.png").write_bytes(b"")
    assert pictures.find("1.png") == "1.png"


def test_letter_case_decides_between_files_that_differ_in_it_only(tmp_path: Path) -> None:
    pictures = folder(tmp_path, "a/1.png", "b/1.PNG")
    assert pictures.find("/data/1.PNG") == "b/1.PNG"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (None, "schema.missing_field"),
        ("", "schema.missing_field"),
        ("/", "reference.no_such_file"),
        ("2.png", "reference.no_such_file"),
        ("a\0b.png", "reference.no_such_file"),
        ("\ud800.png", "reference.no_such_file"),
        ("x" * 5000, "reference.no_such_file"),
        ("../1.png", "parse.unsafe_member"),
        ("a\\..\\1.png", "parse.unsafe_member"),
    ],
)
def test_a_name_without_a_file_says_so(tmp_path: Path, name: str | None, code: str) -> None:
    with pytest.raises(ToolFailure) as failure:
        folder(tmp_path, "1.png").find(name)
    assert failure.value.error.code == code


def test_a_file_with_another_suffix_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolFailure, match=r"did you mean a/1\.jpg\?"):
        folder(tmp_path, "a/1.jpg").find("1.png")


def test_links_that_lead_out_are_refused_and_links_inside_are_followed(tmp_path: Path) -> None:
    folder(tmp_path / "out", "1.png")
    pictures = folder(tmp_path / "in", "2.png")
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "out" / "1.png")
    (tmp_path / "in" / "sub").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "inner.png").symlink_to("2.png")
    for name in ("link.png", "sub/1.png", "/data/link.png"):
        with pytest.raises(ToolFailure) as failure:
            pictures.find(name)
        assert failure.value.error.code == "parse.unsafe_member"
    assert read_picture(pictures, "inner.png").record.width == 320


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name, code in (
        ("fifo.png", "reference.wrong_kind"),
        ("folder.png", "reference.wrong_kind"),
        ("zero.png", "parse.unsafe_member"),
    ):
        with pytest.raises(ToolFailure) as failure:
            read_picture(PictureFolder(tmp_path), name)
        assert failure.value.error.code == code


def test_the_declared_size_is_checked_as_far_as_there_is_one(tmp_path: Path) -> None:
    pictures = folder(tmp_path, "1.png")
    assert read_picture(pictures, "1.png", size=(None, 240)).record.width == 320
    for size in ((None, 320), (240, 320), (640, 240)):
        with pytest.raises(ToolFailure) as failure:
            read_picture(pictures, "1.png", size=size)
        assert failure.value.error.code == "result.size_mismatch"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--images .*none: expected a folder"):
        PictureFolder(tmp_path / "none")
