from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from made_depth import MODELS, Knows, scene, two_folders, write_image
from numpy.typing import NDArray
from PIL import Image

from pearl_data.depth_eval.calibration import Calibration
from pearl_data.depth_eval.evaluate import RULE, LowerIsNearer, Options, evaluate, labels
from pearl_data.depth_eval.figures import Gallery
from pearl_data.depth_eval.records import DepthReport, Dropped, Estimate
from pearl_data.depth_eval.report import cell, depth_page, depth_text
from pearl_data.report.depth_colours import UNKNOWN
from pearl_tools.errors import BadInput


def test_every_model_stands_beside_the_rule(report: DepthReport) -> None:
    (found,) = report.sets
    assert [row.method for row in found.rows] == ["good", "bad", RULE]
    good, bad, rule = found.rows
    assert good.ordinal.value > 0.97  # half size costs some at the box's border
    assert bad.ordinal.value < 0.03
    assert rule.over_rule is None
    assert good.over_rule.value == pytest.approx(good.ordinal.value - rule.ordinal.value, abs=2e-5)
    assert good.over_rule.low > 0 > bad.over_rule.high
    assert {row.images for row in found.rows} == {3}
    assert len({row.pairs for row in found.rows}) == 1  # the same pairs for all
    assert good.pixels == 3 * 44 * 64
    assert [picture.name for picture in found.pictures] == ["0", "1", "2"]


def test_the_same_is_measured_every_time(data: Path, report: DepthReport) -> None:
    again = evaluate([data], MODELS, Options(pairs=2000))
    assert msgspec.json.encode(again) == msgspec.json.encode(report)


def test_point_pairs_are_judged_by_order_alone(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    rows = ["a.png,20,10,50,10", "a.png,20,10,2,40", "a.png,30,46,30,30"]
    (tmp_path / "p.csv").write_text("\n".join(["image,near_x,near_y,far_x,far_y", *rows]))
    (found,) = evaluate([tmp_path / "p.csv"], MODELS).sets
    good, bad, rule = found.rows
    assert (good.ordinal.value, bad.ordinal.value) == (1, 0)
    assert rule.ordinal.value == 0.5  # a tie, one wrong, one right
    assert good.spearman is None
    assert good.pairs == 3
    assert "Spearman" not in depth_text(evaluate([tmp_path / "p.csv"], [])).split("\n\n")[0]


def test_a_point_outside_its_picture_names_file_and_row(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    rows = "a.png,1,2,3,4\na.png,64,0,1,1\n"
    (tmp_path / "p.csv").write_text(f"image,near_x,near_y,far_x,far_y\n{rows}")
    with pytest.raises(BadInput, match=r"p\.csv, line 3: expected points inside a\.png, .*64, 0"):
        evaluate([tmp_path / "p.csv"], [])


def test_pictures_of_points_are_named_as_the_file_names_them(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        write_image(tmp_path / folder / "1.png")
    rows = "x/1.png,1,2,3,4\ny/1.png,1,2,3,4\n"
    (tmp_path / "p.csv").write_text(f"image,near_x,near_y,far_x,far_y\n{rows}")
    (found,) = evaluate([tmp_path / "p.csv"], []).sets
    assert [picture.name for picture in found.pictures] == ["x/1.png", "y/1.png"]


def test_pixels_below_0_are_counted_and_told(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    depth = scene()[1].copy()
    depth[:3] *= -1
    np.save(tmp_path / "a_depth.npy", depth)
    report = evaluate([tmp_path], [], Options(pairs=50))
    assert report.sets[0].below_0 == 3 * 64
    told = "1 picture, .* pixels; 192 pixels below 0"
    assert re.search(told, depth_text(report))
    assert re.search(told, depth_page(report, Gallery()))


def test_a_picture_that_cannot_be_used_is_left_out_and_told(tmp_path: Path) -> None:
    two_folders(tmp_path, 3)
    whole = (tmp_path / "color" / "2.png").read_bytes()
    (tmp_path / "color" / "0.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "depth" / "1.png").write_bytes(b"no depth")
    report = evaluate([tmp_path], MODELS, Options(pairs=200))
    (found,) = report.sets
    assert [picture.name for picture in found.pictures] == ["2"]
    assert [left.name for left in found.left_out] == ["0", "1"]
    for left, file in zip(found.left_out, ("color/0.png", "depth/1.png"), strict=True):
        assert str(tmp_path / file) in left.reason
        assert f"dropped: {left.reason}" in depth_text(report)
        assert html.escape(f"dropped: {left.reason}") in depth_page(report, Gallery())
    assert "pixels; 2 dropped\n" in depth_text(report)
    assert msgspec.json.decode(msgspec.json.encode(report), type=DepthReport) == report
    (tmp_path / "color" / "2.png").write_bytes(b"")
    with pytest.raises(BadInput, match=r"0\.png.*; all 3 pictures were dropped$"):
        evaluate([tmp_path], MODELS, Options(pairs=200))


def test_a_picture_of_point_pairs_that_cannot_be_read_is_left_out_too(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    rows = "a.png,20,10,50,10\nb.png,20,10,50,10\n"
    (tmp_path / "p.csv").write_text(f"image,near_x,near_y,far_x,far_y\n{rows}")
    (found,) = evaluate([tmp_path / "p.csv"], MODELS).sets
    assert [left.name for left in found.left_out] == ["b.png"]
    assert found.rows[0].pairs == 1


def test_very_many_reasons_are_told_in_part(report: DepthReport) -> None:
    many = [Dropped(name=str(n), reason=f"{n}.png: empty") for n in range(25)]
    found = msgspec.structs.replace(report.sets[0], left_out=many)
    text = depth_text(msgspec.structs.replace(report, sets=[found]))
    assert text.count(".png: empty") == 20
    assert "\n  dropped: 5 more, see --json\n" in text


def test_a_ratio_that_leaves_no_pair_is_told(data: Path) -> None:
    report = evaluate([data], MODELS, Options(pairs=50, ratio=100))
    text = depth_text(report)
    assert "3 pictures, 0 pairs, " in text
    assert "--ratio" in text.splitlines()[0]
    assert "ordinal" in text.splitlines()[2]
    assert report.sets[0].rows[0].ordinal is None


def degenerate(kind: str) -> np.ndarray:
    """A truth after alignment to which every map is right."""
    depth = np.full((48, 64), 2, np.float32)
    if kind == "few":
        depth[:] = np.nan
        depth[3, 4:23] = scene()[1][20:39, 4]
    if kind == "one":
        depth[:] = 0
        depth[3, 4] = 2
    return depth


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("wall", "; 1 of constant depth"),
        ("one", "; 1 of constant depth"),
        ("few", "; 1 with under 20 known pixels"),
    ],
)
def test_a_truth_without_ground_for_an_alignment_scores_nothing(
    tmp_path: Path, kind: str, told: str
) -> None:
    write_image(tmp_path / "a.png")
    np.savez(tmp_path / "a_depth.npz", depth_m=degenerate(kind))
    gallery = Gallery()
    report = evaluate([tmp_path], MODELS, Options(pairs=200), look=gallery.look)
    for row in report.sets[0].rows:
        assert (row.abs_rel, row.delta_1) == (None, None)
    text = depth_text(report)
    assert told in text
    page = depth_page(report, gallery)
    assert told in page
    errors = re.findall(r'src="data:image/jpeg;base64,([^"]+)" alt="its error"', page)
    assert len(errors) == len(report.methods)
    for picture in errors:
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))
        assert (abs(shown.astype(int) - UNKNOWN) < 4).all(), "white would say that all is right"
    assert "lower it" not in text, "no --ratio makes pairs of one depth"


def test_a_truth_without_ground_does_not_raise_the_mean_of_a_set(tmp_path: Path) -> None:
    two_folders(tmp_path, 1)
    (before,) = evaluate([tmp_path], MODELS, Options(pairs=200)).sets
    write_image(tmp_path / "color" / "wall.png")
    wall = np.full((48, 64), 2000, np.uint16)
    Image.fromarray(wall).save(tmp_path / "depth" / "wall.png")
    (after,) = evaluate([tmp_path], MODELS, Options(pairs=200)).sets
    assert (after.one_depth, after.rows[0].images) == (1, 2)
    for row, was in zip(after.rows, before.rows, strict=True):
        assert row.abs_rel is not None
        assert was.abs_rel is not None
        assert row.abs_rel.value == was.abs_rel.value


def test_a_unit_that_looks_wrong_is_told_in_every_form(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    np.savez(tmp_path / "a_depth.npz", depth_m=scene()[1] * 1000)
    report = evaluate([tmp_path], MODELS, Options(pairs=200))
    (doubt,) = report.sets[0].doubts
    told = f"warning: {doubt}"
    assert told in depth_text(report)
    assert html.escape(told) in depth_page(report, Gallery())


def test_a_model_that_gives_no_numbers_is_named_with_the_picture(data: Path) -> None:
    with pytest.raises(
        BadInput,
        match=r"0\.png: expected finite depth, .* 'org/nan'; .*; all 3 pictures",
    ):
        evaluate([data], [*MODELS, Knows("org/nan", sign=float("nan"))])


class Fails(Knows):
    """A model that gives no numbers for its second picture, and counts them."""

    shown = 0

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        self.shown += len(images)
        return [np.nan * one if self.shown == 2 else one for one in super().predict(images)]


def test_a_picture_for_which_a_model_gives_no_numbers_is_left_out_for_all(
    data: Path, tmp_path: Path
) -> None:
    rows = [f"{data}/color/{n}.png,20,10,50,10" for n in range(3)]
    (tmp_path / "p.csv").write_text("\n".join(["image,near_x,near_y,far_x,far_y", *rows]))
    for place, name in ((data, "1"), (tmp_path / "p.csv", f"{data}/color/1.png")):
        (found,) = evaluate([place], [MODELS[0], Fails("org/fails")], Options(pairs=200)).sets
        (left,) = found.left_out
        assert left.name == name
        assert left.reason.startswith(f"{data}/color/1.png: expected finite depth")
        assert "'org/fails'" in left.reason
        assert [row.images for row in found.rows] == [2, 2, 2]
        assert len(found.pictures) == 2


def bad_places(folder: Path) -> dict[str, tuple[Path, str]]:
    """Places that cannot be measured, and what is said of them."""
    (folder / "empty").mkdir()
    two_folders(folder / "two")
    np.save(folder / "two" / "depth" / "1.npy", scene()[1])
    write_image(folder / "a.png")
    for name, row in (("beyond", "a.png,64,0,1,1"), ("absent", "b.png,1,1,2,2")):
        head = "image,near_x,near_y,far_x,far_y\na.png,1,2,3,4\n"
        (folder / f"{name}.csv").write_text(f"{head}{row}\n")
    return {
        "empty": (folder / "empty", "expected pictures with depth, got pictures alone: none"),
        "two truths": (folder / "two", "expected one file of depth"),
        "point beyond": (folder / "beyond.csv", "line 3: expected points inside a.png"),
        "no picture": (folder / "absent.csv", "line 3: expected a picture"),
    }


@pytest.mark.parametrize("kind", ["empty", "two truths", "point beyond", "no picture"])
def test_what_is_wrong_with_a_later_place_is_told_before_the_first_prediction(
    data: Path, tmp_path: Path, kind: str
) -> None:
    place, told = bad_places(tmp_path)[kind]
    model = Fails("org/fails")
    with pytest.raises(BadInput, match=re.escape(told)):
        evaluate([data, place], [model])
    assert model.shown == 0


def test_a_set_of_which_nothing_can_be_measured_does_not_cost_the_others(
    data: Path, tmp_path: Path
) -> None:
    two_folders(tmp_path)
    for path in (tmp_path / "color").iterdir():
        path.write_bytes(b"")
    report = evaluate([data, tmp_path], MODELS, Options(pairs=200))
    measured, damaged = report.sets
    assert measured.rows[0].images == 3
    assert (damaged.rows, damaged.pictures, len(damaged.left_out)) == ([], [], 2)
    told = f"{tmp_path}: no picture measured; 2 dropped\n"
    assert told in depth_text(report, by_picture=True)
    page = depth_page(report, Gallery())
    assert "no picture measured; 2 dropped" in page
    assert html.escape(damaged.left_out[0].reason) in page


def test_depth_without_a_picture_is_told_by_name(tmp_path: Path) -> None:
    two_folders(tmp_path, 5)
    for number in range(4):
        (tmp_path / "color" / f"{number}.png").unlink()
    report = evaluate([tmp_path], [], Options(pairs=50))
    assert report.sets[0].truths_alone == ["0.png", "1.png", "2.png", "3.png"]
    told = "; 4 files of depth without a picture (0.png, 1.png, 2.png and 1 more)"
    assert told in depth_text(report)
    assert told in depth_page(report, Gallery())


def test_progress_is_counted_on_stderr(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate([data, data / "color" / "0.png"], [], Options(pairs=50), progress=True)
    told = capsys.readouterr()
    assert "eval 1/4 pictures, " in told.err
    assert "eval 4/4 pictures, " in told.err
    assert told.out == ""
    evaluate([data], [], Options(pairs=50))
    assert capsys.readouterr().err == ""


def test_the_opposite_of_the_truth_is_counted_and_told(
    report: DepthReport, gallery: Gallery, tmp_path: Path
) -> None:
    (found,) = report.sets
    assert [row.flipped for row in found.rows[:2]] == [0, 3]
    assert [picture.rows[1].flipped for picture in found.pictures] == [1, 1, 1]
    told = "note: bad: opposite to the truth on 3 of 3 pictures"
    assert f"\n  {told}" in depth_text(report)
    page = depth_page(report, gallery)
    assert told in page
    captions = re.findall(r"<b>(.*?)</b><br>([^<]*)<", page)
    flat = {title for title, words in captions if words.endswith("the truth, shown flat")}
    assert ("bad" in flat, "good" in flat) == (True, False)
    write_image(tmp_path / "a.png")
    np.savez(tmp_path / "a_depth.npz", depth_m=degenerate("wall"))
    (wall,) = evaluate([tmp_path], MODELS, Options(pairs=50)).sets
    assert [row.flipped for row in wall.rows] == [0, 0, 0]  # one depth has no opposite


def test_text_names_sets_counts_and_methods(report: DepthReport, data: Path) -> None:
    text = depth_text(report, by_picture=True)
    assert f"{data}: 3 pictures, " in text
    assert text.count(RULE) == 4  # the set and its three pictures


def test_cells_are_short() -> None:
    assert cell(Estimate(value=0.8432, low=0.801, high=0.88)) == ".843 [.80, .88]"
    assert cell(Estimate(value=1, low=1, high=1)) == "1.000 [1.00, 1.00]"
    assert cell(Estimate(value=-0.046, low=-0.09, high=0.012), signed=True) == "-.046 [-.09, +.01]"
    assert cell(Estimate(value=0.26, low=-0.02, high=0.54)) == ".260 [-.02, .54]"
    assert cell(Estimate(value=1, low=0.342, high=1, interval="wilson")) == "1.000 [.34, 1.00]*"
    assert cell(Estimate(value=0, low=None, high=None, interval="none"), signed=True) == "+.000 [-]"
    assert cell(None) == "-"


def test_labels_are_short_where_they_can_be() -> None:
    assert labels([Knows("a/x#metric"), Knows("a/y")]) == ["x", "y"]
    assert labels([Knows("a/x"), Knows("b/x")]) == ["a/x", "b/x"]
    assert labels([Knows("/m/a/x/#metric"), Knows("/m/b/x#inverse")]) == ["a/x", "b/x"]
    assert labels([Knows("models/x/#metric"), Knows("y#1")]) == ["x", "y#1"]
    assert labels([Knows("x#metric"), Knows("x#inverse")]) == ["x#metric", "x#inverse"]


def test_the_rule_looks_at_nothing() -> None:
    (first,) = LowerIsNearer().predict([np.zeros((3, 2, 3), np.uint8)])
    assert first.tolist() == [[0, 0], [1, 1], [2, 2]]


def test_few_pairs_have_no_interval_of_certainty(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "p.csv").write_text("image,near_x,near_y,far_x,far_y\na.png,20,10,50,10\n")
    report = evaluate([tmp_path / "p.csv"], MODELS)
    good = report.sets[0].rows[0]
    assert (good.ordinal.low, good.ordinal.high) == (pytest.approx(0.2065, abs=1e-4), 1)
    assert (good.over_rule.low, good.over_rule.interval) == (None, "none")
    text = depth_text(report)
    assert "1 picture, 1 pair\n" in text
    assert "1.000 [.21, 1.00]*" in text
    assert "marked *" in " ".join(text.split())


@pytest.mark.parametrize("name", ["motorcycle", "redwood"])
def test_the_rule_on_real_frames_is_as_measured(shared_data: Path, name: str) -> None:
    """Known figures: a change of the measures or of the reading of truth shows here."""
    depth = shared_data / "depth"
    place = depth / ("motorcycle_left.png" if name == "motorcycle" else "redwood_rendered")
    camera = Calibration(994.978, 193.001, 31.086)
    (found,) = evaluate([place], [], Options(calibration=camera)).sets
    expected = {"motorcycle": (0.896, 0.666), "redwood": (0.820, 0.576)}[name]
    (rule,) = found.rows
    assert (rule.ordinal.value, rule.spearman.value) == pytest.approx(expected, abs=0.002)
