from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_depth import disparity, scene, two_folders, write_image, write_png

from pearl_data.depth_eval.calibration import Calibration
from pearl_data.depth_eval.frames import find_frames, open_frame
from pearl_tools.errors import BadInput, ToolFailure


def test_two_folders_are_matched_by_name_and_the_rest_counted(tmp_path: Path) -> None:
    two_folders(tmp_path)
    write_image(tmp_path / "color" / "alone.png")
    found = find_frames(tmp_path)
    assert [(f.name, f.image.name, f.truth.name) for f in found.frames] == [
        ("0", "0.png", "0.png"),
        ("1", "1.png", "1.png"),
    ]
    assert len(found.without) == 1


def test_one_folder_is_told_apart_by_the_ends_of_names(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    write_png(tmp_path / "a_depth.png")
    write_image(tmp_path / "bike_left.png")
    write_image(tmp_path / "bike_right.png")
    np.savez(tmp_path / "bike_disp.npz", disparity())
    found = find_frames(tmp_path)
    assert [(f.name, f.image.name, f.truth.name) for f in found.frames] == [
        ("a", "a.jpg", "a_depth.png"),
        ("bike", "bike_left.png", "bike_disp.npz"),
    ]
    assert len(found.without) == 1
    one = find_frames(tmp_path / "bike_left.png")
    assert [f.name for f in one.frames] == ["bike"]
    image, truth = open_frame(one.frames[0], Calibration(100, 500, 0.5), 1000)
    assert image.shape == (48, 64, 3)
    np.testing.assert_allclose(truth.depth_m.ravel()[1:], scene()[1].ravel()[1:], rtol=1e-5)


def test_one_picture_of_either_layout_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_folders(tmp_path)
    (frame,) = find_frames(tmp_path / "color" / "1.png").frames
    assert frame.truth == tmp_path / "depth" / "1.png"
    monkeypatch.chdir(tmp_path / "color")
    (frame,) = find_frames(Path("1.png")).frames
    assert frame.truth.samefile(tmp_path / "depth" / "1.png")
    write_image(tmp_path / "color" / "alone.png")
    with pytest.raises(BadInput, match=r"alone\.png: expected pictures with depth"):
        find_frames(Path("alone.png"))


def test_ends_of_names_may_be_in_capitals(tmp_path: Path) -> None:
    write_image(tmp_path / "A.PNG")
    write_png(tmp_path / "A_DEPTH.PNG")
    write_image(tmp_path / "bike_LEFT.PNG")
    np.savez(tmp_path / "bike_Disp.npz", disparity())
    (tmp_path / "bike_Disp.npz").rename(tmp_path / "bike_Disp.NPZ")
    found = find_frames(tmp_path)
    assert [frame.name for frame in found.frames] == ["A", "bike"]
    for frame in found.frames:
        assert open_frame(frame, Calibration(100, 500, 0.5), 1000)[1].depth_m.shape == (48, 64)


def test_capitals_of_folders_and_names_make_no_difference(tmp_path: Path) -> None:
    write_image(tmp_path / "two" / "Color" / "IMG_1.JPG")
    write_png(tmp_path / "two" / "DEPTH" / "img_1.png")
    write_image(tmp_path / "one" / "IMG_1.JPG")
    write_png(tmp_path / "one" / "img_1_depth.png")
    for layout, truth in (("two/Color", "two/DEPTH/img_1.png"), ("one", "one/img_1_depth.png")):
        picture = tmp_path / layout / "IMG_1.JPG"
        (found,) = find_frames(tmp_path / layout.split("/")[0]).frames
        assert found == ("IMG_1", picture, tmp_path / truth)
        assert find_frames(picture).frames == [found]


def test_names_that_differ_only_by_capitals_are_paired_as_they_are_written(tmp_path: Path) -> None:
    for name in ("a", "A"):
        write_image(tmp_path / "color" / f"{name}.png")
        write_png(tmp_path / "depth" / f"{name}.png")
    write_image(tmp_path / "color" / "b.png")
    write_image(tmp_path / "color" / "B.png")
    write_png(tmp_path / "depth" / "b.png")
    found = find_frames(tmp_path)
    assert [(f.name, f.truth.name) for f in found.frames] == [
        ("A", "A.png"),
        ("a", "a.png"),
        ("b", "b.png"),
    ]
    assert len(found.without) == 1  # B: the depth of b is that of b


def test_names_between_which_only_capitals_decide_are_told(tmp_path: Path) -> None:
    for name in ("Bb", "bb"):
        write_image(tmp_path / "color" / f"{name}.png")
    write_png(tmp_path / "depth" / "BB.png")
    with pytest.raises(
        BadInput, match=r"BB\.png: expected one picture of this name, got .*/Bb.* and .*/bb"
    ):
        find_frames(tmp_path)
    (tmp_path / "color" / "bb.png").unlink()
    assert len(find_frames(tmp_path).frames) == 1
    write_png(tmp_path / "depth" / "bb.png")
    with pytest.raises(BadInput, match=r"Bb\.png: expected one file of depth, got .*BB\.png and"):
        find_frames(tmp_path)
    write_image(tmp_path / "color" / "c.png")
    write_png(tmp_path / "depth" / "c.png")
    assert len(find_frames(tmp_path / "color" / "c.png").frames) == 1  # not its matter


def test_two_files_of_depth_for_one_picture_are_told(tmp_path: Path) -> None:
    two_folders(tmp_path)
    np.save(tmp_path / "depth" / "1.npy", scene()[1])
    with pytest.raises(BadInput, match=r"1\.png: expected one file of depth, got .*npy and .*png"):
        find_frames(tmp_path)


@pytest.mark.parametrize("other", ["a_depth.npy", "a_disp.npz", "a_left_depth.npy"])
def test_two_files_of_depth_in_one_folder_are_told_and_neither_is_a_picture(
    tmp_path: Path, other: str
) -> None:
    write_image(tmp_path / "a_left.png")
    write_png(tmp_path / "a_depth.png")
    (np.savez if other.endswith(".npz") else np.save)(tmp_path / other, scene()[1])
    told = r"a_left\.png: expected one file of depth, got .*/a_.* and .*/a_.*; remove or rename all"
    with pytest.raises(BadInput, match=told):
        find_frames(tmp_path)
    with pytest.raises(BadInput, match=told):
        find_frames(tmp_path / "a_left.png")
    write_image(tmp_path / "b.png")
    write_png(tmp_path / "b_depth.png")
    assert len(find_frames(tmp_path / "b.png").frames) == 1  # not its matter


def test_depth_beside_a_picture_and_in_the_folder_of_depth_are_two_files(tmp_path: Path) -> None:
    two_folders(tmp_path)
    write_png(tmp_path / "color" / "1_depth.png")
    with pytest.raises(
        BadInput, match=r"1\.png: expected one file of depth, got .* and .*; remove"
    ):
        find_frames(tmp_path / "color" / "1.png")


def test_two_files_of_depth_without_a_beginning_are_told(tmp_path: Path) -> None:
    write_image(tmp_path / "im0.png")
    write_png(tmp_path / "depth.png")
    np.savez(tmp_path / "disp0.npz", disparity())
    with pytest.raises(
        BadInput, match=r"im0\.png: expected one file of depth, got .*depth\.png and"
    ):
        find_frames(tmp_path)


@pytest.mark.parametrize("truth", ["depth/0.png", "color/0_depth.png"])
def test_two_pictures_of_one_name_are_told(tmp_path: Path, truth: str) -> None:
    for form in ("jpg", "png"):
        write_image(tmp_path / "color" / f"0.{form}")
    place = tmp_path if truth.startswith("depth") else tmp_path / "color"
    write_png(tmp_path / truth)
    told = r"0(_depth)?\.png: expected one picture of this name, got .*0\.jpg and .*0\.png; remove"
    with pytest.raises(BadInput, match=told):
        find_frames(place)
    for form in ("jpg", "png"):  # who names one has chosen
        picture = tmp_path / "color" / f"0.{form}"
        assert find_frames(picture).frames == [("0", picture, tmp_path / truth)]


def test_of_two_ends_of_a_picture_the_earlier_has_the_depth(tmp_path: Path) -> None:
    for name in ("x.jpg", "x_left.png"):
        write_image(tmp_path / name)
    write_png(tmp_path / "x_depth.png")
    found = find_frames(tmp_path)
    assert [frame.image.name for frame in found.frames] == ["x.jpg"]
    assert [path.name for path in found.without] == ["x_left.png"]


def test_depth_without_a_picture_is_known(tmp_path: Path) -> None:
    two_folders(tmp_path / "two")
    (tmp_path / "two" / "color" / "0.png").unlink()
    found = find_frames(tmp_path / "two")
    assert [path.name for path in found.truths] == ["0.png"]
    for name in "abcd":
        write_png(tmp_path / "one" / f"{name}_depth.png")
    told = r"got pictures alone: none, depth alone: a_depth\.png, .*c_depth\.png and 1 more"
    with pytest.raises(BadInput, match=told):
        find_frames(tmp_path / "one")
    write_image(tmp_path / "one" / "a.png")
    assert [path.name[0] for path in find_frames(tmp_path / "one").truths] == ["b", "c", "d"]
    assert find_frames(tmp_path / "one" / "a.png").truths == []


def test_a_folder_without_depth_names_its_pictures(tmp_path: Path) -> None:
    for name in "abcd":
        write_image(tmp_path / f"{name}.jpg")
    told = r": expected .* alone: a\.jpg, b\.jpg, c\.jpg and 1 more, depth alone: none;"
    with pytest.raises(BadInput, match=told):
        find_frames(tmp_path)
    with pytest.raises(
        BadInput, match=r"a\.jpg: expected pictures with depth, got pictures alone: a\.jpg,"
    ):
        find_frames(tmp_path / "a.jpg")


def test_a_file_that_is_neither_picture_nor_pairs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("{}")
    with pytest.raises(BadInput, match=r"p\.txt: expected .* \.csv, \.json, \.jsonl, got \.txt"):
        find_frames(tmp_path / "p.txt")


def test_depth_of_another_shape_or_without_values_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    np.save(tmp_path / "a_depth.npy", np.ones((48, 48)))
    (frame,) = find_frames(tmp_path).frames
    with pytest.raises(BadInput, match="got 48x48 for 64x48"):
        open_frame(frame, None, 1000)
    np.save(tmp_path / "a_depth.npy", np.zeros((24, 32)))
    with pytest.raises(BadInput, match="expected some known depth"):
        open_frame(frame, None, 1000)
    np.savez(tmp_path / "a_depth.npz", depth=-np.ones((24, 32)))
    (tmp_path / "a_depth.npy").unlink()
    (frame_,) = find_frames(tmp_path).frames
    with pytest.raises(BadInput, match=r"got none, and 768 of 768 values below 0"):
        open_frame(frame_, None, 1000)
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    np.save(tmp_path / "a_depth.npy", np.ones((48, 64)))
    with pytest.raises(ToolFailure, match=r"a\.jpg"):
        open_frame(frame, None, 1000)


@pytest.mark.parametrize("form", ["pfm", "npy", "npz"])
def test_a_scene_as_middlebury_lays_it_out_is_found_and_read(tmp_path: Path, form: str) -> None:
    write_image(tmp_path / "im0.png")
    write_image(tmp_path / "im1.png")
    values = disparity()
    if form == "pfm":
        head = b"Pf\n64 48\n-0.0039\n"
        (tmp_path / "disp0.pfm").write_bytes(head + values[::-1].astype("<f4").tobytes())
        (tmp_path / "disp1.pfm").write_bytes(b"of the right picture")
    else:
        (np.save if form == "npy" else np.savez)(tmp_path / "disp0", values)
    (tmp_path / "calib.txt").write_text("cam0=[100 0 1; 0 100 1; 0 0 1]\nbaseline=500\ndoffs=0.5\n")
    found = find_frames(tmp_path)
    (frame,) = found.frames
    assert frame == ("im0", tmp_path / "im0.png", tmp_path / f"disp0.{form}")
    assert [path.name for path in found.without] == ["im1.png"]
    assert find_frames(tmp_path / "im0.png").frames == [frame]
    _, truth = open_frame(frame, None, 1000)
    assert np.isnan(truth.depth_m[0, 0])
    np.testing.assert_allclose(truth.depth_m.ravel()[1:], scene()[1].ravel()[1:], rtol=1e-5)


def test_depth_without_a_beginning_gives_way_to_depth_with_one(tmp_path: Path) -> None:
    write_image(tmp_path / "image.png")
    write_png(tmp_path / "depth.png")
    assert find_frames(tmp_path).frames == [
        ("image", tmp_path / "image.png", tmp_path / "depth.png")
    ]
    write_png(tmp_path / "image_depth.png")
    (frame,) = find_frames(tmp_path).frames
    assert frame.truth == tmp_path / "image_depth.png"
