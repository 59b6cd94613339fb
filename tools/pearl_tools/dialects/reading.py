"""Finding calls in model text: tagged blocks, and objects in JSON or Python literals.

Nothing is ever evaluated: ``json.loads`` and, where the published executor calls ``eval``,
``ast.literal_eval``.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from typing import Any

from pearl_tools.arguments import MAX_CALL_CHARS, plain_value, read_json
from pearl_tools.dialects.dialect import ParsedCall
from pearl_tools.errors import ToolError, ToolFailure, fail, tool_error


def tagged(text: str, tag: str) -> list[str | ToolError]:
    """The texts between ``<tag>`` and ``</tag>``, in order; ``parse.unclosed`` for half a pair."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    found: list[str | ToolError] = []
    head, *parts = text.split(opening)
    if closing in head:
        found.append(_unclosed(opening, head))
    for part in parts:
        body, close, _ = part.partition(closing)
        found.append(body.strip() if close else _unclosed(closing, opening + part))
    return found


def _unclosed(missing: str, text: str) -> ToolError:
    hint = f"write the whole call and close it with {missing}"
    return tool_error("parse.unclosed", "", missing, text, hint)


def each_block(
    blocks: list[str | ToolError], read: Callable[[str], ParsedCall]
) -> list[ParsedCall | ToolError]:
    """Every block read on its own, so that one bad call does not hide the good ones."""
    results: list[ParsedCall | ToolError] = []
    for block in blocks:
        if isinstance(block, ToolError):
            results.append(block)
            continue
        try:
            results.append(read(block))
        except ToolFailure as failure:
            results.append(failure.error)
    return results


def read_object(text: str, path: str = "") -> dict[str, Any]:
    """The object in ``text``, JSON or a Python literal, as plain values; raises ``parse.*``."""
    value = read_literal(text, path)
    if not isinstance(value, dict):
        raise fail("parse.not_an_object", path, "one object of named values", value)
    plain: dict[str, Any] = plain_value(value, path or "call")
    return plain


def read_literal(text: str, path: str = "") -> Any:
    """The value in ``text``: JSON, else a Python literal; raises ``parse.not_json``."""
    try:
        return read_json(text, path)
    except ToolFailure as failure:
        if len(text) > MAX_CALL_CHARS:
            raise
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise failure from None


def named_call(block: str) -> ParsedCall:
    """A call written as ``{"name": ..., "arguments": {...}}``; arguments may be JSON text."""
    value = read_object(block)
    if "name" not in value:
        raise fail("schema.missing_field", "name", "the name of a tool", "nothing", 'add "name"')
    if "arguments" not in value:
        raise fail("schema.missing_field", "arguments", "an object of arguments", "nothing")
    name, arguments = value["name"], value["arguments"]
    if not isinstance(name, str):
        raise fail("schema.type", "name", "a JSON string", name)
    if not isinstance(arguments, dict | str):
        raise fail("parse.not_an_object", "arguments", "an object of arguments", arguments)
    return ParsedCall(name=name, arguments=arguments, raw=block)


def parse_tool_calls(text: str) -> list[ParsedCall | ToolError]:
    """Calls in ``<tool_call>{...}</tool_call>``, as Hermes and Qwen templates write them."""
    return each_block(tagged(text, "tool_call"), named_call)


def write_tool_call(name: str, arguments: dict[str, Any]) -> str:
    """One call in ``<tool_call>`` tags."""
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{body}\n</tool_call>"
