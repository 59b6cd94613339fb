from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from box_strategies import fraction_boxes, pixel_boxes
from hypothesis import assume, given
from hypothesis import strategies as st
from made_media import FakeDepth, photo

from pearl_tools.dialects import DIALECTS, Dialect, ParsedCall, run_text
from pearl_tools.errors import ToolError, ToolFailure
from pearl_tools.executor import ExecutorSettings, ToolExecutor
from pearl_tools.geometry import MAX_ASPECT_RATIO, px_to_fraction
from pearl_tools.types import MAX_CALLS, MediaMap, Observation, ToolCall

WIDTH, HEIGHT = 640, 480
EXECUTOR = ToolExecutor(ExecutorSettings(min_side_px=1), depth_model=FakeDepth())
PHOTO = photo(WIDTH, HEIGHT)
FOREIGN = [d for name, d in DIALECTS.items() if name != "pearl"]
dialects = pytest.mark.parametrize("dialect", FOREIGN, ids=[d.name for d in FOREIGN])


def crop_call(bbox: Any, image: str = "i0", tool: str = "crop") -> ToolCall:
    return ToolCall(id="c1", tool=tool, arguments={"image": image, "bbox": list(bbox)})


@pytest.fixture(scope="module")
def media() -> MediaMap:
    """A photograph, a crop of it, a zoom of it and its depth map."""
    known = {"i0": PHOTO}
    for number, (tool, box) in enumerate(
        [("crop", (0.25, 0.25, 0.75, 0.75)), ("zoom", (0, 0, 0.5, 0.5))], 1
    ):
        known[f"o{number}"] = EXECUTOR.run(crop_call(box, tool=tool), known).media[0]
    call = ToolCall(id="c3", tool="depth", arguments={"image": "i0"})
    known["o3"] = EXECUTOR.run(call, known).media[0]
    return known


def only(pairs: list[tuple[ToolCall | None, Observation]]) -> tuple[ToolCall | None, Observation]:
    [pair] = pairs
    return pair


def said(dialect: str, **arguments: Any) -> str:
    """One call of a dialect's tool as its models write it."""
    match dialect:
        case "mini_o3":
            return f"<think>hm</think><grounding>{json.dumps(arguments)}</grounding>"
        case "open_think_img":
            action = {"name": "Crop", "arguments": arguments}
            return json.dumps({"thought": "hm", "actions": [action]})
        case "pixel_reasoner":
            name = "crop_image_normalized"
        case _:
            name = "image_zoom_in_tool"
    body = json.dumps({"name": name, "arguments": arguments})
    return f"<think>hm</think>\n<tool_call>\n{body}\n</tool_call>"


def error_of(text: str, dialect: str, media: MediaMap) -> ToolError:
    _, observation = only(run_text(EXECUTOR, text, DIALECTS[dialect], media))
    assert observation.error is not None
    assert observation.media == ()
    return observation.error


# -- ours -> theirs -> ours -----------------------------------------------------------------------


@dialects
@given(box_px=pixel_boxes(WIDTH, HEIGHT))
def test_pixels_survive_the_way_there_and_back(
    dialect: Dialect, box_px: tuple[int, int, int, int]
) -> None:
    sides = (box_px[2] - box_px[0], box_px[3] - box_px[1])
    assume(max(sides) <= MAX_ASPECT_RATIO / 2 * min(sides))  # a zoom of it is rounded
    known = {"i0": PHOTO}
    text = dialect.from_call(crop_call(px_to_fraction(box_px, WIDTH, HEIGHT)), known)
    call, observation = only(run_text(EXECUTOR, text, dialect, known))
    assert call is not None
    assert observation.effective is not None, observation.error
    assert observation.effective.box_px == box_px


@dialects
@given(bbox=fraction_boxes())
def test_any_box_takes_the_same_pixels_after_the_way_there_and_back(
    dialect: Dialect, bbox: tuple[float, float, float, float]
) -> None:
    known = {"i0": PHOTO}
    ours = EXECUTOR.run(crop_call(bbox), known)
    if ours.effective is None or dialect.naming.unit == "pixel":
        return
    left, top, right, bottom = ours.effective.box_px
    sides = (right - left, bottom - top)
    assume(max(sides) <= MAX_ASPECT_RATIO / 2 * min(sides))  # a zoom of it is rounded
    _, theirs = only(run_text(EXECUTOR, dialect.from_call(crop_call(bbox), known), dialect, known))
    assert theirs.effective is not None, theirs.error
    assert theirs.effective.box_px == ours.effective.box_px


def test_our_own_dialect_is_the_call_itself(media: MediaMap) -> None:
    pearl = DIALECTS["pearl"]
    for call in (
        crop_call((0, 0, 0.5, 0.5), "o1"),
        ToolCall(id="c1", tool="depth", arguments={"image": "i0"}),
        ToolCall(
            id="c1", tool="zoom", arguments={"image": "i0", "center": [0.5, 0.5], "factor": 2}
        ),
    ):
        back, observation = only(run_text(EXECUTOR, pearl.from_call(call, media), pearl, media))
        assert back == call
        assert observation.status == "ok"


@pytest.mark.parametrize("name", ["pixel_reasoner", "qwen", "mini_o3", "open_think_img"])
def test_calls_on_results_keep_their_medium(name: str, media: MediaMap) -> None:
    dialect = DIALECTS[name]
    text = dialect.from_call(crop_call((0, 0, 0.5, 0.5), "o1"), media)
    call, observation = only(run_text(EXECUTOR, text, dialect, media))
    assert call is not None
    assert isinstance(call.arguments, dict)
    assert call.arguments["image"] == "o1"
    assert observation.effective is not None
    assert observation.effective.box_root == (160, 120, 320, 240)


@dialects
def test_what_a_dialect_cannot_say_is_refused_not_bent(dialect: Dialect, media: MediaMap) -> None:
    with pytest.raises(ToolFailure) as raised:
        dialect.from_call(ToolCall(id="c1", tool="depth", arguments={"image": "i0"}), media)
    assert raised.value.error.code == "schema.unknown_tool"


def test_deep_eyes_can_only_name_the_original(media: MediaMap) -> None:
    with pytest.raises(ToolFailure) as raised:
        DIALECTS["deep_eyes"].from_call(crop_call((0, 0, 1, 1), "o1"), media)
    assert raised.value.error.code == "reference.unknown_medium"
    assert "the first picture only" in raised.value.error.expected


# -- units ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "arguments", "box_px"),
    [
        ("pixel_reasoner", {"bbox_2d": [0.5, 0.5, 1, 1], "target_image": 1}, (320, 240, 640, 480)),
        ("deep_eyes", {"bbox_2d": [10, 20, 30, 40], "label": "cat"}, (10, 20, 30, 40)),
        ("deep_eyes", {"bbox_2d": [0, 0, 1, 1], "label": "dot"}, (0, 0, 1, 1)),
        ("deep_eyes", {"bbox_2d": [10.5, 20, 30.2, 40], "label": ""}, (10, 20, 31, 40)),
        ("qwen", {"bbox_2d": [0, 0, 1000, 1000], "label": "", "img_idx": 0}, (0, 0, 640, 480)),
        (
            "qwen",
            {"bbox_2d": [100, 500, 200, 600], "label": "", "img_idx": 0.0},
            (64, 240, 128, 288),
        ),
        ("mini_o3", {"bbox_2d": [0, 0, 0.5, 1], "source": "original_image"}, (0, 0, 320, 480)),
        ("mini_o3", {"bbox_2d": [0, 0, 0.5, 1], "source": "observation_1"}, (0, 0, 160, 240)),
        ("open_think_img", {"image": "img_1", "param": "[10, 20, 30, 40]"}, (10, 20, 30, 40)),
        ("open_think_img", {"image": "img_2", "param": [10, 20, 30, 40]}, (10, 20, 30, 40)),
    ],
)
def test_box_is_read_in_the_declared_unit(
    dialect: str, arguments: dict[str, Any], box_px: tuple[int, ...], media: MediaMap
) -> None:
    _, observation = only(run_text(EXECUTOR, said(dialect, **arguments), DIALECTS[dialect], media))
    assert observation.effective is not None, observation.error
    assert observation.effective.box_px == box_px


#: How each dialect names the box and the picture; DeepEyes names no picture.
NAMES = {
    "pixel_reasoner": ("bbox_2d", "target_image"),
    "deep_eyes": ("bbox_2d", None),
    "qwen": ("bbox_2d", "img_idx"),
    "mini_o3": ("bbox_2d", "source"),
    "open_think_img": ("param", "image"),
}


@pytest.mark.parametrize(
    ("dialect", "box", "image", "code", "path"),
    [
        ("pixel_reasoner", [10, 20, 300, 400], 1, "geometry.wrong_unit", "bbox_2d[0]"),
        ("pixel_reasoner", [0.1, 0.2, 1.5, 0.9], 1, "geometry.partly_outside", "bbox_2d[2]"),
        ("pixel_reasoner", [0.1, 0.2, 0.9], 1, "schema.length", "bbox_2d"),
        ("pixel_reasoner", [0.1, 0.2, 0.9, 0.9], None, "schema.missing_field", "target_image"),
        ("pixel_reasoner", [0, 0, 1, 1], 4, "reference.wrong_kind", "target_image"),
        ("pixel_reasoner", [0, 0, 1, 1], "1", "schema.type", "target_image"),
        ("deep_eyes", [0.1, 0.2, 0.9, 0.9], None, "geometry.wrong_unit", "bbox_2d[0]"),
        ("deep_eyes", [700, 20, 800, 40], None, "geometry.outside", "bbox_2d[0]"),
        ("deep_eyes", [30, 20, 10, 40], None, "geometry.inverted", "bbox_2d[0]"),
        ("qwen", [0, 0, 1001, 10], 0, "geometry.wrong_unit", "bbox_2d[2]"),
        ("qwen", [-10, 0, 100, 10], 0, "geometry.partly_outside", "bbox_2d[0]"),
        ("qwen", [0, 0, 100, 10], 4, "reference.index_out_of_range", "img_idx"),
        ("qwen", [0, 0, 100, 10], -1, "reference.index_out_of_range", "img_idx"),
        ("mini_o3", [0, 0, 1, 1], "observation_0", "reference.index_out_of_range", "source"),
        ("mini_o3", [0, 0, 1, 1], "observation_-3", "reference.index_out_of_range", "source"),
        ("mini_o3", [0, 0, 1, 1], "the photo", "schema.pattern", "source"),
        ("open_think_img", "[0, 0, 9, 9]", "img_0", "reference.index_out_of_range", "image"),
        ("open_think_img", "the legend", "img_1", "parse.not_json", "param"),
        ("open_think_img", "{1, 2, 3, 4}", "img_1", "schema.type", "param"),
    ],
)
def test_bad_call_is_refused_in_the_callers_own_names(
    dialect: str, box: Any, image: Any, code: str, path: str, media: MediaMap
) -> None:
    box_name, image_name = NAMES[dialect]
    arguments = {box_name: box}
    if image_name and image is not None:
        arguments[image_name] = image
    error = error_of(said(dialect, **arguments), dialect, media)
    assert (error.code, error.path) == (code, f"arguments.{path}")
    assert error.fault_owner == "caller"


def test_index_error_names_the_valid_range(media: MediaMap) -> None:
    text = said("mini_o3", bbox_2d=[0, 0, 1, 1], source="observation_7")
    assert str(error_of(text, "mini_o3", media)) == (
        "arguments.source: expected observation_1 to observation_3, got observation_7 "
        "[reference.index_out_of_range]; observation_1 is the first one; indices do not wrap round"
    )


def test_index_error_before_any_observation_says_so() -> None:
    text = said("mini_o3", bbox_2d=[0, 0, 1, 1], source="observation_1")
    assert error_of(text, "mini_o3", {"i0": PHOTO}).expected == "no observation_* yet"


@dialects
def test_other_tools_of_a_dialect_are_unknown_and_say_so(dialect: Dialect, media: MediaMap) -> None:
    call = dialect.to_call(ParsedCall(name="select_frames", arguments={}, raw=""), media)
    assert isinstance(call, ToolError)
    assert (call.code, call.got) == ("schema.unknown_tool", "select_frames")


# -- text -----------------------------------------------------------------------------------------


def test_python_literals_are_read_as_data(media: MediaMap) -> None:
    text = "<grounding>{'bbox_2d': (0.0, 0.0, 0.5, 0.5), 'source': 'original_image',}</grounding>"
    _, observation = only(run_text(EXECUTOR, text, DIALECTS["mini_o3"], media))
    assert observation.status == "ok"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("<tool_call>{bad}</tool_call>", "parse.not_json"),
        ("<tool_call></tool_call>", "parse.not_json"),
        ("<tool_call>[1]</tool_call>", "parse.not_an_object"),
        ('<tool_call>{"name": "crop"', "parse.unclosed"),
        ('{"name": "crop"}</tool_call>', "parse.unclosed"),
        ('<tool_call>{"arguments": {}}</tool_call>', "schema.missing_field"),
        ('<tool_call>{"name": "crop"}</tool_call>', "schema.missing_field"),
        ('<tool_call>{"name": 5, "arguments": {}}</tool_call>', "schema.type"),
        ('<tool_call>{"name": "crop", "arguments": [1]}</tool_call>', "parse.not_an_object"),
        ("I think it is a cat. <answer>cat</answer>", "parse.no_call"),
        ("", "parse.no_call"),
    ],
)
def test_no_call_and_every_kind_of_bad_call_are_told_apart(
    text: str, code: str, media: MediaMap
) -> None:
    for name in ("pearl", "pixel_reasoner", "deep_eyes", "qwen"):
        assert error_of(text, name, media).code == code


def test_one_bad_call_does_not_hide_the_good_ones(media: MediaMap) -> None:
    good = said("pixel_reasoner", bbox_2d=[0, 0, 0.5, 0.5], target_image=1)
    text = good + "<tool_call>{bad</tool_call>" + good + "<tool_call>{"
    pairs = run_text(EXECUTOR, text, DIALECTS["pixel_reasoner"], media)
    assert [o.status for _, o in pairs] == ["ok", "error", "ok", "error"]
    assert [call is None for call, _ in pairs] == [False, True, False, True]
    assert [o.call_id for _, o in pairs] == ["c1", "c2", "c3", "c4"]
    assert [m.record.id for _, o in pairs for m in o.media] == ["o4", "o5"]


def test_arguments_may_be_json_text(media: MediaMap) -> None:
    arguments = json.dumps(json.dumps({"image": "i0", "bbox": [0, 0, 1, 1]}))
    text = f'<tool_call>{{"name": "crop", "arguments": {arguments}}}</tool_call>'
    _, observation = only(run_text(EXECUTOR, text, DIALECTS["pearl"], media))
    assert observation.status == "ok"


def test_both_forms_of_open_think_img_are_read() -> None:
    parse = DIALECTS["open_think_img"].parse
    old = (
        '"thoughts🤔" The grounding tool has been applied.\n"actions🚀" [{"API_name": "grounding", '
        '"API_params": {"param": "Line chart, 2015, 2017"}}]\n"value👉" The grounding tool ...'
    )
    [call] = parse(old)
    assert isinstance(call, ParsedCall)
    assert (call.name, call.arguments) == ("grounding", {"param": "Line chart, 2015, 2017"})
    turn = {"thought": "", "actions": [{"name": "OCR", "arguments": {"image": "img_1"}}]}
    [call] = parse(f"```json\n{json.dumps(turn)}\n```")
    assert isinstance(call, ParsedCall)
    assert call.name == "OCR"


def test_an_answer_is_not_a_call() -> None:
    parse = DIALECTS["open_think_img"].parse
    end = {"thought": "", "actions": [{"name": "Terminate", "arguments": {"ans": "A"}}]}
    assert parse(json.dumps(end)) == []
    assert parse('{"thought": "", "actions": []}') == []
    assert parse("The answer is A.") == []


#: What no foreign caller knows: our ids, tools and arguments.
OURS = re.compile(r"\b(i0|o[0-9]+|bbox|crop|zoom|center|factor)\b")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("box", "image"),
    [
        ([0.5, 0, 1.5, 1], 1),  # partly outside
        ([1.2, 0, 1.5, 1], 1),  # outside
        ([0, 0, 0.001, 1], 1),  # too small
        ([0.5, 0, 0.2, 1], 1),  # inverted
        ([0.5, 0, 0.5, 1], 1),  # no area
        ([-1e5, 0, 1e5, 1], 1),  # the wrong unit
        ([0, 0, 1], 1),  # three numbers
        ([0, 0, 1, "1"], 1),
        ({}, 1),
        (None, 1),  # no box
        ([0, 0, 1, 1], 99),  # no such picture
        ([0, 0, 1, 1], 4),  # a depth map
        ([0, 0, 1, 1], None),  # no picture
        ([0, 0, 1, 1], "x"),
    ],
)
def test_an_error_speaks_the_callers_own_words(
    name: str, box: Any, image: Any, media: MediaMap
) -> None:
    dialect, (box_name, image_name) = DIALECTS[name], NAMES[name]
    scale = {"fraction": (1, 1), "per_mille": (1000, 1000), "pixel": (WIDTH, HEIGHT)}
    sizes = scale[dialect.naming.unit] * 2
    arguments: dict[str, Any] = {}
    if box is not None:
        numbers = isinstance(box, list) and not isinstance(box[-1], str)
        arguments[box_name] = [v * sizes[i] for i, v in enumerate(box)] if numbers else box
    if image_name and image is not None:
        form = {"qwen": image - 1 if image != "x" else image, "mini_o3": f"observation_{image}"}
        form["open_think_img"] = f"img_{image}"
        if name == "mini_o3" and image in (1, 4):
            form["mini_o3"] = "original_image" if image == 1 else "observation_3"
        arguments[image_name] = form.get(name, image)
    _, seen = only(
        run_text(
            ToolExecutor(ExecutorSettings(min_side_px=8)), said(name, **arguments), dialect, media
        )
    )
    if seen.error is None:
        assert name == "deep_eyes", "which names no picture"
        return
    error = seen.error
    for text in (error.path, error.expected, error.got, error.hint):
        assert not OURS.search(text), str(error)


def test_sizes_and_pictures_are_in_the_callers_units_and_names(media: MediaMap) -> None:
    executor = ToolExecutor(ExecutorSettings(min_side_px=8))
    text = said("qwen", bbox_2d=[100, 100, 101, 900], img_idx=1)
    _, seen = only(run_text(executor, text, DIALECTS["qwen"], media))
    assert seen.error is not None
    assert seen.error.code == "geometry.too_small"
    assert seen.error.hint.endswith("8 px of img_idx 1 (320x240 px) are 25 of its width")
    text = said("mini_o3", bbox_2d=[0, 0, 1, 1], source="observation_3")
    assert error_of(text, "mini_o3", media).got == "observation_3, a depth"
    text = "<grounding>{'bbox': </grounding>"
    assert error_of(text, "mini_o3", media).hint == f"write {DIALECTS['mini_o3'].example}"
    text = '<tool_call>{"name": "image_zoom_in_tool", "arguments": "[1]"}</tool_call>'
    assert (
        error_of(text, "qwen", media).hint
        == 'write {"bbox_2d": [100, 200, 600, 700], "img_idx": 0}'
    )


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
def test_the_example_of_a_dialect_is_a_call_that_works(dialect: Dialect) -> None:
    [(call, seen)] = run_text(EXECUTOR, dialect.example, dialect, {"i0": photo(1000, 1000)})
    assert (call is not None, seen.error) == (True, None)


# -- reasoning ------------------------------------------------------------------------------------


def a_call(name: str) -> str:
    """One call of the dialect ``name`` that works, without any reasoning before it."""
    return DIALECTS[name].example


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("CALL", 1),
        ("<think>hm</think>CALL", 1),
        ("<think>CALL</think>", 0),
        ("<think>CALL</think>CALL", 1),
        ("<think>I could say CALL", 0),
        ("CALL</think>", 0),
        ("with {braces} CALL </think> CALL", 1),
        ("<think>a <think>b</think> CALL </think> CALL", 1),
        ("<think>the tag <think> is mine</think>CALL", 1),
        ("<THINK>CALL</THINK>", 0),
        ("<thinking>CALL</thinking>CALL", 1),
        ("<reasoning>CALL</reasoning>", 0),
        ("[THINK]CALL[/THINK]CALL", 1),
        ("◁think▷CALL◁/think▷", 0),
        ("<|begin_of_thought|>CALL<|end_of_thought|>CALL", 1),
        ("<think>CALL</think><answer>A</answer>", 0),
        ("<think>```\nCALL\n```</think>", 0),
        ("```\nCALL\n```", 1),
        ("<thinking>CALL</think>CALL</thinking>", 0),
    ],
)
def test_a_call_in_reasoning_is_no_call(name: str, text: str, runs: int) -> None:
    media = {"i0": photo(1000, 1000)}
    pairs = run_text(EXECUTOR, text.replace("CALL", a_call(name)), DIALECTS[name], media)
    assert [seen.status for _, seen in pairs] == (["ok"] if runs else ["error"])
    if not runs:
        [(_, seen)] = pairs
        assert seen.error is not None
        assert seen.error.code == "parse.no_call"


def test_calls_between_two_thoughts_both_run() -> None:
    call = a_call("pearl")
    text = f"<think>a</think>{call}<think>b {call}</think>{call}<think>c"
    pairs = run_text(EXECUTOR, text, DIALECTS["pearl"], {"i0": PHOTO})
    assert [seen.status for _, seen in pairs] == ["ok", "ok"]


def test_a_tag_of_reasoning_in_a_label_is_data() -> None:
    text = said("deep_eyes", bbox_2d=[10, 20, 300, 400], label="<think>").split("</think>")[1]
    pairs = run_text(EXECUTOR, text + text, DIALECTS["deep_eyes"], {"i0": PHOTO})
    assert [seen.status for _, seen in pairs] == ["ok", "ok"]


def test_a_closing_tag_alone_is_half_a_call_wherever_it_stands() -> None:
    call = a_call("pearl")
    pairs = run_text(EXECUTOR, f"{call} {{}}</tool_call>", DIALECTS["pearl"], {"i0": PHOTO})
    assert [seen.error and seen.error.code for _, seen in pairs] == [None, "parse.unclosed"]


# -- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("key", ['"\\ud800"', '"x\\udfff"'])
def test_half_a_character_in_a_name_is_an_error_that_can_be_written(name: str, key: str) -> None:
    arguments = f"{{{key}: 1}}"
    texts = {
        "mini_o3": f"<grounding>{arguments}</grounding>",
        "open_think_img": f'{{"actions": [{{"name": "Crop", "arguments": {arguments}}}]}}',
    }
    text = texts.get(name, f'<tool_call>{{"name": "crop", "arguments": {arguments}}}</tool_call>')
    for wrapped in (text, text.replace('"crop"', '"\\ud800"'), text + "\ud800"):
        for _, seen in run_text(EXECUTOR, wrapped, DIALECTS[name], {"i0": PHOTO}):
            assert seen.error is not None
            assert msgspec.json.encode(seen.to_record())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pearl", '<tool_call>{"name": "crop", "name": "zoom", "arguments": {}}</tool_call>'),
        (
            "pearl",
            '<tool_call>{"name": "crop", "arguments": {"image": "i0", "image": "i1"}}</tool_call>',
        ),
        (
            "pearl",
            '<tool_call>{"name": "crop", "arguments": "{\\"a\\": 1, \\"a\\": 2}"}</tool_call>',
        ),
        (
            "mini_o3",
            "<grounding>{'source': 'original_image', 'source': 'observation_1'}</grounding>",
        ),
        ("mini_o3", "<grounding>{'source': ({'a': 1, 'a': 2},)}</grounding>"),
        ("open_think_img", '{"actions": [], "actions": [{"name": "Crop", "arguments": {}}]}'),
        ("open_think_img", '"actions🚀" [{"API_name": "Crop", "API_name": "OCR"}]'),
        (
            "deep_eyes",
            '<tool_call>{"name": "t", "arguments": {"label": "a", "label": "b"}}</tool_call>',
        ),
        (
            "pixel_reasoner",
            "<tool_call>{'name': 't', 'arguments': {'a': 1, 'a': 1}}</tool_call>",
        ),
    ],
)
def test_a_name_given_twice_is_an_error(name: str, text: str, media: MediaMap) -> None:
    assert error_of(text, name, media).code == "parse.duplicate_key"


@pytest.mark.parametrize(
    "text", [r"{'a': '\d'}", "{'a': 1if 1else 2}", r"{'a': '\777'}", "{'a': 1 is 1}"]
)
def test_python_says_nothing_about_odd_text_of_a_model(
    text: str, recwarn: pytest.WarningsRecorder
) -> None:
    for wrapped in (f"<grounding>{text}</grounding>", f'"actions🚀" [{text}]', text):
        for name in ("mini_o3", "open_think_img"):
            run_text(EXECUTOR, wrapped, DIALECTS[name], {"i0": PHOTO})
    assert list(recwarn) == []


@pytest.mark.parametrize("name", DIALECTS)
def test_more_calls_than_a_text_may_make_are_one_error(name: str) -> None:
    media = {"i0": photo(1000, 1000)}
    [(call, seen)] = run_text(EXECUTOR, a_call(name) * 5000, DIALECTS[name], media)
    assert (call, seen.error and seen.error.code) == (None, "schema.length")
    assert seen.error is not None
    assert seen.error.got == "5000 calls"
    assert len(run_text(EXECUTOR, a_call(name) * MAX_CALLS, DIALECTS[name], media)) == MAX_CALLS


@given(st.sampled_from(list(DIALECTS.values())), st.text())
def test_any_text_is_calls_or_errors_and_never_an_exception(dialect: Dialect, text: str) -> None:
    tags = "grounding" if dialect.name == "mini_o3" else "tool_call"
    for wrapped in (
        text,
        f"<{tags}>{text}</{tags}>",
        f'{{"actions": [{text}]}}',
        f'"actions🚀"{text}',
    ):
        for _, observation in run_text(EXECUTOR, wrapped, dialect, {"i0": PHOTO}):
            assert observation.error is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(
    st.sampled_from([d.name for d in FOREIGN]),
    st.dictionaries(
        st.sampled_from(
            ["bbox_2d", "param", "target_image", "img_idx", "source", "image", "label"]
        ),
        json_values | st.lists(st.floats(-2, 2000), min_size=4, max_size=4) | st.integers(0, 2),
    ),
)
def test_any_arguments_are_run_or_refused_with_a_code(name: str, arguments: dict[str, Any]) -> None:
    _, observation = only(
        run_text(EXECUTOR, said(name, **arguments), DIALECTS[name], {"i0": PHOTO})
    )
    assert (observation.status == "ok") == (observation.error is None)
