from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearl_tools.strict_json import DuplicateKey, decode_error, decode_json


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    box: list[float]
    name: str = "it"


class Row(msgspec.Struct, forbid_unknown_fields=True):
    answer: str
    parts: list[Inner] = []
    name: Annotated[str, msgspec.Meta(pattern="^x$")] = "x"
    count: Annotated[int, msgspec.Meta(ge=0)] = 0
    kind: Literal["a", "b"] = "a"
    words: Annotated[list[str], msgspec.Meta(max_length=2)] = []


def error_of(text: str | bytes, kind: Any = Any) -> tuple[str, str]:
    with pytest.raises(msgspec.DecodeError) as raised:
        decode_json(text, kind)
    error = decode_error(raised.value, "line 3", "a row")
    return error.code, error.path


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a":1,"a":1}',
        '{"b": {"a": [{"c": 1, "d": 2, "c": 3}]}, "e": 1}',
        '{"a": 1, "\\u0061": 2}',
        '{"": 1, "": 2}',
        '{"a": {"b": 1, "b": 2}, "c": 100000000000000000000000}',
        '[{"x": 1.50, "x": 1}]',
    ],
)
def test_a_key_given_twice_is_refused_at_any_depth(text: str) -> None:
    assert error_of(text) == ("parse.duplicate_key", "line 3")
    assert error_of(text.encode()) == ("parse.duplicate_key", "line 3")


def test_a_key_given_twice_is_refused_in_what_a_type_does_not_read() -> None:
    class Loose(msgspec.Struct):
        answer: str

    text = '{"answer": "x", "other": {"a": 1, "a": 2}}'
    assert error_of(text, Loose) == ("parse.duplicate_key", "line 3")


@pytest.mark.parametrize(
    ("text", "code", "path"),
    [
        ("", "parse.not_json", "line 3"),
        ("{", "parse.not_json", "line 3"),
        (b'{"a": "\xff"}', "parse.not_json", "line 3"),
        ('"\\ud800"', "parse.not_json", "line 3"),
        ("[1, NaN]", "parse.not_json", "line 3"),
        ("[1, -Infinity]", "parse.not_json", "line 3"),
        ("[" * 5000 + "]" * 5000, "parse.not_json", "line 3"),
        ("1e400", "schema.range", "line 3"),
    ],
)
def test_what_is_no_json_has_one_code(text: str | bytes, code: str, path: str) -> None:
    assert error_of(text) == (code, path)


@pytest.mark.parametrize(
    ("text", "code", "path"),
    [
        ("{}", "schema.missing_field", "line 3.answer"),
        ('{"answer": "a", "colour": 1}', "schema.unknown_field", "line 3.colour"),
        ('{"answer": 3}', "schema.type", "line 3.answer"),
        ('{"answer": "a", "parts": [{}]}', "schema.missing_field", "line 3.parts[0].box"),
        ('{"answer": "a", "parts": [{"box": [0, "1"]}]}', "schema.type", "line 3.parts[0].box[1]"),
        (
            '{"answer": "a", "parts": [{"box": [], "nam": 1}]}',
            "schema.unknown_field",
            "line 3.parts[0].nam",
        ),
        ("[]", "schema.type", "line 3"),
        ('{"answer": "a", "name": "y"}', "schema.pattern", "line 3.name"),
        ('{"answer": "a", "count": -1}', "schema.range", "line 3.count"),
        ('{"answer": "a", "kind": "c"}', "schema.enum", "line 3.kind"),
        ('{"answer": "a", "words": ["", "", ""]}', "schema.length", "line 3.words"),
        (
            '{"answer": "a", "parts": [{"box": [%s]}]}' % ("9" * 320),
            "schema.range",
            "line 3.parts[0].box[0]",
        ),
    ],
)
def test_a_value_of_another_type_is_named_by_field(text: str, code: str, path: str) -> None:
    assert error_of(text, Row) == (code, path)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(json_values, st.booleans(), st.sampled_from([None, 1]))
def test_sound_json_reads_as_any_reader_reads_it(value: Any, ascii_only: bool, indent: Any) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert decode_json(text) == json.loads(text)


@given(st.text(max_size=5), json_values, json_values)
def test_any_doubled_key_is_found(key: str, one: Any, other: Any) -> None:
    name = json.dumps(key)
    with pytest.raises(DuplicateKey) as raised:
        decode_json(f"[{{{name}: {json.dumps(one)}, {name}: {json.dumps(other)}}}]")
    assert raised.value.key == key


@given(st.text() | st.binary())
def test_any_text_is_read_or_refused_with_a_code(text: str | bytes) -> None:
    try:
        decode_json(text)
    except msgspec.DecodeError as error:
        assert decode_error(error, "", "JSON").stage in ("parse", "schema")  # noqa: PT017 - either
