"""The contract's table of what published executors do wrong: one test per promise of ours."""

from __future__ import annotations

import builtins
import inspect
from pathlib import Path

import numpy as np
import pytest
from made_media import FakeDepth, file_of, gradient, photo
from PIL import Image

import pearl_tools
from pearl_tools.dialects import DIALECTS, Dialect, run_text
from pearl_tools.executor import ExecutorSettings, ToolExecutor
from pearl_tools.media import open_image
from pearl_tools.types import MediaMap, Medium, Observation, ToolCall


@pytest.fixture(scope="module")
def media() -> MediaMap:
    return {"i0": photo(1000, 800)}


def crop(media: MediaMap, bbox: list[float], image: str = "i0", **settings: object) -> Observation:
    executor = ToolExecutor(ExecutorSettings(**settings))  # type: ignore[arg-type]  # per test
    return executor.run(
        ToolCall(id="c1", tool="crop", arguments={"image": image, "bbox": bbox}), media
    )


def say(text: str, dialect: str, media: MediaMap) -> Observation:
    [(_, observation)] = run_text(ToolExecutor(), text, DIALECTS[dialect], media)
    return observation


def code(observation: Observation) -> str:
    assert observation.error is not None
    return observation.error.code


@pytest.mark.parametrize(
    ("bbox", "box_px"),
    [([0.5, 0.5, 1, 1], (500, 400, 1000, 800)), ([0, 0, 1, 1], (0, 0, 1000, 800))],
)
def test_normalised_box_that_touches_one_is_still_normalised(
    media: MediaMap, bbox: list[float], box_px: tuple[int, ...]
) -> None:
    observation = crop(media, bbox)
    assert observation.effective is not None
    assert observation.effective.box_px == box_px
    x0, y0, x1, y1 = box_px
    assert (observation.media[0].pixels == gradient(1000, 800)[y0:y1, x0:x1]).all()


@pytest.mark.parametrize("name", ["pixel_reasoner", "mini_o3"])
def test_unit_of_a_box_is_declared_by_its_dialect(media: MediaMap, name: str) -> None:
    whole = ToolCall(id="c1", tool="crop", arguments={"image": "i0", "bbox": [0, 0, 1, 1]})
    observation = say(DIALECTS[name].from_call(whole, media), name, media)
    assert observation.effective is not None
    assert observation.effective.box_px == (0, 0, 1000, 800)


def test_crop_pads_only_if_asked_and_records_both_boxes(media: MediaMap) -> None:
    plain = crop(media, [0.4, 0.4, 0.6, 0.6])
    padded = crop(media, [0.4, 0.4, 0.6, 0.6], pad_share=0.1)
    assert plain.effective is not None
    assert padded.effective is not None
    assert plain.effective.box_px == (400, 320, 600, 480)
    assert plain.effective.adjustments == []
    assert padded.effective.box_px == (380, 304, 620, 496)
    [adjustment] = padded.effective.adjustments
    assert adjustment.kind == "padded"
    assert adjustment.requested == (0.4, 0.4, 0.6, 0.6)
    assert adjustment.effective == pytest.approx((0.38, 0.38, 0.62, 0.62))


@pytest.mark.parametrize("index", [0, -3, 2])
def test_image_index_out_of_range_is_refused_and_never_wraps(media: MediaMap, index: int) -> None:
    text = (
        '<tool_call>{"name": "crop_image_normalized", "arguments": '
        f'{{"bbox_2d": [0.1, 0.1, 0.5, 0.5], "target_image": {index}}}}}</tool_call>'
    )
    observation = say(text, "pixel_reasoner", media)
    assert code(observation) == "reference.index_out_of_range"
    assert observation.error is not None
    assert observation.error.path == "arguments.target_image"
    assert observation.error.expected == "1 to 1"
    assert observation.error.got == str(index)


@pytest.mark.parametrize("name", ["deep_eyes", "open_think_img"])
def test_pixel_box_outside_the_image_returns_an_error_and_no_pixels(
    media: MediaMap, name: str
) -> None:
    box = "[2000, 2000, 2100, 2100]"
    text = {
        "deep_eyes": '<tool_call>{"name": "image_zoom_in_tool", "arguments": '
        f'{{"bbox_2d": {box}, "label": "x"}}}}</tool_call>',
        "open_think_img": '{"thought": "", "actions": [{"name": "Crop", "arguments": '
        f'{{"image": "img_1", "param": "{box}"}}}}]}}',
    }[name]
    observation = say(text, name, media)
    assert code(observation) == "geometry.outside"
    assert observation.error is not None
    argument = {"deep_eyes": "bbox_2d", "open_think_img": "param"}[name]
    assert observation.error.path == f"arguments.{argument}[0]"
    picture = {"deep_eyes": "the first picture", "open_think_img": "img_1"}[name]
    assert observation.error.expected == f"x between 0 and 1000 (width of {picture})"
    assert observation.error.got == "2000"
    assert observation.error.fault_owner == "caller"
    assert observation.error.retryable
    assert observation.media == ()


def test_fraction_box_outside_the_image_returns_an_error_and_no_pixels(media: MediaMap) -> None:
    observation = crop(media, [1.2, 0.2, 1.6, 0.6], on_partly_outside="clamp")
    assert code(observation) == "geometry.outside"
    assert observation.media == ()


def test_full_image_box_is_the_full_image(media: MediaMap) -> None:
    [result] = crop(media, [0, 0, 1, 1]).media
    assert result.pixels.shape == (800, 1000, 3)
    assert result.record.pixel_sha256 == media["i0"].record.pixel_sha256


def test_pixel_box_in_a_per_mille_tool_is_refused_when_it_exceeds_the_unit() -> None:
    large = {"i0": photo(2000, 1500)}
    text = (
        '<tool_call>{"name": "image_zoom_in_tool", "arguments": '
        '{"bbox_2d": [100, 100, 1900, 1400], "label": "x", "img_idx": 0}}</tool_call>'
    )
    observation = say(text, "qwen", large)
    assert code(observation) == "geometry.wrong_unit"
    assert observation.error is not None
    assert observation.error.path == "arguments.bbox_2d[2]"


def test_pixel_box_within_a_per_mille_tool_is_an_honest_crop() -> None:
    large = {"i0": photo(2000, 1500)}
    text = (
        '<tool_call>{"name": "image_zoom_in_tool", "arguments": '
        '{"bbox_2d": [100, 100, 900, 700], "label": "x", "img_idx": 0}}</tool_call>'
    )
    observation = say(text, "qwen", large)
    assert observation.effective is not None
    assert observation.effective.box_px == (200, 150, 1800, 1050)


def test_second_zoom_refers_to_the_medium_it_names_and_keeps_the_root_box(media: MediaMap) -> None:
    executor = ToolExecutor()
    first = executor.run(
        ToolCall(id="c1", tool="zoom", arguments={"image": "i0", "bbox": [0.5, 0.5, 1, 1]}), media
    )
    more = {**media, "o1": first.media[0]}
    second = executor.run(
        ToolCall(id="c2", tool="zoom", arguments={"image": "o1", "bbox": [0, 0, 0.5, 0.5]}), more
    )
    assert second.effective is not None
    assert first.media[0].record.width == 448
    assert second.effective.box_px[2] == 224
    assert second.effective.box_root[:3] == (500, 400, 750)
    assert second.media[0].record.parent == "o1"


def test_results_are_cached_by_content_not_by_name(media: MediaMap) -> None:
    executor = ToolExecutor()
    call = ToolCall(id="c1", tool="crop", arguments={"image": "i0", "bbox": [0, 0, 0.5, 0.5]})
    inverted = 255 - gradient(1000, 800)
    other = {"i0": open_image(file_of(Image.fromarray(inverted), "PNG"), name="same-name.png")}
    executor.run(call, media)
    observation = executor.run(call, other)
    assert observation.exec is not None
    assert observation.exec.cache == "miss"
    assert (observation.media[0].pixels == inverted[:400, :500]).all()


def test_tools_chain_on_exact_arrays(media: MediaMap) -> None:
    executor = ToolExecutor()
    known: dict[str, Medium] = dict(media)
    for number in range(1, 6):
        source = f"o{number - 1}" if number > 1 else "i0"
        observation = executor.run(
            ToolCall(
                id=f"c{number}", tool="crop", arguments={"image": source, "bbox": [0, 0, 0.9, 0.9]}
            ),
            known,
        )
        known[f"o{number}"] = observation.media[0]
    last = known["o5"]
    height, width = last.pixels.shape[:2]
    assert (last.pixels == gradient(1000, 800)[:height, :width]).all()


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
def test_text_of_a_model_is_never_executed(
    dialect: Dialect, media: MediaMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(builtins, "_pearl_probe", ran.append, raising=False)
    attack = "_pearl_probe('x') or {'bbox_2d': [0, 0, 1, 1], 'source': 'original_image'}"
    for text in (
        f"<grounding>{attack}</grounding>",
        f"<tool_call>{attack}</tool_call>",
        (
            '{"actions": [{"name": "Crop", "arguments": {"image": "img_1", "param": '
            "\"_pearl_probe('x') or [0, 0, 9, 9]\"}}]}"
        ),
    ):
        for _, observation in run_text(ToolExecutor(), text, dialect, media):
            assert observation.status == "error"
    assert ran == []


@pytest.mark.parametrize("name", ["eval", "__import__", "open_image", "os.system", "Crop"])
def test_registry_is_closed(media: MediaMap, name: str) -> None:
    observation = ToolExecutor().run(ToolCall(id="c1", tool=name, arguments={}), media)
    assert code(observation) == "schema.unknown_tool"


def test_sources_evaluate_nothing() -> None:
    for file in Path(inspect.getfile(pearl_tools)).parent.rglob("*.py"):
        source = file.read_text(encoding="utf-8").replace("literal_eval(", "").replace(".eval(", "")
        assert "eval(" not in source, file
        assert "exec(" not in source, file
        assert "globals()" not in source, file
        assert "pickle.load" not in source, file


def test_depth_is_float32_and_says_that_larger_is_nearer(media: MediaMap) -> None:
    executor = ToolExecutor(depth_model=FakeDepth())
    observation = executor.run(ToolCall(id="c1", tool="depth", arguments={"image": "i0"}), media)
    [result] = observation.media
    assert result.pixels.dtype == np.float32
    assert result.record.kind == "depth"
    assert "larger is nearer" in observation.text
    assert "working size of 12x8" in observation.text
    assert result.pixels[-1, 0] > result.pixels[0, 0]
