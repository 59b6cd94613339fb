from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pytest
from made_depth import write_image
from PIL import Image

from pearl_data.depth_eval.point_pairs import (
    PointPair,
    check_inside,
    check_points,
    read_point_pairs,
)
from pearl_tools.errors import BadInput

NEAR, FAR = (3.0, 4.0), (10.0, 2.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png")
    return tmp_path


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_four_forms_say_the_same(folder: Path) -> None:
    csv = "image,label,near_x,near_y,far_x,far_y\na.png,1,3,4,10,2\n"
    own = [{"image": "a.png", "near": [3, 4], "far": [10, 2]}]
    published = {"a.png": [{"point1": [4, 3], "point2": [2, 10], "closer_point": "point1"}]}
    other = {"a.png": [{"point1": [2, 10], "point2": [4, 3], "closer_point": "point2"}]}
    spaced = csv.replace(",", ", ")
    for name, content, row in (
        ("spaced.csv", spaced, ", line 2"),
        ("padded.csv", csv.replace("a.png,", " a.png \t, "), ", line 2"),
        ("capitals.csv", csv.replace("image", "Image ").replace("near_x", "NEAR_X"), ", line 2"),
        ("a.csv", csv, ", line 2"),
        ("A.CSV", csv, ", line 2"),
        ("a.json", own, "[0]"),
        ("a.jsonl", json.dumps(own[0]) + "\n\n", ", line 1"),
        ("b.json", published, ": a.png[0]"),
        ("c.json", other, ": a.png[0]"),
    ):
        path = write(folder, name, content)
        pair = PointPair(NEAR, FAR, f"{path}{row}")
        assert read_point_pairs(path) == {folder / "a.png": [pair]}


def test_text_of_another_encoding_says_which_is_expected(folder: Path) -> None:
    (folder / "a.csv").write_bytes("image,near_x\ncafé.png".encode("latin-1"))
    with pytest.raises(
        BadInput, match=r"a\.csv: expected text in UTF-8, got byte 0xe9 at 16; save"
    ):
        read_point_pairs(folder / "a.csv")


def test_pictures_may_lie_elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    apart = tmp_path_factory.mktemp("apart")
    path = write(apart, "a.csv", "image,near_x,near_y,far_x,far_y\na.png,3,4,10,2\n")
    with pytest.raises(BadInput, match=r"line 2: .*/a\.png is no file, like 1 .*pass --im"):
        read_point_pairs(path)
    assert list(read_point_pairs(path, folder)) == [folder / "a.png"]
    (apart / "b").mkdir()
    with pytest.raises(
        BadInput, match=r"like 1 of 1 pictures; --images .*/b has no such file: name the folder th"
    ):
        read_point_pairs(path, apart / "b")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "image;near_x;near_y;far_x;far_y\n", "got image;.*; separate them by commas$"),
        ("a.csv", "image,x,y\na.png,1,2\n", "expected the columns image,near_x,near_y,far_x,far_y"),
        ("a.csv", "image,near_x,near_y,far_x,far_y,near_x\n", "column once, got near_x twice"),
        ("a.csv", "image,near_x,near_y,far_x,far_y\na.png,1,,2,3\n", "line 2: near_y: expected a"),
        ("a.csv", "image,near_x,near_y,far_x,far_y\n", "expected pairs of points, found none"),
        ("a.json", "{", "expected JSON"),
        ("a.json", [{"image": "a.png", "near": [1, 2]}], r"a\.json\[0\]: expected image, near"),
        ("a.json", [{"image": "a.png", "near": [1], "far": [1, 2]}], r"\[0\]\.near: expected two"),
        ("a.json", {"a.png": [{"point1": [1, 2]}]}, r"a\.png\[0\]: expected point1, point2 and"),
        ("a.json", 3, "expected a list of pairs"),
        ("a.jsonl", "{}\n", r"a\.jsonl, line 1: expected image, near and far, got {}"),
        (
            "a.jsonl",
            '\n{"image": "a.png", "near": [1], "far": [1, 2]}',
            "line 2: near: expected two",
        ),
        ("a.jsonl", "[\n]", "line 1: expected JSON"),
        (
            "a.csv",
            f"image,near_x,near_y,far_x,far_y\na.png,1,2,3,4\n{'a' * 300}.jpg,1,2,3,4\n",
            r"a\.csv, line 3: expected the name of a picture, got 'aaa.* of 304 characters",
        ),
        (
            "a.csv",
            "image,near_x,near_y,far_x,far_y\na.png,1,2,1,2\n",
            r"line 2: expected points in two pixels, got both in pixel \(1, 2\)",
        ),
        (
            "a.csv",
            "image,near_x,near_y,far_x,far_y\na.png,0.1,0.9,0.4,0.3\n",
            r"both in pixel \(0, 0\); correct the row, or turn fractions",
        ),
        (
            "a.csv",
            f"image,near_x,near_y,far_x,far_y\n{'a' * 140_000},1,2,3,4\n",
            "after line 1: expected CSV, got field larger",
        ),
        ("a.csv", "near_x,near_y,far_x,far_y,image\n1,2,3,4\n", "line 2: expected 5 values as in"),
        ("a.csv", "image,near_x,near_y,far_x,far_y\n,1,2,3,4\n", "expected the name of a picture"),
        ("a.csv", "image,near_x,near_y,far_x,far_y\na.png,1,2,3,4,5\n", "2: expected 5.*got 6"),
        ("a.csv", "image,near_x,near_y,far_x,far_y\na.png,1,2\n", "line 2: expected 5.*got 3"),
        ("a.csv", "image,near_x,near_y,far_x,far_y\n.,1,2,3,4\n", "is no file.*pass --images"),
        ("a.csv", "image,near_x,near_y,far_x,far_y\nA.PNG,1,2,3,4\n", r"correct .*, a\.png is"),
        (
            "a.csv",
            "image,near_x,near_y,far_x,far_y\na.png,1,nan,2,3\n",
            "near_y: expected a number",
        ),
        ("a.json", "[" * 100_000, "got nested hundreds of levels"),
        ("a.json", '{"a.png": [], "a.png": []}', "got 'a.png' twice"),
        (
            "a.json",
            [{"image": "a.png", "near": [10**400, 1], "far": [1, 2]}],
            r"\[0\]\.near: expected a number",
        ),
    ],
)
def test_what_is_not_understood_names_its_row(
    folder: Path, name: str, content: object, told: str
) -> None:
    with pytest.raises(BadInput, match=told):
        read_point_pairs(write(folder, name, content))


HEAD = "image,near_x,near_y,far_x,far_y\n"


@pytest.mark.parametrize("rows", ["a.png,0.2,0.1,1.0,0.5\n", "a.png,1,1,0,0\na.png,0,0,.5,1\n"])
def test_fractions_of_the_picture_are_refused_also_with_a_coordinate_of_1(
    folder: Path, rows: str
) -> None:
    line = rows.count("\n") + 1
    with pytest.raises(
        BadInput, match=rf"a\.csv, line {line}: expected pixels, got 0\.\d, .* multiply x by its w"
    ):
        read_point_pairs(write(folder, "a.csv", HEAD + rows))


@pytest.mark.parametrize("rows", ["a.png,0.2,0.1,1.5,0.5\n", "a.png,1,0,0,1\n"])
def test_pixels_of_a_corner_are_pixels(folder: Path, rows: str) -> None:
    assert read_point_pairs(write(folder, "a.csv", HEAD + rows))


@pytest.mark.parametrize(
    ("point", "told"),
    [
        ((6, 0), r"got far \(6, 0\), as in 1 more of 3 rows"),
        ((0, 4), r"got far \(0, 4\), as in 1 more"),
        ((-0.5, 0), r"got far \(-0\.5, 0\), as in 1 more"),
    ],
)
def test_points_beyond_their_picture_name_the_row(point: tuple[float, float], told: str) -> None:
    inside = PointPair((5.9, 3.9), (0, 0), "a.csv, line 2")
    check_inside([inside], Path("a.png"), 6, 4)
    wrong = [PointPair((0, 1), point, f"a.csv, line {line}") for line in (3, 4)]
    with pytest.raises(BadInput, match=rf"^a\.csv, line 3: expected points inside a\.png.*{told}"):
        check_inside([inside, *wrong], Path("a.png"), 6, 4)


@pytest.mark.parametrize("form", ["jpg", "tif", "webp", "png"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_points_are_checked_against_the_upright_picture_by_its_header(
    tmp_path: Path, form: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{form}"
    Image.new("RGB", (6, 4)).save(path, exif=exif)
    width, height = (4, 6) if orientation > 4 else (6, 4)
    last = PointPair((width - 1, height - 1), (0, 0), "a.csv, line 2")
    check_points({path: [last]})
    beyond = PointPair((0, 0), (width - 1, height), "a.csv, line 3")
    with pytest.raises(BadInput, match=rf"a\.csv, line 3: .* y from 0 to below {height}, got far"):
        check_points({path: [last, beyond]})


def test_a_header_that_says_too_little_refuses_nothing(tmp_path: Path) -> None:
    """The orientation of a PNG may lie behind its pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    late = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path = tmp_path / "a.png"
    Image.new("RGB", (6, 4)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[:-12] + late + data[-12:])
    check_points({path: [PointPair((3, 5), (0, 0), "")]})
    with pytest.raises(BadInput, match="x from 0 to below 4 and y from 0 to below 6"):
        check_points({path: [PointPair((4, 5), (0, 0), "")]})


def test_pictures_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    write_image(whole)
    for name, data in (("no.jpg", b"no picture"), ("cut.png", whole.read_bytes()[:200])):
        (tmp_path / name).write_bytes(data)
        check_points({tmp_path / name: [PointPair((900, 900), (0, 0), "")]})
