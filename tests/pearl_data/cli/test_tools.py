from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from made_media import FakeDepth, file_of, gradient
from PIL import Image

from pearl_data.cli import one_call
from pearl_data.cli.tools import tools
from pearl_data.depth_eval.selftest import pictures
from pearl_tools.errors import BadInput, UsageError
from pearl_tools.executor import ToolExecutor
from pearl_tools.media import decode_member, open_image


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(file_of(Image.fromarray(gradient(100, 80)), "PNG"))
    return path


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(tools, [str(a) for a in arguments])


def run_json(photo: Path, tool: str, arguments: Any, *options: object) -> tuple[int, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    result = invoke("run", tool, photo, "--arguments", text, "--json", *options)
    return result.exit_code, json.loads(result.stdout)


def test_registry_is_printed_with_schemas_and_coordinates() -> None:
    result = invoke("--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert [t["name"] for t in document["tools"]] == ["crop", "zoom", "depth"]
    crop = document["tools"][0]
    assert crop["arguments"]["properties"]["bbox"]["minItems"] == 4
    assert crop["coordinates"]["unit"] == "fraction"
    assert crop["version"]
    assert document["dialects"][0]["name"] == "pearl"


def test_registry_is_printed_for_people() -> None:
    result = invoke()
    assert result.exit_code == 0
    assert "crop 1.0(image, bbox)" in result.stdout
    assert "larger (brighter) = nearer" in result.stdout


def test_call_prints_one_observation_and_writes_its_exact_picture(
    photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "cut"
    exit_code, record = run_json(photo, "crop", {"bbox": [0.5, 0.5, 1, 1]}, "--out", out)
    assert exit_code == 0
    assert (record["status"], record["error"]) == ("ok", None)
    assert record["effective"]["box_px"] == [50, 40, 100, 80]
    assert record["effective"]["box_root"] == [50, 40, 100, 80]
    assert record["effective"]["adjustments"] == []
    [medium] = record["media"]
    assert medium["name_in_sample"] == "o1.png"
    data = (out / "o1.png").read_bytes()
    assert (decode_member("o1.png", data) == gradient(100, 80)[40:, 50:]).all()
    assert open_image(data).record.file_sha256 == medium["file_sha256"]
    assert open_image(data).record.pixel_sha256 == medium["pixel_sha256"]


def test_failed_call_prints_its_error_writes_nothing_and_exits_1(
    photo: Path, tmp_path: Path
) -> None:
    exit_code, record = run_json(photo, "crop", {"bbox": [1.2, 0, 1.5, 1]}, "--out", tmp_path / "o")
    assert exit_code == 1
    assert record["status"] == "error"
    assert record["media"] == []
    assert record["error"] == {
        "code": "geometry.outside",
        "path": "arguments.bbox[0]",
        "expected": "x between 0 and 1 (width of i0)",
        "got": "1.2",
        "hint": "the whole box lies outside i0",
        "fault_owner": "caller",
        "retryable": True,
    }
    assert list((tmp_path / "o").iterdir()) == []


def test_box_partly_outside_is_clamped_and_recorded_on_request(photo: Path) -> None:
    box = {"bbox": [0.5, 0.5, 1.5, 1]}
    assert run_json(photo, "crop", box)[1]["error"]["code"] == "geometry.partly_outside"
    exit_code, record = run_json(photo, "crop", box, "--on-partly-outside", "clamp")
    assert exit_code == 0
    [adjustment] = record["effective"]["adjustments"]
    assert adjustment["kind"] == "clamped"
    assert adjustment["requested"] == [0.5, 0.5, 1.5, 1]


def test_depth_writes_the_map_and_a_picture_of_it(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def model(executor: ToolExecutor) -> Signed:
        assert executor.settings.depth_model == "some/model"
        return Signed(1)

    monkeypatch.setattr(ToolExecutor, "depth_model", model)
    exit_code, record = run_json(
        photo, "depth", {}, "--out", tmp_path, "--depth-model", "some/model"
    )
    assert exit_code == 0
    assert "larger is nearer" in record["text"]
    [medium] = record["media"]
    assert (medium["name_in_sample"], medium["picture_in_sample"]) == ("o1.npy", "o1.png")
    values = np.load(tmp_path / "o1.npy", allow_pickle=False)
    assert (values.dtype, values.shape) == (np.float32, (8, 12))
    assert open_image((tmp_path / "o1.png").read_bytes()).pixels.shape == (8, 12, 3)
    in_colour = open_image((tmp_path / "o1-depth.png").read_bytes()).pixels
    assert in_colour.shape[1] == 640
    assert in_colour.shape[0] == 512 + 4 + 21  # of a 100x80 picture; a gap, the legend
    assert np.ptp(in_colour.astype(int), axis=2).max() > 100


class Signed(FakeDepth):
    """Knows the pictures of the self-test, up to ``sign``."""

    model_id, output = "some/model#relative_inverse", "relative_inverse"

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.sign = sign

    def map_of(self, image: np.ndarray) -> np.ndarray:
        shown = {p.image.tobytes(): p.inverse_m for p in pictures()}
        return np.float32(self.sign) * shown.get(image.tobytes(), super().map_of(image))


@pytest.mark.parametrize(
    ("sign", "told"),
    [(1, ""), (-1, "larger = farther, Spearman -1"), (0, "not corr")],
)
def test_depth_of_the_opposite_sign_is_refused_and_an_unclear_one_warned_of(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: float, told: str
) -> None:
    monkeypatch.setattr(ToolExecutor, "depth_model", lambda _: Signed(sign))
    out = tmp_path / "out"
    result = invoke("run", "depth", photo, "--arguments", "{}", "--out", out)
    if sign < 0:
        assert isinstance(result.exception, BadInput)
        assert re.search(f"'{Signed.model_id}': {told}", str(result.exception))
        assert (result.stdout, out.exists()) == ("", False)
        return
    assert result.exit_code == 0
    assert "larger is nearer" in result.stdout
    assert re.search(told, result.stderr)
    assert ("warning" in result.stderr) == (sign == 0)


def test_one_call_runs_on_one_thread_as_the_calls_of_a_job_do(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[bool] = []
    monkeypatch.setattr(one_call, "one_thread", lambda *, depth: threads.append(depth))
    monkeypatch.setattr(ToolExecutor, "depth_model", lambda _: Signed(1))
    run_json(photo, "depth", {})
    run_json(photo, "crop", {"bbox": [0, 0, 1, 1]})
    run_json(photo, "nothing", {})
    assert threads == [True, False, False], "torch is loaded for depth alone"


def test_call_in_another_dialect_takes_its_names_and_units(photo: Path) -> None:
    arguments = {"bbox_2d": [0, 0, 500, 500], "label": "x", "img_idx": 0}
    _, record = run_json(photo, "image_zoom_in_tool", arguments, "--dialect", "qwen")
    assert record["effective"]["box_px"] == [0, 0, 50, 40]
    arguments["img_idx"] = 1
    exit_code, record = run_json(photo, "image_zoom_in_tool", arguments, "--dialect", "qwen")
    assert exit_code == 1
    assert record["error"]["path"] == "arguments.img_idx"


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("crop", "{bad", "parse.not_json"),
        ("crop", "[]", "parse.not_an_object"),
        ("crop", "{}", "schema.missing_field"),
        ("shell", "{}", "schema.unknown_tool"),
        ("crop", '{"image": "i1", "bbox": [0, 0, 1, 1]}', "reference.unknown_medium"),
    ],
)
def test_every_bad_call_is_an_observation(
    photo: Path, tool: str, arguments: str, code: str
) -> None:
    exit_code, record = run_json(photo, tool, arguments)
    assert (exit_code, record["error"]["code"]) == (1, code)


def test_unusable_picture_is_an_observation_about_the_medium(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    exit_code, record = run_json(broken, "crop", {"bbox": [0, 0, 1, 1]})
    assert exit_code == 1
    assert record["error"]["fault_owner"] == "media"
    assert "broken.png" in record["error"]["path"]


def test_people_read_the_sentence_and_the_paths(photo: Path, tmp_path: Path) -> None:
    box = json.dumps({"bbox": [0.5, 0.5, 1, 1]})
    result = invoke("run", "crop", photo, "--arguments", box, "--out", tmp_path)
    assert result.stdout.splitlines() == [
        "o1 is a crop of i0, 50x40 px: pixels [50, 40, 100, 80].",
        str(tmp_path / "o1.png"),
    ]
    result = invoke("run", "crop", photo, "--arguments", "{}")
    assert result.exit_code == 1
    assert result.stdout.startswith("error: arguments.bbox: expected this argument")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "crop", "no-such-file.png", "--arguments", "{}"],
        ["run", "crop", "--arguments", "{}"],
        ["run", "crop", __file__],
        ["run", "crop", __file__, "--arguments", "{}", "--dialect", "klingon"],
        ["run", "crop", __file__, "--arguments", "{}", "--on-partly-outside", "guess"],
    ],
)
def test_misuse_exits_2(arguments: list[str]) -> None:
    assert invoke(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("option", "value"),
    [("--depth-model", "nonsense"), ("--depth-model", "embedded"), ("--device", "cpu")],
)
def test_a_model_that_the_tool_does_not_ask_is_misuse(
    option: str, value: str, photo: Path, tmp_path: Path
) -> None:
    call = ["crop", photo, "--arguments", '{"bbox": [0, 0, 1, 1]}', "--out", tmp_path / "out"]
    result = invoke("run", *call, option, value)
    assert isinstance(result.exception, UsageError)
    expected = f"{option}: crop asks no depth model; leave out {option} {value}"
    assert str(result.exception) == expected
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [[], ["run"]])
def test_example_in_the_help_runs(
    command: list[str], photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photo.parent)
    text = " ".join(invoke(*command, "--help").stdout.split())
    [example] = re.findall(r"Example: pearl-data tools (.*?) Options:", text)
    assert invoke(*shlex.split(example)).exit_code == 0
