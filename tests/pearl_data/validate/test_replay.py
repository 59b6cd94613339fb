from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tiny_depth_models import random_model
from trajectories import RampModel, build_sample, store

from pearl_data.shards import Sample
from pearl_data.trajectory import canonical_json
from pearl_data.validate import Finding, check_sample
from pearl_data.validate.replay import Replayer, recorded_settings
from pearl_tools.depth import load_depth_model
from pearl_tools.errors import ModelUnavailable
from pearl_tools.executor import ExecutorSettings
from pearl_tools.media import encode_npy, encode_png, pixel_sha256
from pearl_tools.types import Medium


def replay(
    *samples: Sample, settings: ExecutorSettings | None = None
) -> tuple[list[Finding], dict[str, Any]]:
    replayer = Replayer(settings, depth_model=RampModel())
    findings = [each for found in replayer.run(samples) for each in found]
    return findings, replayer.counts()


def restored(sample: Sample, index: int, pixels: np.ndarray[Any, Any]) -> Sample:
    """``sample`` with other pixels in one medium, every hash of it made to fit."""
    record = sample.trajectory.media[index]
    record = msgspec.structs.replace(record, pixel_sha256=pixel_sha256(pixels))
    record, members = store(Medium(facts=record, pixels=pixels))
    media = [*sample.trajectory.media]
    media[index] = record
    trajectory = msgspec.structs.replace(sample.trajectory, media=media)
    return Sample(trajectory, {**sample.members, **members})


def edited(sample: Sample, change: Any) -> Sample:
    document = msgspec.json.decode(canonical_json(sample.trajectory))
    change(document)
    return Sample(msgspec.convert(document, type(sample.trajectory)), sample.members)


def test_true_chains_replay_equal() -> None:
    samples = [
        build_sample("a", seed=1, second_crop=True, zoom=True),
        build_sample("b", seed=2, depth=True, failed_call=True),
        build_sample("c", seed=3, depth=True, suffix="png"),
    ]
    findings, counts = replay(*samples)
    assert findings == []
    assert {tool: (count.calls, count.equal) for tool, count in counts.items()} == {
        "crop": (5, 5),
        "depth": (2, 2),
        "zoom": (1, 1),
    }
    assert str(counts["crop"]) == "5 calls: 5 equal (100.0 %)"


@pytest.mark.parametrize(
    "settings",
    [
        ExecutorSettings(pad_share=0.2, zoom_long_side_px=96),
        ExecutorSettings(on_partly_outside="clamp", pad_share=0.5),
    ],
)
def test_the_recorded_settings_are_used_or_read_from_the_calls(settings: ExecutorSettings) -> None:
    sample = build_sample(zoom=True, settings=settings)
    assert replay(sample)[0] == []
    assert replay(sample, settings=settings)[0] == []
    assert recorded_settings({"executor": msgspec.to_builtins(settings)}) == settings
    assert recorded_settings({}) is None


def test_an_observation_swapped_with_all_its_hashes_is_found_by_replay() -> None:
    sample = build_sample(second_crop=True)
    swapped = restored(sample, 1, np.zeros((32, 32, 3), np.uint8))
    assert check_sample(swapped) == []
    findings, counts = replay(swapped)
    assert [(each.code, each.key, each.path) for each in findings] == [
        ("result.replay_differs", "s000000", "media[1].pixel_sha256")
    ]
    assert (counts["crop"].equal, counts["crop"].differ) == (1, 1)


def test_an_edited_box_is_found_even_when_the_record_agrees_with_itself() -> None:
    def move(document: dict[str, Any]) -> None:
        call = document["steps"][0]["calls"][0]
        call["arguments"]["bbox"] = [0, 0, 32 / 160, 32 / 120]
        call["arguments_raw"] = json.dumps(call["arguments"])
        call["effective"].update(box_px=[0, 0, 32, 32], box_root=[0, 0, 32, 32])
        document["media"][1]["box_root"] = [0, 0, 32, 32]
        document["task"]["evidence"][0]["bbox"] = [0, 0, 0.1, 0.1]

    sample = edited(build_sample(), move)
    assert check_sample(sample) == []
    assert "media[1].pixel_sha256" in [each.path for each in replay(sample)[0]]


def test_an_edited_text_of_a_tool_is_found() -> None:
    def lie(document: dict[str, Any]) -> None:
        document["steps"][0]["calls"][0]["result"]["text"] = "o1 shows a red square."

    assert [each.path for each in replay(edited(build_sample(), lie))[0]] == [
        "steps[0].calls[0].result.text"
    ]


def test_depth_within_tolerance_passes_and_beyond_it_is_found() -> None:
    sample = build_sample(depth=True)
    ramp = np.load(__import__("io").BytesIO(sample.members["o2.npy"]))
    near, far = ramp.copy(), ramp.copy()
    near[0, 0] += 5e-4
    far[0, 0] += 5e-3
    findings, counts = replay(restored(sample, 2, near))
    assert (findings, counts["depth"].within_tolerance) == ([], 1)
    findings, counts = replay(restored(sample, 2, far))
    assert [(each.code, each.got) for each in findings] == [
        ("result.replay_differs", "0.005 of its range")
    ]
    assert counts["depth"].differ == 1


def test_a_map_that_is_neither_equal_nor_stored_cannot_be_compared() -> None:
    sample = build_sample(depth=True)
    members = {name: data for name, data in sample.members.items() if name != "o2.npy"}
    assert replay(Sample(sample.trajectory, members))[0] == []
    other = restored(sample, 2, np.zeros((12, 16), np.float32))
    findings, counts = replay(Sample(other.trajectory, members))
    assert [(each.code, each.path) for each in findings] == [
        ("parse.missing_member", "media[2].name_in_sample")
    ]
    assert counts["depth"].failed == 1


def test_maps_of_other_weights_are_not_compared() -> None:
    def other(document: dict[str, Any]) -> None:
        document["steps"][1]["calls"][0]["exec"]["weights_sha256"] = "0" * 64

    sample = restored(edited(build_sample(depth=True), other), 2, np.zeros((12, 16), np.float32))
    (found,) = replay(sample)[0]
    assert (found.code, found.path) == (
        "result.replay_failed",
        "steps[1].calls[0].exec.weights_sha256",
    )


def test_a_changed_original_is_found() -> None:
    sample = build_sample(suffix="png")
    black = encode_png(np.zeros((120, 160, 3), np.uint8))
    findings, _ = replay(Sample(sample.trajectory, {**sample.members, "i0.png": black}))
    assert [each.path for each in findings] == ["media[0].pixel_sha256", "media[1].pixel_sha256"]


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("changes", ["mode:CMYK"], "result.replay_differs"),
        ("width", 161, "result.size_mismatch"),
        ("height", 1, "result.size_mismatch"),
    ],
)
def test_what_opening_did_to_an_original_is_compared(field: str, value: object, code: str) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["media"][0][field] = value

    sample = build_sample()
    (found,) = replay(edited(sample, edit))[0]
    assert (found.code, found.path) == (code, f"media[0].{field}")
    assert found.expected == str(getattr(sample.trajectory.media[0], field))


def test_an_original_that_cannot_be_opened_is_a_finding_and_its_calls_are_skipped() -> None:
    sample = build_sample()
    findings, counts = replay(Sample(sample.trajectory, {**sample.members, "i0.jpg": b"nothing"}))
    assert [(each.code, each.path) for each in findings] == [("execution.decode", "media[0]")]
    assert counts["crop"].skipped == 1


def test_an_error_that_is_none_now_is_found() -> None:
    def claim(document: dict[str, Any]) -> None:
        document["steps"][0]["calls"][0]["arguments"]["bbox"] = [0.1, 0.1, 0.5, 0.5]

    findings, _ = replay(edited(build_sample(failed_call=True), claim))
    assert ("result.replay_differs", "steps[0].calls[0].result.error") in [
        (each.code, each.path) for each in findings
    ]


def test_depth_members_are_never_unpickled() -> None:
    sample = build_sample(depth=True)
    bad = encode_npy(np.zeros((2, 2), np.float32)).replace(b"<f4", b"|O ")
    found = check_sample(Sample(sample.trajectory, {**sample.members, "o2.npy": bad}))
    assert "execution.decode" in {each.code for each in found}


def test_a_model_that_has_moved_is_found_where_it_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Depth of a local model: its folder is recorded as it was typed, relative to a place."""
    (tmp_path / "then").mkdir()
    monkeypatch.chdir(tmp_path / "then")
    random_model("dpt", Path("model"))
    settings = ExecutorSettings(depth_model="model")
    made = build_sample("a", depth=True, depth_model=load_depth_model("model"))
    assert Replayer(settings).run([made]) == [[]]
    (tmp_path / "now").mkdir()
    monkeypatch.chdir(tmp_path / "now")
    with pytest.raises(ModelUnavailable, match=r"replay of a: its .*'model'.*--depth-model"):
        Replayer(settings).run([made])
    moved = Replayer(settings, depth_model=str(tmp_path / "then/model"))
    assert moved.run([made]) == [[]]
    assert moved.counts()["depth"].equal == 1
    random_model("dpt", Path("other"), seed=1)
    (found,) = Replayer(settings, depth_model="other").run([made])
    assert [each.path for each in found] == ["steps[1].calls[0].exec.weights_sha256"]
