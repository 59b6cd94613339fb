"""The lists of a JSON object, read in pieces of any size."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearl_data.sources import json_lists
from pearl_data.sources.json_lists import read_lists
from pearl_tools.errors import BadInput

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\{}[],: é', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def read(data: bytes, chunk: int = 2**20) -> list[tuple[str, int, bytes]]:
    seen: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lists, "_CHUNK_BYTES", chunk)
        found = list(read_lists(io.BytesIO(data), {"a", "b"}, BadInput, seen.append))
    assert b"".join(seen) == data
    return found


@given(
    st.lists(VALUES, max_size=4), st.lists(VALUES, max_size=4), VALUES, st.integers(1, 9),
    st.sampled_from([None, 1]), st.booleans(),
)  # fmt: skip
def test_every_item_comes_out_as_it_went_in(
    a: list[Any], b: list[Any], skipped: Any, chunk: int, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps({"a": a, "x": skipped, "b": b}, indent=indent, ensure_ascii=ascii_only)
    found = read(text.encode(), chunk)
    assert [(n, i) for n, i, _ in found] == [
        *(("a", i) for i in range(len(a))), *(("b", i) for i in range(len(b)))
    ]  # fmt: skip
    assert [json.loads(item) for _, _, item in found] == [*a, *b]


def test_a_value_that_is_no_list_comes_whole() -> None:
    assert read(b'{"a": {"k": [1]}, "b": null}', 1) == [
        ("a", -1, b'{"k": [1]}'), ("b", -1, b"null")
    ]  # fmt: skip


def test_an_item_that_is_no_json_costs_itself_only() -> None:
    found = read(b'{"a": [{"v": NaN}, {"v": "\xff"}, {"v": [1}, {"v": 2}]}')
    assert [item for _, _, item in found] == [
        b'{"v": NaN}', b'{"v": "\xff"}', b'{"v": [1}', b'{"v": 2}'
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "expected { at byte 0, got the end of the file"),
        (b"[1]", r"expected { at byte 0, got \["),
        (b'{"a": [{"k": 1]', r"a\[0\]: expected an end of the value that begins at byte 7"),
        (b'{"a": [1 2]}', "expected , at byte 9, got 2"),
        (b'{"a": [1], "a": [2]}', r"'a' twice in one object \[parse.duplicate_key\]"),
        (b'{"a": [1]} x', "after the end of the object, at byte 11"),
        (b'{"a": ["k', r"a\[0\]: expected a value at byte 7"),
        (b'{"a', "expected a name in quotes at byte 1"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(data: bytes, reason: str) -> None:
    for chunk in (1, 2**20):
        with pytest.raises(BadInput, match=reason):
            read(data, chunk)


def test_an_item_without_an_end_is_not_held_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lists, "LARGEST_ITEM_BYTES", 10_000)
    stream = io.BytesIO(b'{"a": [{"k": [' + b"1, " * 100_000)
    monkeypatch.setattr(json_lists, "_CHUNK_BYTES", 1000)
    with pytest.raises(BadInput, match="expected an end of the value"):
        list(read_lists(stream, {"a"}, BadInput, lambda _: None))
    assert stream.tell() < 50_000
