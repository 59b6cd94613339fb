"""The parse and schema stages: from a caller's text to arguments that fit the tool's schema.

Reports one error, the most basic one, at its argument, and mentions the others in the hint. JSON is
read with ``json.loads`` only; text of a model is never evaluated. Not here: checks of references
and boxes.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable
from typing import Any

import jsonschema_rs

from pearl_tools.errors import SCHEMA_CODES, ToolError, ToolFailure, fail, tool_error
from pearl_tools.strict_json import DuplicateKey, each_key_once

#: Example of arguments in our own dialect, quoted in errors.
OWN_EXAMPLE = '{"image": "i0", "bbox": [0.1, 0.2, 0.6, 0.7]}'
#: Longer texts are not calls; refused before any parser works on them.
MAX_CALL_CHARS = 100_000

#: Most basic first: what an error report leads with when several things are wrong.
_RANK = ("schema.unknown_field", "schema.missing_field", "schema.type", "schema.length")


def parse_arguments(raw: dict[str, Any] | str, example: str = OWN_EXAMPLE) -> dict[str, Any]:
    """The argument object in ``raw`` as plain JSON values; raises ``parse.*`` or ``schema.*``.

    ``example`` are arguments in the caller's dialect, quoted in the error for other text.
    """
    value = raw if isinstance(raw, dict) else read_json(raw, hint=f"write {example}")
    if not isinstance(value, dict):
        expected = "a JSON object of named arguments"
        raise fail("parse.not_an_object", "arguments", expected, value, f"write {example}")
    plain: dict[str, Any] = plain_value(value, "arguments")
    return plain


def read_json(text: str, path: str = "arguments", hint: str = "") -> Any:
    """The JSON value in ``text``; raises ``parse.not_json`` with the position, or
    ``parse.duplicate_key``. NaN and Infinity pass: :func:`plain_value` refuses them by their place.
    """
    if len(text) > MAX_CALL_CHARS:
        raise fail("parse.not_json", path, f"at most {MAX_CALL_CHARS} characters", len(text))
    try:
        return json.loads(text, object_pairs_hook=each_key_once)
    except DuplicateKey as error:
        raise duplicate_key(error.key, path) from None
    except json.JSONDecodeError as error:
        expected = f"JSON ({error.msg} at character {error.pos})"
        raise fail("parse.not_json", path, expected, text or "an empty text", hint) from None
    except (ValueError, RecursionError) as error:  # a number of 4301 digits; 1000 brackets
        expected = f"JSON within limits ({error})"
        raise fail("parse.not_json", path, expected, text, hint) from None


def duplicate_key(key: Any, path: str) -> ToolFailure:
    """The error for an object with a duplicate name; neither value is used."""
    expected, got = "every name once in an object", f"{key!r} twice"
    return fail("parse.duplicate_key", path, expected, got, f"give {key!r} once")


def plain_value(value: Any, path: str) -> Any:
    """``value`` as plain JSON values with finite numbers; raises ``schema.type`` or ``.range``."""
    try:
        return _plain(value, path)
    except RecursionError:
        raise fail(
            "schema.type", path, "values nested a few levels deep", "endless nesting"
        ) from None


def _plain(value: Any, path: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if _has_lone_surrogate(value):
            raise fail("schema.type", path, "Unicode text", ascii(value), "it has a lone surrogate")
        return value
    if isinstance(value, int | float):
        if not _is_finite(value):
            raise fail(
                "schema.range", path, "a finite number", str(value)[:40], "write it as a decimal"
            )
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise fail("schema.type", path, "names that are strings", key)
            if _has_lone_surrogate(key):
                hint = "it has a lone surrogate"
                raise fail("schema.type", path, "names in Unicode text", ascii(key), hint)
        return {key: _plain(item, f"{path}.{key}") for key, item in value.items()}
    raise fail("schema.type", path, "a JSON value", f"{type(value).__name__} {value!r}")


def _has_lone_surrogate(text: str) -> bool:
    return not text.isprintable() and any("\ud800" <= char <= "\udfff" for char in text)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:  # an integer beyond float64
        return False


def check_schema(
    validator: jsonschema_rs.Draft202012Validator, arguments: dict[str, Any], known: Iterable[str]
) -> None:
    """Raise the most basic ``schema.*`` error of ``arguments``; ``known`` are the field names."""
    errors = [_coded(error, list(known)) for error in validator.iter_errors(arguments)]
    if not errors:
        return
    errors.sort(key=lambda e: (_RANK.index(e.code) if e.code in _RANK else len(_RANK), e.path))
    first, *rest = errors
    others = "; ".join(f"{e.path}: expected {e.expected}, got {e.got}" for e in rest[:3])
    hint = ". ".join(part for part in (first.hint, f"also {others}" if others else "") if part)
    raise fail(first.code, first.path, first.expected, first.got, hint)


def _coded(error: jsonschema_rs.ValidationError, known: list[str]) -> ToolError:
    """One schema violation in our closed set of codes, at the argument it is about."""
    kind, facts = error.kind.name, error.kind.as_dict()
    value: Any = error.instance
    path = "arguments" + "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path
    )
    code = SCHEMA_CODES.get(kind, "schema.combination")
    if kind == "required":
        name = facts["property"]
        return tool_error(code, f"{path}.{name}", "this argument", "nothing", f"add `{name}`")
    if kind == "additionalProperties":
        name = facts["unexpected"][0]
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean `{close[0]}`?" if close else "leave it out"
        return tool_error(code, f"{path}.{name}", "one of " + ", ".join(known), name, hint)
    if kind == "type":
        expected = " or ".join(str(t) for t in facts["types"])
        return tool_error(code, path, f"a JSON {expected}", _json_text(value))
    if kind in ("minItems", "maxItems"):
        return tool_error(code, path, f"{facts['limit']} items", f"{len(value)} items")
    if code == "schema.range":
        words = {
            "minimum": "at least",
            "maximum": "at most",
            "exclusiveMinimum": "more than",
            "exclusiveMaximum": "less than",
        }
        return tool_error(code, path, f"{words[kind]} {facts['limit']}", _json_text(value))
    if kind == "enum":
        return tool_error(code, path, "one of " + _json_text(facts["options"]), _json_text(value))
    return tool_error(code, path, error.message, _json_text(value))


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
