from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_depth import scene, write_png

from pearl_data.depth_eval.calibration import Calibration, read_calibration
from pearl_data.depth_eval.truth import may_be_disparity, read_truth
from pearl_tools.errors import BadInput, UsageError


def read_depth_m(
    path: Path, calibration: Calibration | None, *, png_per_m: float = 1000
) -> np.ndarray:
    return read_truth(path, calibration, png_per_m=png_per_m).depth_m


TEXT = "focal_px=100,baseline_mm=50,offset_px=1"


def test_png_is_millimetres_and_zero_is_unknown(tmp_path: Path) -> None:
    write_png(tmp_path / "a_depth.png", hole=True)
    depth = read_depth_m(tmp_path / "a_depth.png", None)
    assert depth.dtype == np.float32
    assert np.isnan(depth[:4]).all()
    np.testing.assert_allclose(depth[4:], scene()[1][4:], atol=6e-4)


def test_another_unit_of_png_is_said_not_guessed(tmp_path: Path) -> None:
    write_png(tmp_path / "a_depth.png", per_m=5000)
    depth = read_depth_m(tmp_path / "a_depth.png", None, png_per_m=5000)
    np.testing.assert_allclose(depth, scene()[1], atol=2e-4)


@pytest.mark.parametrize(
    ("name", "factor", "median"),
    [
        ("depth_m", 1000, "3.62e+03"),
        ("depth_mm", 1, "0.00362"),
        ("disparity", 1e-4, "1.38e+04"),
        ("depth_m", 1, None),
        ("depth_mm", 1000, None),
    ],
)
def test_a_median_of_another_unit_is_a_doubt(
    tmp_path: Path, name: str, factor: float, median: str | None
) -> None:
    np.savez(tmp_path / "a.npz", **{name: scene()[1] * factor})
    doubts = read_truth(tmp_path / "a.npz", Calibration(100, 50, 0)).doubts
    assert len(doubts) == bool(median)
    assert all(f"a.npz: a median depth of {median} m" in doubt for doubt in doubts)


def test_png_in_another_unit_is_a_doubt(tmp_path: Path) -> None:
    write_png(tmp_path / "a_depth.png", per_m=5000)
    assert read_truth(tmp_path / "a_depth.png", None).doubts == ()
    (doubt,) = read_truth(tmp_path / "a_depth.png", None, png_per_m=1).doubts
    assert "--png-per-m" in doubt


@pytest.mark.parametrize(
    ("most", "count", "told"),
    [
        (65535, 31, "1 % of its pixels hold 65535, .* read as 65.5 m; write 0 "),
        (65535, 30, None),
        (65534, 300, None),
    ],
)
def test_many_pixels_of_the_largest_number_are_told_and_kept(
    tmp_path: Path, most: int, count: int, told: str | None
) -> None:
    values = np.rint(scene()[1] * 1000).astype(np.uint16)  # 3072 pixels
    values.ravel()[:count] = most
    cv2.imwrite(str(tmp_path / "a_depth.png"), values)
    np.savez(tmp_path / "a_depth_mm.npz", depth=values)
    for name in ("a_depth.png", "a_depth_mm.npz"):
        truth = read_truth(tmp_path / name, None)
        assert truth.depth_m[0, 0] == pytest.approx(most / 1000)
        assert len(truth.doubts) == bool(told)
        assert re.search(told or "", "".join(truth.doubts))
    np.savez(tmp_path / "a_depth_mm.npz", depth=values.astype(np.float32))
    assert read_truth(tmp_path / "a_depth_mm.npz", None).doubts == ()  # not the largest of these


def test_every_doubt_is_told(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a_depth.png"), np.full((4, 5), 65535, np.uint16))
    unit, most = read_truth(tmp_path / "a_depth.png", None, png_per_m=10).doubts
    assert "a median depth of 6.55e+03 m" in unit
    assert "100 % of its pixels hold 65535" in most


@pytest.mark.parametrize(
    ("file", "array", "got"),
    [
        ("a_disp", "depth", "array depth in a file of disp"),
        ("a_Depth", "disparity", "array disparity in a file of depth"),
        ("a_depth_mm", "depth_m", "array depth_m in a file of depth_mm"),
        ("a_disp", "depth_mm", "array depth_mm in a file of disp"),
        ("depth", "disp0", "array disp0 in a file of depth"),
    ],
)
def test_an_array_and_a_file_that_contradict_each_other_are_refused(
    tmp_path: Path, file: str, array: str, got: str
) -> None:
    np.savez(tmp_path / f"{file}.npz", **{array: scene()[1]})
    with pytest.raises(BadInput, match=rf"{file}\.npz: expected .*, got the {got}; "):
        read_depth_m(tmp_path / f"{file}.npz", Calibration(100, 50))


@pytest.mark.parametrize(
    ("place", "array", "factor"),
    [
        ("a_depth_mm", "depth", 1000),  # `depth` says no unit
        ("a_depth", "depth_mm", 1000),
        ("a_depth_m", "depth", 1),
        ("a_depth", "depth", 1),
        ("disp/a", "depth", 1),  # a folder's name is a fallback
        ("depth/a_depth_mm", "arr_0", 1000),
        ("depth_mm/a", "arr_0", 1000),
    ],
)
def test_the_name_that_says_a_unit_decides(
    tmp_path: Path, place: str, array: str, factor: float
) -> None:
    path = tmp_path / f"{place}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **{array: scene()[1] * factor})
    np.testing.assert_allclose(read_depth_m(path, None), scene()[1], rtol=1e-6)


@pytest.mark.parametrize(("name", "factor"), [("depth_m", 1), ("depth", 1), ("depth_mm", 1000)])
def test_arrays_are_what_their_name_says(tmp_path: Path, name: str, factor: float) -> None:
    np.savez(tmp_path / "a.npz", **{name: scene()[1] * factor})
    np.testing.assert_allclose(read_depth_m(tmp_path / "a.npz", None), scene()[1], rtol=1e-6)


def test_an_unnamed_array_is_what_its_file_says(tmp_path: Path) -> None:
    np.save(tmp_path / "a_depth.npy", scene()[1])
    np.testing.assert_allclose(read_depth_m(tmp_path / "a_depth.npy", None), scene()[1])
    np.save(tmp_path / "a.npy", scene()[1])
    with pytest.raises(BadInput, match=r"a\.npy: expected a name that says"):
        read_depth_m(tmp_path / "a.npy", None)


def test_disparity_becomes_depth_by_the_cameras(tmp_path: Path) -> None:
    values = np.full((4, 5), 9.0, np.float32)
    values[0, 0] = np.inf
    values[1, 1] = 0
    np.savez(tmp_path / "a_disp.npz", values)
    depth = read_depth_m(tmp_path / "a_disp.npz", read_calibration(TEXT))
    assert np.isnan(depth[[0, 1], [0, 1]]).all()
    np.testing.assert_allclose(depth[2:], 0.5)  # 100 px x 0.05 m / (9 + 1) px


def test_disparity_without_cameras_says_what_to_pass(tmp_path: Path) -> None:
    np.savez(tmp_path / "a_disp.npz", np.ones((4, 5)))
    with pytest.raises(BadInput, match=r"pass --calibration focal_px=\.\."):
        read_depth_m(tmp_path / "a_disp.npz", None)


def test_calibration_lies_beside_the_file_in_either_form(tmp_path: Path) -> None:
    np.savez(tmp_path / "a_disp.npz", np.full((4, 5), 9.0))
    middlebury = "cam0=[100 0 2; 0 100 2; 0 0 1]\ncam1=[100 0 3; 0 100 2; 0 0 1]\ndoffs=1\n"
    (tmp_path / "calib.txt").write_text(middlebury + "baseline=50\nwidth=5\n")
    np.testing.assert_allclose(read_depth_m(tmp_path / "a_disp.npz", None), 0.5)
    own = {"focal_px": 100, "baseline_mm": 50}
    (tmp_path / "calibration.json").write_text(json.dumps(own))
    assert read_calibration(str(tmp_path / "calibration.json")) == Calibration(100, 50, 0)
    np.testing.assert_allclose(read_depth_m(tmp_path / "a_disp.npz", None), 5 / 9)


@pytest.mark.parametrize(
    "text",
    [
        "focal_px=100",
        "focal_px=100,baseline_mm=0",
        "focal_px=x,baseline_mm=1",
        f"{TEXT},zoom=2",
        f"{TEXT},focal_px=200",
        "focal_px=nan,baseline_mm=1",
        "focal_px=1,baseline_mm=1e999",
        "focal_px=1,baseline_mm=1,offset_px=inf",
        "absent.txt",
        "x" * 5000,
    ],
)
def test_calibrations_that_cannot_be_meant_are_misuse(text: str) -> None:
    with pytest.raises(UsageError, match=r"--calibration: expected"):
        read_calibration(text)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("c.json", '{"focal_px": 1, "focal_px": 2, "baseline_mm": 3}', "got 'focal_px' twice"),
        ("c.JSON", '{"focal_px": NaN, "baseline_mm": 3}', "got JSON is malformed"),
        ("c.json", "[" * 100_000, "got nested hundreds of levels"),
        ("calib.txt", "cam0=[nan 0 1]\nbaseline=3\n", "got focal_px=nan"),
        ("calib.txt", "cam0=[7 0 1]\ncam0=[8 0 1]\nbaseline=3\n", "focal_px=7, focal_px=8"),
    ],
)
def test_what_is_wrong_in_a_calibration_file_names_that_file(
    tmp_path: Path, name: str, content: str, told: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadInput, match=told) as refused:
        read_calibration(str(tmp_path / name))
    assert str(refused.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize(("name", "given"), [("disp", Calibration(100, 50)), ("depth", None)])
def test_what_is_below_0_is_unknown_and_counted(
    tmp_path: Path, name: str, given: Calibration | None
) -> None:
    """0 and what is not finite are marks of the unknown; a sign may be a mistake."""
    np.save(tmp_path / f"a_{name}.npy", np.array([[-3.0, -1e-9, 0, -np.inf, np.nan, 5.0]]))
    depth, below_0, _ = read_truth(tmp_path / f"a_{name}.npy", given)
    assert np.isnan(depth).tolist() == [[True] * 5 + [False]]
    assert below_0 == 2


def test_disparity_behind_the_cameras_is_refused_not_nearest(tmp_path: Path) -> None:
    np.savez(tmp_path / "a_disp.npz", np.array([[0, 5.0, 9.0, 20.0]]))
    with pytest.raises(BadInput, match=r"got -5 px .* in 2 of 3 known .*offset_px=-10"):
        read_depth_m(tmp_path / "a_disp.npz", Calibration(100, 50, -10))


@pytest.mark.parametrize("value", [1e300, 5e-324, 1e7])
@pytest.mark.filterwarnings("error")
def test_depth_beyond_any_scene_is_refused(tmp_path: Path, value: float) -> None:
    np.savez(tmp_path / "a.npz", depth_m=np.array([[1, value]]))
    with pytest.raises(BadInput, match=r"expected depth between 0\.0001 and 1e\+06 m, got"):
        read_depth_m(tmp_path / "a.npz", None)


@pytest.mark.parametrize(
    "array",
    [
        np.ones((2, 2), np.complex64),
        np.ones((2, 2), bool),
        np.array([["1.0", "2.0"]]),
        np.array([["2020"]], "M8[Y]"),
        np.zeros((2, 2), [("z", "f4")]),
    ],
    ids=["complex", "bool", "text", "dates", "records"],
)
def test_arrays_that_are_no_real_numbers_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", depth=array)
    with pytest.raises(
        BadInput, match=r"a\.npz: expected one whole array of real numbers, .* got "
    ):
        read_depth_m(tmp_path / "a.npz", None)


def test_damaged_arrays_are_refused_wherever_they_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a_depth.npz"
    np.savez(path, depth=np.ones((4, 5)))
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 3):
        for damaged in (whole[:place], whole[:place] + b"\xff" + whole[place + 1 :]):
            path.write_bytes(damaged)
            try:
                read_depth_m(path, None)
            except BadInput:
                refused += 1
    assert refused > len(whole) / 3  # every cut, and most bytes


def test_pictures_that_cannot_hold_depth_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a_depth.png"), np.zeros((4, 5), np.uint8))
    with pytest.raises(BadInput, match="expected a whole 16-bit grey PNG, got mode L"):
        read_depth_m(tmp_path / "a_depth.png", None)
    cv2.imwrite(str(tmp_path / "a_disp.png"), np.zeros((4, 5), np.uint16))
    with pytest.raises(BadInput, match="got disparity"):
        read_depth_m(tmp_path / "a_disp.png", None)
    (tmp_path / "b_depth.png").write_bytes(b"no picture")
    with pytest.raises(
        BadInput, match=r"b_depth\.png: expected a whole 16-bit grey PNG, got another format"
    ):
        read_depth_m(tmp_path / "b_depth.png", None)


@pytest.mark.parametrize(
    "content", [b"", b"12 13 14", b"\x80\x04K\x01."], ids=["empty", "text", "pickle"]
)
def test_a_file_that_is_not_of_numpy_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a_disp.npz").write_bytes(content)
    with pytest.raises(
        BadInput, match=r"a_disp\.npz: expected one whole array .*, got another format"
    ):
        read_depth_m(tmp_path / "a_disp.npz", None)


def test_a_file_of_several_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a_depth.npz", x=scene()[1], y=scene()[1])
    with pytest.raises(BadInput, match=r"expected one whole array .*, got the arrays x, y"):
        read_depth_m(tmp_path / "a_depth.npz", None)
    np.savez(tmp_path / "a_depth.npz", x=np.ones((2, 2)), depth_m=scene()[1])
    assert read_depth_m(tmp_path / "a_depth.npz", None).shape == (48, 64)


def test_a_map_with_another_axis_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a_depth.npy", np.ones((1, 4, 5)))
    with pytest.raises(BadInput, match=r"expected one map .*, got shape \(1, 4, 5\)"):
        read_depth_m(tmp_path / "a_depth.npy", None)


class Trap:
    """Unpickled, it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.mkdir, (self.path,)


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    objects = np.array([Trap(tmp_path / "trapped")])
    np.save(tmp_path / "a_depth.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "b.npz", depth=objects)
    for name in ("a_depth.npy", "b.npz"):
        with pytest.raises(BadInput, match="not pickled"):
            read_depth_m(tmp_path / name, None)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(("scale", "order"), [("-1", "<f4"), ("0.5", ">f4"), ("-1e0\r", "<f4")])
def test_pfm_has_its_rows_from_the_bottom_up_in_either_order_of_bytes(
    tmp_path: Path, scale: str, order: str
) -> None:
    path = tmp_path / "a_depth.pfm"
    values = scene()[1].copy()
    values[0, 0] = np.inf
    head = f"Pf\n64 48\n{scale}\n".encode()
    path.write_bytes(head + values[::-1].astype(order).tobytes())
    depth = read_depth_m(path, None)
    assert np.isnan(depth[0, 0])
    np.testing.assert_array_equal(depth[1:], values[1:])


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"P5 2 2 255\n....", r"expected a whole PFM \(Pf, width, height, scale\), got b'P5 2 2"),
        (b"Pf 2 2 -1\n" + bytes(15), "got 15 bytes instead of 16 for 2x2 values"),
        (b"Pf 2 2 -1\n" + bytes(17), "got 17"),
        (b"PF 2 1 -1\n" + bytes(24), r"got shape \(1, 2, 3\)"),
        (b"Pf 0 0 -1\n", r"got shape \(0, 0\)"),
        (b"", "got b''"),
    ],
)
def test_a_damaged_pfm_is_told(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "a_depth.pfm").write_bytes(data)
    with pytest.raises(BadInput, match=told):
        read_depth_m(tmp_path / "a_depth.pfm", None)


def test_files_that_may_hold_disparity(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", disparity=np.ones((2, 2)))
    np.savez(tmp_path / "b_disp.npz", depth=np.ones((2, 2)))
    np.savez(tmp_path / "c_disp.npz", np.ones((2, 2)))
    (tmp_path / "d_depth.npz").write_bytes(b"damaged")
    np.savez(tmp_path / "e_depth.npz", np.ones((2, 2)))
    told = {path.name[0]: may_be_disparity(path) for path in sorted(tmp_path.iterdir())}
    assert told == {"a": True, "b": True, "c": True, "d": True, "e": False}
    write_png(tmp_path / "x_depth.png")
    assert not may_be_disparity(tmp_path / "x_depth.png")
    assert may_be_disparity(tmp_path / "absent_disp0.pfm")


def test_a_baseline_in_metres_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--calibration: .*got .*=0\.193 .*baseline_mm"):
        read_calibration("focal_px=995,baseline_mm=0.193")
    (tmp_path / "calib.txt").write_text("cam0=[995 0 1]\nbaseline=0.12\n")
    with pytest.raises(BadInput, match=r"calib\.txt: .*got .*=0\.12 .*baseline_mm"):
        read_calibration(str(tmp_path / "calib.txt"))


def test_a_depth_of_which_one_bit_flipped_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a_depth.png"
    write_png(path)
    whole = path.read_bytes()
    for place in range(8 * 60, 8 * (len(whole) - 20), 997):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        with pytest.raises(BadInput, match="expected a whole 16-bit grey PNG"):
            read_depth_m(path, None)
