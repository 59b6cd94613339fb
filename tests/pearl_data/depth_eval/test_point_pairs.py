from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_depth import write_image
from PIL import Image

from pearl_data.depth_eval.point_pairs import (
    PointPair,
    check_points,
    read_point_pairs,
)
from pearl_tools.errors import BadInput

HEAD = "image,near_x,near_y,far_x,far_y\n"
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


def test_text_of_another_encoding_is_refused(folder: Path) -> None:
    (folder / "a.csv").write_bytes("image,near_x\ncafé.png".encode("latin-1"))
    with pytest.raises(BadInput, match=r"a\.csv: expected text in UTF-8, got .* 0xe9 .* 16"):
        read_point_pairs(folder / "a.csv")


def test_pictures_may_lie_elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    apart = tmp_path_factory.mktemp("apart")
    path = write(apart, "a.csv", f"{HEAD}a.png,3,4,10,2\n")
    with pytest.raises(BadInput, match=r"line 2: expected a picture, .*/a\.png, as for 1 of 1"):
        read_point_pairs(path)
    assert list(read_point_pairs(path, folder)) == [folder / "a.png"]


@pytest.mark.parametrize(
    ("name", "content", "where", "got"),
    [
        ("a.csv", "image;near_x;near_y;far_x;far_y\n", ": ", "got image;near_x"),
        ("a.csv", "image,x,y\na.png,1,2\n", ": ", "got image,x,y"),
        ("a.csv", "image,near_x,near_y,far_x,far_y,near_x\n", ": ", ",near_x"),
        ("a.csv", f"{HEAD}a.png,1,,2,3\n", ", line 2: ", "$.near[1]"),
        ("a.csv", HEAD, ": ", "got none"),
        ("a.csv", f"{HEAD}a.png,1,2,1,2\n", ", line 2: ", "pixel (1, 2)"),
        ("a.csv", f"{HEAD}a.png,0.1,0.9,0.4,0.3\n", ", line 2: ", "pixel (0, 0)"),
        ("a.csv", f"{HEAD}{'a' * 140_000},1,2,3,4\n", ", after line 1: ", "got field larger"),
        ("a.csv", "near_x,near_y,far_x,far_y,image\n1,2,3,4\n", ", line 2: ", "got 4"),
        ("a.csv", f"{HEAD}a.png,1,2,3,4,5\n", ", line 2: ", "got 6"),
        ("a.csv", f"{HEAD}a.png,1,2\n", ", line 2: ", "got 3"),
        ("a.csv", f"{HEAD},1,2,3,4\n", ", line 2: ", "$.image"),
        ("a.csv", f"{HEAD}.,1,2,3,4\n", ", line 2: ", "got no file"),
        ("a.csv", f"{HEAD}A.PNG,1,2,3,4\n", ", line 2: ", "A.PNG, as for 1 of 1"),
        ("a.csv", f"{HEAD}a.png,1,2,3,4\n{'b' * 300},1,2,3,4\n", ", line 3: ", "as for 1 of 2"),
        ("a.csv", f"{HEAD}a.png,1,nan,2,3\n", ", line 2: ", "$.near[1]"),
        ("a.csv", f"{HEAD}a.png,1,1,inf,3\n", ", line 2: ", "$.far[0]"),
        ("a.json", "{", ": ", "expected JSON"),
        ("a.json", 3, ": ", "got 3"),
        ("a.json", [{"image": "a.png", "near": [1, 2]}], "[0]: ", "`far`"),
        ("a.json", [{"image": "a.png", "near": [1], "far": [1, 2]}], "[0]: ", "$.near"),
        ("a.json", [{"image": "a.png", "near": [True, 1], "far": [1, 2]}], "[0]: ", "$.near[0]"),
        ("a.json", [{"image": "a.png", "near": [10**400, 1], "far": [1, 2]}], "[0]: ", "$.near[0]"),
        ("a.json", {"a.png": [{"point1": [1, 2]}]}, ": a.png[0]: ", "`point2`"),
        ("a.json", {"a.png": [{"point1": [1, 2], "point2": [3, 4], "closer_point": "x"}]},
         ": a.png[0]: ", "$.closer_point"),
        ("a.json", "[" * 100_000, ": ", "got nested hundreds of levels"),
        ("a.json", '{"a.png": [], "a.png": []}', ": ", "got 'a.png' twice"),
        ("a.jsonl", "{}\n", ", line 1: ", "got {}"),
        ("a.jsonl", '\n{"image": "a.png", "near": [1], "far": [1, 2]}', ", line 2: ", "$.near"),
        ("a.jsonl", "[\n]", ", line 1: ", "expected JSON"),
    ],
)  # fmt: skip
def test_an_invalid_file_names_its_row(
    folder: Path, name: str, content: object, where: str, got: str
) -> None:
    path = write(folder, name, content)
    with pytest.raises(BadInput) as refused:
        read_point_pairs(path)
    assert str(refused.value).startswith(f"{path}{where}expected ")
    assert got in str(refused.value)


@pytest.mark.parametrize("rows", ["a.png,0.2,0.1,1.0,0.5\n", "a.png,1,1,0,0\na.png,0,0,.5,1\n"])
def test_fractions_of_the_picture_are_refused_also_with_a_coordinate_of_1(
    folder: Path, rows: str
) -> None:
    line = rows.count("\n") + 1
    with pytest.raises(BadInput, match=rf"a\.csv, line {line}: expected pixels, got 0\.\d"):
        read_point_pairs(write(folder, "a.csv", HEAD + rows))


@pytest.mark.parametrize("rows", ["a.png,0.2,0.1,1.5,0.5\n", "a.png,1,0,0,1\n"])
def test_pixels_of_a_corner_are_pixels(folder: Path, rows: str) -> None:
    assert read_point_pairs(write(folder, "a.csv", HEAD + rows))


@pytest.mark.parametrize("form", ["jpg", "tif", "webp", "png"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_points_are_checked_against_the_upright_picture(
    tmp_path: Path, form: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{form}"
    Image.new("RGB", (6, 4)).save(path, exif=exif)
    width, height = (4, 6) if orientation > 4 else (6, 4)
    last = PointPair((width - 0.1, height - 0.1), (0, 0), "a.csv, line 2")
    check_points({path: [last]})
    for point in ((0, height), (width, 0), (-0.5, 0)):
        beyond = PointPair((0, 0), point, "a.csv, line 3")
        told = rf"^a\.csv, line 3: .* below {width} and .* {height}, got \({point[0]}, .*2 outside"
        with pytest.raises(BadInput, match=told):
            check_points({path: [last, beyond, beyond]})


def test_pictures_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    write_image(whole)
    for name, data in (("no.jpg", b"no picture"), ("cut.png", whole.read_bytes()[:200])):
        (tmp_path / name).write_bytes(data)
        check_points({tmp_path / name: [PointPair((900, 900), (0, 0), "")]})
