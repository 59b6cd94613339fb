"""The parse and schema stages: bytes to a typed record, or everything that keeps it from being one.

The verdict is that of the exported JSON Schema, so any standard validator agrees with it; what it
lets through always converts to a :class:`~pearl_data.trajectory.Trajectory`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

import jsonschema_rs
import msgspec

from pearl_data.findings import Finding, finding
from pearl_data.schemas import trajectory_schema
from pearl_data.trajectory import SCHEMA_VERSION, Call, Trajectory, canonical_json
from pearl_tools.errors import SCHEMA_CODES, all_codes
from pearl_tools.registry import TOOLS
from pearl_tools.strict_json import decode_error, decode_json
from pearl_tools.types import MAX_NUMBER

_TYPED = msgspec.json.Decoder(Trajectory)
_CODES = frozenset(all_codes())
_NAMES = {"object": "an object", "array": "a list", "string": "a text", "null": "null",
          "number": "a number", "integer": "an integer", "boolean": "true or false"}  # fmt: skip


def read_record(text: bytes) -> tuple[Trajectory | None, list[Finding]]:
    """The record in ``text`` and no findings, or None and every parse or schema finding."""
    trajectory = plainly_valid(text)
    if trajectory is not None:
        return trajectory, []
    document, findings = parse(text)
    if findings:
        return None, findings
    if not validator().is_valid(document):
        return None, schema_findings(document)
    try:
        return msgspec.convert(document, Trajectory, strict=False), []
    except msgspec.ValidationError:  # 1.0 where a literal 1 is meant: equal in JSON Schema
        return msgspec.convert(_whole_numbers(document), Trajectory, strict=False), []


def plainly_valid(text: bytes) -> Trajectory | None:
    """The record in ``text`` if it is valid and in canonical form; None decides nothing.

    Takes half the time of the JSON Schema: the types check all but the rules that span several
    fields, which are repeated here. Canonical text has no unknown key, no duplicate key and no
    number of another type.
    """
    try:
        trajectory = _TYPED.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    # msgspec's patterns accept a final line break, the schema's do not
    if b'\\n"' in text or canonical_json(trajectory) != text:
        return None
    fault = trajectory.fault
    if fault is not None and fault.code not in _CODES:
        return None
    calls = (call for step in trajectory.steps for call in step.calls)
    return trajectory if all(map(_fits, calls)) else None


def _fits(call: Call) -> bool:
    """The rules of the schema that span several fields of a call."""
    result = call.result
    if result.status == "error":
        return result.error is not None and result.error.code in _CODES and not result.media
    known = _arguments().get(call.tool)
    return (
        known is not None
        and call.arguments is not None
        and call.effective is not None
        and call.exec is not None
        and result.error is None
        and bool(result.media or result.text)
        and known.is_valid(call.arguments)
    )


@cache
def _arguments() -> dict[str, jsonschema_rs.Draft202012Validator]:
    """The compiled schema of the arguments of every tool, as the record's schema has it."""
    parts = trajectory_schema()["$defs"]
    return {name: jsonschema_rs.Draft202012Validator(parts[f"{name}-arguments"]) for name in TOOLS}


def parse(text: bytes) -> tuple[Any, list[Finding]]:
    """The JSON object in ``text``, or why there is none."""
    try:
        document = decode_json(text)
    except msgspec.DecodeError as error:
        fault = decode_error(error, "", "one JSON object in UTF-8, every key once")
        got = f"{error} in {len(text)} bytes" if text else "nothing"
        return None, [finding(fault.code, fault.path, fault.expected, got)]
    if not isinstance(document, dict):
        got = _shown(document)
        return None, [finding("parse.not_an_object", "", "a JSON object, a trajectory", got)]
    return document, []


@cache
def validator() -> jsonschema_rs.Draft202012Validator:
    """The compiled schema of a trajectory."""
    return jsonschema_rs.Draft202012Validator(trajectory_schema())


def schema_findings(document: dict[str, Any]) -> list[Finding]:
    """Every violation of the schema, in the order of the document's stages of checking."""
    found: dict[tuple[str, str], Finding] = {}
    if isinstance(version := document.get("schema_version"), str) and version != SCHEMA_VERSION:
        return [_version(version)]  # all else may follow from it
    for error in validator().iter_errors(document):
        for each in _findings_of(error):
            found[each.path, each.code] = each  # the later of two at one place is more specific
    return list(found.values())


def json_path(parts: Sequence[str | int]) -> str:
    """``["steps", 0, "calls"]`` as ``steps[0].calls``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".")


def _findings_of(error: jsonschema_rs.ValidationError) -> Iterator[Finding]:
    """One violation in our words; unknown fields one by one."""
    keyword, facts = error.kind.name, error.kind.as_dict()
    path = json_path(error.instance_path)
    got: Any = error.instance
    code = SCHEMA_CODES.get(keyword, "schema.combination")
    if keyword == "required":
        name = facts["property"]
        yield finding(code, _below(path, name), "this field", "nothing", f"add {name}")
    elif keyword == "additionalProperties":
        for name in facts["unexpected"]:
            close = get_close_matches(name, _fields(error), n=1)
            hint = f"did you mean {close[0]}?" if close else "leave it out"
            yield finding(code, _below(path, name), "no such field", _shown(got[name]), hint)
    elif path.endswith(".tool") and keyword == "enum":
        expected = "one of " + ", ".join(facts["options"])
        yield finding("schema.unknown_tool", path, expected, _shown(got))
    else:
        yield finding(code, path, *_words(keyword, facts, got))


def _version(got: str) -> Finding:
    expected = f"version {SCHEMA_VERSION}"
    hint = "make the data set again, or use the toolkit that wrote it"
    return finding("schema.version", "schema_version", expected, _shown(got), hint)


def _words(keyword: str, facts: dict[str, Any], got: Any) -> tuple[str, str]:
    """Expected and got of one violation in plain words."""
    limit = facts.get("limit")
    match keyword:
        case "type":
            return " or ".join(_NAMES[name] for name in facts["types"]), _shown(got)
        case "enum":
            return "one of " + ", ".join(map(_shown, facts["options"])), _shown(got)
        case "const":
            return _shown(facts["expected_value"]), _shown(got)
        case "minItems" | "maxItems":
            most = "at least" if keyword == "minItems" else "at most"
            return f"{most} {limit} items", f"{len(got)} items"
        case "minLength" | "maxLength":
            most = "at least" if keyword == "minLength" else "at most"
            return f"{most} {limit} characters", f"{len(got)} characters"
        case "minimum" | "maximum":
            most = "at least" if keyword == "minimum" else "at most"
            return f"{most} {limit}", _shown(got)
        case "pattern":
            pattern = str(facts["pattern"]).replace(r"(?!\n)", "")
            return f"a text like {pattern}", _shown(got)
        case _:
            return f"what the schema says under {keyword}", _shown(got)


def _fields(error: jsonschema_rs.ValidationError) -> list[str]:
    """The field names that the schema knows at the place of ``error``."""
    node: Any = trajectory_schema()
    for part in error.schema_path[:-1]:
        while isinstance(node, dict) and part not in node and "$ref" in node:
            node = trajectory_schema()["$defs"][node["$ref"].rpartition("/")[2]]
        try:
            node = node["$ref" if part == "$ref" else part]
        except (KeyError, IndexError, TypeError):
            return []
        if isinstance(node, str):  # the value of $ref
            node = trajectory_schema()["$defs"][node.rpartition("/")[2]]
    return list(node.get("properties", ())) if isinstance(node, dict) else []


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, TypeError):
        return repr(value)


def _whole_numbers(value: Any) -> Any:
    """``value`` with 1.0 as 1, which JSON Schema holds to be the same."""
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_NUMBER:
        return int(value)
    return value
