from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearl_tools.arguments import check_schema, parse_arguments
from pearl_tools.errors import ToolError, ToolFailure
from pearl_tools.registry import TOOLS

CROP, ZOOM = TOOLS["crop"], TOOLS["zoom"]
GOOD = {"image": "i0", "bbox": [0, 0, 1, 1]}


def read(raw: Any, tool: str = "crop") -> dict[str, Any]:
    arguments = parse_arguments(raw)
    check_schema(TOOLS[tool].validator, arguments, TOOLS[tool].spec.arguments["properties"])
    return arguments


def error_of(raw: Any, tool: str = "crop") -> ToolError:
    with pytest.raises(ToolFailure) as raised:
        read(raw, tool)
    return raised.value.error


def test_object_and_its_json_text_mean_the_same() -> None:
    assert read('{"image": "i0", "bbox": [0, 0, 1, 1]}') == read(GOOD) == GOOD


@pytest.mark.parametrize(
    ("raw", "code", "path"),
    [
        ("{bad", "parse.not_json", "arguments"),
        ("", "parse.not_json", "arguments"),
        ("[" * 100_000, "parse.not_json", "arguments"),
        ("[" * 5000 + "]" * 5000, "parse.not_json", "arguments"),
        ('{"bbox": ' + "9" * 5000 + "}", "parse.not_json", "arguments"),
        ("x" * 100_001, "parse.not_json", "arguments"),
        ("[1, 2]", "parse.not_an_object", "arguments"),
        ('"text"', "parse.not_an_object", "arguments"),
        ({}, "schema.missing_field", "arguments.bbox"),
        ({"image": "i0"}, "schema.missing_field", "arguments.bbox"),
        ({**GOOD, "bbox_2d": [0, 0, 1, 1]}, "schema.unknown_field", "arguments.bbox_2d"),
        ({"image": "i0", "bbox": [0, 0, 1]}, "schema.length", "arguments.bbox"),
        ({"image": "i0", "bbox": [0, 0, 1, 1, 1]}, "schema.length", "arguments.bbox"),
        ({"image": "i0", "bbox": "0 0 1 1"}, "schema.type", "arguments.bbox"),
        ({"image": "i0", "bbox": [0, "0", 1, 1]}, "schema.type", "arguments.bbox[1]"),
        ({"image": "i0", "bbox": [0, True, 1, 1]}, "schema.type", "arguments.bbox[1]"),
        ({"image": "i0", "bbox": None}, "schema.type", "arguments.bbox"),
        ({"image": 0, "bbox": [0, 0, 1, 1]}, "schema.type", "arguments.image"),
        ({"image": "../etc", "bbox": [0, 0, 1, 1]}, "schema.pattern", "arguments.image"),
        ({"image": "i\ud800", "bbox": [0, 0, 1, 1]}, "schema.type", "arguments.image"),
        ({"image": "i0", "bbox": [0, float("nan"), 1, 1]}, "schema.range", "arguments.bbox[1]"),
        ('{"image": "i0", "bbox": [0, 0, Infinity, 1]}', "schema.range", "arguments.bbox[2]"),
        ({"image": "i0", "bbox": [0, 0, 10**400, 1]}, "schema.range", "arguments.bbox[2]"),
        ({"image": "i0", "bbox": {1, 2, 3, 4}}, "schema.type", "arguments.bbox"),
        ({1: "i0"}, "schema.type", "arguments"),
    ],
)
def test_every_malformed_argument_has_its_code_and_place(raw: Any, code: str, path: str) -> None:
    error = error_of(raw)
    assert (error.code, error.path) == (code, path)
    assert error.fault_owner == "caller"
    assert error.retryable


def test_wrong_length_says_how_many_came() -> None:
    error = error_of({"image": "i0", "bbox": [0.1, 0.2, 0.3]})
    assert str(error) == "arguments.bbox: expected 4 items, got 3 items [schema.length]"


def test_unknown_field_suggests_the_nearest_and_mentions_what_else_is_wrong() -> None:
    error = error_of({"bbox_2d": [0, 0, 1, 1]})
    assert error.hint.startswith("did you mean `bbox`?. also arguments.bbox: expected")


@pytest.mark.parametrize(("factor", "word"), [(0.5, "at least 1"), (1e9, "at most 1000")])
def test_factor_out_of_range_is_named(factor: float, word: str) -> None:
    error = error_of({"image": "i0", "center": [0.5, 0.5], "factor": factor}, "zoom")
    assert (error.code, error.path) == ("schema.range", "arguments.factor")
    assert error.expected.startswith(word)


def test_endless_nesting_is_an_error_not_a_crash() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert error_of({"image": "i0", "bbox": loop}).code == "schema.type"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["image", "bbox", "center", "factor", "x"]), json_values))
def test_any_object_is_accepted_or_refused_with_a_code(raw: dict[str, Any]) -> None:
    for tool in ("crop", "zoom", "depth"):
        try:
            read(raw, tool)
        except ToolFailure as failure:
            assert failure.error.stage == "schema"  # noqa: PT017 - either outcome is right


@given(st.text())
def test_any_text_is_accepted_or_refused_with_a_code(raw: str) -> None:
    try:
        read(raw)
    except ToolFailure as failure:
        assert failure.error.stage in ("parse", "schema")  # noqa: PT017 - as above
