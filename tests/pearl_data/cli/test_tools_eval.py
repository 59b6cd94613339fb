from __future__ import annotations

import json
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from pearl_data.cli.tools import tools
from pearl_data.cli.tools_eval import depth
from pearl_data.terminated import words_on_interrupt
from pearl_tools.errors import BadInput, ModelUnavailable, UsageError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with one picture and its depth: a ramp and a box."""
    folder = tmp_path / "photos"
    folder.mkdir()
    metres = np.repeat(np.linspace(5, 1, 96, dtype=np.float32)[:, None], 128, axis=1)
    metres[20:50, 30:60] = 1.2
    grey = np.clip(250 / metres, 0, 255).astype(np.uint8)
    cv2.imwrite(str(folder / "a.png"), np.repeat(grey[..., None], 3, axis=2))
    cv2.imwrite(str(folder / "a_depth.png"), (metres * 1000).astype(np.uint16))
    return folder


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(tools, ["eval", "depth", *(str(a) for a in arguments)])


def test_the_example_in_the_help_prints_a_table_and_writes_a_page(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = (depth.help or "").partition("Example: pearl-data tools eval depth ")[2]
    monkeypatch.chdir(photos.parent)
    result = invoke(*shlex.split(example))
    assert result.exit_code == 0, result.output
    assert "photos: 1 picture" in result.stdout
    assert "embedded" in result.stdout
    assert "rule: lower is nearer" in result.stdout
    assert "page: depth.html" in result.stdout
    assert (photos.parent / "depth.html").stat().st_size > 5000


def test_json_holds_every_figure_with_its_interval(photos: Path) -> None:
    result = invoke(photos, "--pairs", 500, "--ratio", 1.5, "--json")
    told = json.loads(result.stdout)
    assert (told["ratio"], told["pairs_drawn"]) == (1.5, 500)
    model, rule = told["sets"][0]["rows"]
    assert model["method"] == "embedded"
    for row in (model, rule):
        for name in ("ordinal", "spearman", "abs_rel", "delta_1"):
            assert row[name]["low"] <= row[name]["value"] <= row[name]["high"]
    assert told["methods"][0]["weights_sha256"]


def test_models_that_are_given_replace_the_embedded_one(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    result = invoke(photos, "--depth-model", tmp_path / "none")
    assert isinstance(result.exception, ModelUnavailable)


@pytest.mark.parametrize(
    ("option", "value"), [("--calibration", "focal_px=1"), ("--depth-model", "nonsense")]
)
def test_options_that_mean_nothing_are_misuse(photos: Path, option: str, value: str) -> None:
    result = invoke(photos, option, value)
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith(f"{option}: ")


def test_data_that_cannot_be_measured_is_named(tmp_path: Path) -> None:
    result = invoke(tmp_path)
    assert isinstance(result.exception, BadInput)
    assert str(tmp_path) in str(result.exception)
    assert invoke(tmp_path / "absent").exit_code == 2


@pytest.mark.parametrize("option", ["--ratio", "--png-per-m"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_number_that_is_none_is_misuse(photos: Path, option: str, value: str) -> None:
    result = invoke(photos, option, value)
    assert result.exit_code == 2
    assert f"expected a finite number, got {value}" in result.output


@pytest.mark.parametrize("count", [0, 10_000_001, 10**12])
def test_more_pairs_than_fit_into_memory_are_misuse(photos: Path, count: int) -> None:
    result = invoke(photos, "--pairs", count)
    assert result.exit_code == 2
    assert "1<=x<=10000000" in result.output


@pytest.mark.parametrize("place", ["a_file/page.html", "a_folder"])
def test_a_page_that_cannot_be_written_is_told_before_any_model_is_loaded(
    photos: Path, tmp_path: Path, place: str
) -> None:
    (tmp_path / "a_file").write_text("")
    (tmp_path / "a_folder").mkdir()
    html = tmp_path / place
    result = invoke(photos, "--html", html, "--depth-model", "nonsense")
    assert "nonsense" not in str(result.exception)
    if place == "a_folder":  # click's words
        assert result.exit_code == 2
        return
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith(f"--html: expected a writable file, got {html}: ")


def test_what_was_measured_is_printed_even_if_the_page_fails_at_the_end(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/somewhere/.temporary")

    monkeypatch.setattr("pearl_data.shards.files.write_whole", full)
    result = invoke(photos, "--html", tmp_path / "new" / "page.html")
    assert "photos: 1 picture" in result.stdout
    assert isinstance(result.exception, BadInput)
    assert str(result.exception) == (
        f"{tmp_path / 'new' / 'page.html'}: the page cannot be written: No space left on device"
    )
    assert list((tmp_path / "new").iterdir()) == []


def test_a_picture_that_cannot_be_read_is_a_finding(photos: Path) -> None:
    (photos / "b.jpg").write_bytes(b"half a picture")
    np.save(photos / "b_depth.npy", np.ones((4, 4)))
    result = invoke(photos, "--json")
    assert result.exit_code == 1
    (left,) = json.loads(result.stdout)["sets"][0]["left_out"]
    assert left["name"] == "b"
    assert str(photos / "b.jpg") in left["reason"]
    assert f"\ndropped: {left['reason']}\n" in result.stderr
    result = invoke(photos)
    assert result.exit_code == 1
    assert f"\n  dropped: {left['reason']}\n" in result.stdout
    assert "dropped" not in result.stderr  # once is enough


def test_progress_goes_to_stderr(photos: Path) -> None:
    result = invoke(photos, "--json")
    assert result.stderr.splitlines()[0] == "tools eval: loading embedded"
    assert result.stderr.splitlines()[1].startswith("eval 1/1 pictures, ")
    json.loads(result.stdout)


def test_who_stops_it_is_not_promised_that_it_goes_on(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pearl_data.depth_eval.evaluate.evaluate", stopped)
    invoke(photos)
    assert (
        words_on_interrupt()
        == "interrupted; nothing is kept: the same command starts from the beginning"
    )


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--images", "."], "--images: expected a file of point pairs among DATA"),
        (["--calibration", "focal_px=9,baseline_mm=9"], "--calibration: expected disparity among"),
        (["--png-per-m", "1000"], "--png-per-m: expected depth as PNG among DATA, got none"),
        (["."], "DATA: expected every place once, got . twice"),
    ],
)
def test_what_would_change_nothing_is_misuse(
    photos: Path, monkeypatch: pytest.MonkeyPatch, option: list[str], told: str
) -> None:
    values = cv2.imread(str(photos / "a_depth.png"), cv2.IMREAD_UNCHANGED)
    np.savez(photos / "a_depth.npz", depth_mm=values)
    (photos / "a_depth.png").unlink()
    monkeypatch.chdir(photos)
    result = invoke(photos, *option, "--depth-model", "nonsense")
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith(told)


def test_options_that_are_read_are_taken(photos: Path) -> None:
    result = invoke(photos, "--png-per-m", 2000)
    assert result.exit_code == 0
    (photos / "a_depth.png").unlink()
    np.savez(photos / "a.npz", disparity=np.linspace(1, 9, 96 * 128).reshape(96, 128))
    (photos / "a.npz").rename(photos / "a_disp.npz")
    result = invoke(photos, "--calibration", "focal_px=100,baseline_mm=100")
    assert result.exit_code == 0, result.output
