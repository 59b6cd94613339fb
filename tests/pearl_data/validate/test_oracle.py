"""The schema stage says what any standard validator says, on whatever a document may become."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from trajectories import build_sample

from pearl_data.schemas import schemas
from pearl_data.trajectory import Trajectory, canonical_json
from pearl_data.validate import check_text
from pearl_data.validate.schema import json_path, read_record, validator

ORACLE = jsonschema.Draft202012Validator(schemas()["trajectory"])
DOCUMENTS: list[dict[str, Any]] = [
    msgspec.json.decode(canonical_json(build_sample(**options).trajectory))  # type: ignore[arg-type]
    for options in (
        {},
        {"depth": True, "second_crop": True},
        {"failed_call": True, "zoom": True, "suffix": "png"},
    )
]
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**53, 2**64, 10**30, 10**400, 1.0, 0.0, -0.0, 0.5, 1e300, -1e308]),
    st.sampled_from(["", "crop", "zoom", "depth", "ok", "error", "i0", "x\n", "c1\n", "0" * 64]),
    st.text(max_size=4).filter(lambda text: text.isprintable()),
    st.just([]),
    st.just({}),
    st.lists(st.integers(0, 2), max_size=5),
    st.dictionaries(st.sampled_from(["image", "bbox", "x"]), st.integers(0, 1), max_size=2),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside ``value``."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    inner = [deep for key, item in items for deep in places(item, (*path, key))]
    return [path, *inner] if path else inner


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A valid document after one to three changes at random places."""
    document = copy.deepcopy(draw(st.sampled_from(DOCUMENTS)))
    for _ in range(draw(st.integers(1, 3))):
        found = places(document)
        if not found:
            break
        *parents, last = draw(st.sampled_from(found))
        node: Any = document
        for part in parents:
            node = node[part]
        change = draw(st.sampled_from(["delete", "replace", "rename", "insert", "float", "copy"]))
        if change == "delete":
            del node[last]
        elif change == "replace":
            node[last] = draw(JUNK)
        elif change == "rename" and isinstance(node, dict):
            node[draw(st.sampled_from([f"{last}s", "id", "tool", "x"]))] = node.pop(last)
        elif change == "insert" and isinstance(node, list):
            node.insert(last, draw(JUNK))
        elif change == "insert":
            node[draw(st.sampled_from(["note", "tool", "error", "frame"]))] = draw(JUNK)
        elif change == "float" and type(node[last]) is int and abs(node[last]) < 2**64:
            node[last] = float(node[last])
        elif change == "copy":
            *others, end = draw(st.sampled_from(found))
            source: Any = document
            try:
                for part in (*others, end):
                    source = source[part]
            except (KeyError, IndexError, TypeError):
                continue
            node[last] = copy.deepcopy(source)
    return document


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_verdict_and_places_are_those_of_jsonschema(document: dict[str, Any]) -> None:
    text = msgspec.json.encode(document)
    trajectory, findings = read_record(text)
    theirs = {json_path(list(error.absolute_path)) for error in ORACLE.iter_errors(document)}
    parsed = msgspec.json.decode(text)
    ours = {json_path(error.instance_path) for error in validator().iter_errors(parsed)}
    assert ours == theirs
    assert (trajectory is None) == bool(theirs) == bool(findings)
    assert isinstance(trajectory, Trajectory | None)
    for each in findings:
        assert each.code.startswith("schema.")
        assert any(each.path.startswith(path) for path in theirs)


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_no_document_makes_the_later_stages_fail(document: dict[str, Any]) -> None:
    check_text(msgspec.json.encode(document))


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_make_parsing_fail(text: bytes) -> None:
    assert check_text(text)


def test_valid_documents_are_valid_for_both() -> None:
    for document in DOCUMENTS:
        assert list(ORACLE.iter_errors(document)) == []
        assert check_text(msgspec.json.encode(document)) == []
