"""Strict JSON without silent loss: the only reader of calls, records and files.

Common readers silently keep the last of two equal keys, and raise five kinds of errors for invalid
text. Here every error is a :class:`msgspec.DecodeError`, which :func:`decode_error` maps to our
codes. Not here: files larger than memory, whose reader decodes single items with this module.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, TypeVar, overload

import msgspec

from pearl_tools.errors import BadInput, ToolError, short_repr, tool_error

T = TypeVar("T")

_AT = re.compile(r" - at `(?:key in )?\$?\.?(?P<path>[^`]*)`")
_KINDS = re.compile(r"Expected `(?P<expected>[^`]*)`, got `(?P<got>[^`]*)`")
_WORDS = {
    "array": "a list", "object": "an object", "str": "a text", "int": "a whole number",
    "float": "a number", "bool": "true or false",
}  # fmt: skip
_FIELD = re.compile(r"field `(?P<name>[^`]*)`")
#: Message of msgspec -> our code, the first match; otherwise ``schema.type``.
_CODES = tuple(
    (re.compile(words), code)
    for words, code in (
        ("missing required field", "schema.missing_field"),
        ("unknown field", "schema.unknown_field"),
        ("out of range|Expected `(?:int|float)` [<>]", "schema.range"),
        ("of length", "schema.length"),
        ("matching regex", "schema.pattern"),
        ("Invalid (?:enum )?value", "schema.enum"),
    )
)


class NotJson(msgspec.DecodeError):
    """Invalid JSON, or JSON beyond the limits of the reader; the message gives the reason."""


class DuplicateKey(msgspec.DecodeError):
    """An object with a duplicate key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{short_repr(repr(key))} twice in one object")
        self.key = key


class OutOfRange(msgspec.ValidationError):
    """A number beyond 64 bits."""


@overload
def decode_json(data: bytes | str, *, strict: bool = True) -> Any: ...
@overload
def decode_json(data: bytes | str, kind: type[T], *, strict: bool = True) -> T: ...
@overload
def decode_json(data: bytes | str, kind: Any, *, strict: bool = True) -> Any: ...
def decode_json(data: bytes | str, kind: Any = Any, *, strict: bool = True) -> Any:
    """The JSON value in ``data`` as a ``kind``; rejects duplicate keys.

    ``strict=False`` accepts ``1.0`` as the integer 1. NaN and Infinity are invalid. Raises:
        NotJson: not JSON, not UTF-8, a lone surrogate, nested too deeply.
        DuplicateKey: a duplicate key, at any depth, even in a part that ``kind`` does not use.
        msgspec.ValidationError: JSON that is not a ``kind``; all are ``msgspec.DecodeError``.

    >>> decode_json('{"a": [1.5]}')
    {'a': [1.5]}
    >>> decode_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    pearl_tools.strict_json.DuplicateKey: 'a' twice in one object
    """
    try:
        value = msgspec.json.decode(data, type=kind, strict=strict)
        plain = value if kind is Any else msgspec.json.decode(data)
        if not _is_compact(plain, data):
            json.loads(data, object_pairs_hook=each_key_once, parse_constant=_no_constant)
    except OverflowError as error:
        raise OutOfRange(f"Number out of range ({error})") from None
    except msgspec.DecodeError:
        raise
    except RecursionError:
        raise NotJson("nested hundreds of levels deep") from None
    except (ValueError, UnicodeError) as error:  # a lone surrogate; a number of 4301 digits
        raise NotJson(str(error)) from None
    return value


def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of ``pairs``, as an ``object_pairs_hook``; raises
    ``DuplicateKey``.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise DuplicateKey(next(key for key in found if keys.count(key) > 1))
    return found


def parse_json(text: bytes | str, where: str) -> Any:
    """The JSON value in the ``text`` of a user's file; raises ``BadInput`` naming
    ``where``.
    """
    try:
        return decode_json(text)
    except msgspec.DecodeError as error:
        raise BadInput(f"{where}: expected JSON with every key once, got {error}") from error


def decode_error(error: msgspec.DecodeError, path: str, expected: str) -> ToolError:
    """``error`` with its code; the position in the text is appended to ``path``.

    ``parse.not_json``, ``parse.duplicate_key``, ``schema.missing_field``, ``schema.unknown_field``,
    ``schema.version``, ``.range``, ``.length``, ``.pattern``, ``.enum``, else ``schema.type``.

    >>> from msgspec import Struct
    >>> class Row(Struct, forbid_unknown_fields=True):
    ...     answer: str
    >>> try:
    ...     decode_json('{"anser": "x"}', Row)
    ... except msgspec.DecodeError as error:
    ...     print(decode_error(error, "line 3", "a row"))
    line 3.anser: expected a row, got Object contains unknown field `anser` [schema.unknown_field]
    """
    message = str(error)
    at, field = _AT.search(message), _FIELD.search(message)
    parts = [at["path"]] if at and at["path"] not in ("", "...") else []
    if isinstance(error, DuplicateKey):
        code = "parse.duplicate_key"
    elif not isinstance(error, msgspec.ValidationError):
        code = "parse.not_json"
    elif parts == ["schema_version"]:
        code = "schema.version"
    else:
        code = next((code for words, code in _CODES if words.search(message)), "schema.type")
    if field and code in ("schema.missing_field", "schema.unknown_field"):
        parts.append(field["name"])
    where = ".".join([path, *parts] if path else parts).replace(".[", "[")
    if kinds := _KINDS.match(message):
        expected, message = (_in_words(kinds[name]) for name in ("expected", "got"))
    return tool_error(code, where, expected, message)


def _in_words(kinds: str) -> str:
    """``str | null`` as ``a text or null``."""
    words = [_WORDS.get(kind, kind) for kind in kinds.split(" | ")]
    if "a number" in words and "a whole number" in words:
        words.remove("a whole number")
    return " or ".join(words)


def _is_compact(plain: Any, data: bytes | str) -> bool:
    """True if ``data`` is the canonical form of ``plain``, so that no key was lost.

    A shortcut for all text that this toolkit writes, 10 times as fast as the full check.
    """
    try:
        written = msgspec.json.encode(plain)
    except (OverflowError, ValueError, msgspec.MsgspecError):  # an integer beyond 64 bits
        return False
    return written == (data.encode() if isinstance(data, str) else data).strip()


def _no_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is no JSON number")
