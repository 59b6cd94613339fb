"""Finding calls in model text: tagged blocks, and objects in JSON or Python literals.

Nothing is ever evaluated: ``json.loads`` and, where the published executor calls ``eval``,
``ast.literal_eval``.
"""

from __future__ import annotations

import ast
import json
import re
import threading
import warnings
from collections.abc import Callable
from typing import Any

from pearl_tools.arguments import MAX_CALL_CHARS, duplicate_key, plain_value, read_json
from pearl_tools.dialects.dialect import BrokenCall, ParsedCall
from pearl_tools.dialects.reasoning import outside_reasoning
from pearl_tools.errors import ToolFailure, fail, tool_error

_warnings_lock = threading.Lock()


def tagged(text: str, tag: str) -> list[str | BrokenCall]:
    """The texts between ``<tag>`` and ``</tag>`` outside reasoning, in order; ``parse.unclosed``
    for an unpaired tag.
    """
    opening, closing = f"<{tag}>", f"</{tag}>"

    def body(mark: re.Match[str]) -> tuple[int, int]:
        """The end of the content after ``mark``, before and after its closing tag, if any."""
        following = text.find(opening, mark.end())
        limit = len(text) if following < 0 else following
        end = text.find(closing, mark.end(), limit)
        return (limit, mark.end()) if end < 0 else (end, end + len(closing))

    def end_of(mark: re.Match[str]) -> int:
        return body(mark)[1] if mark[0] == opening else mark.end()

    found: list[str | BrokenCall] = []
    marks = re.compile(f"{re.escape(opening)}|{re.escape(closing)}")
    for mark in outside_reasoning(text, marks, end_of):
        if mark[0] == closing:
            found.append(_unclosed(opening, text[max(0, mark.start() - 100) : mark.end()]))
            continue
        end, after = body(mark)
        closed = after > end
        found.append(
            text[mark.end() : end].strip()
            if closed
            else _unclosed(closing, text[mark.start() : end])
        )
    return found


def _unclosed(missing: str, text: str) -> BrokenCall:
    hint = f"write the whole call and close it with {missing}"
    return BrokenCall(text, tool_error("parse.unclosed", "", missing, text, hint))


def each_block(
    blocks: list[str | BrokenCall], read: Callable[[str], ParsedCall]
) -> list[ParsedCall | BrokenCall]:
    """Every block read on its own, so that one bad call does not hide the good ones."""
    results: list[ParsedCall | BrokenCall] = []
    for block in blocks:
        if isinstance(block, BrokenCall):
            results.append(block)
            continue
        try:
            results.append(read(block))
        except ToolFailure as failure:
            results.append(BrokenCall(block, failure.error))
    return results


def read_object(text: str, path: str = "") -> dict[str, Any]:
    """The object in ``text``, JSON or a Python literal, as plain values; raises ``parse.*``."""
    value = read_literal(text, path)
    if not isinstance(value, dict):
        raise fail("parse.not_an_object", path, "one object of named values", value)
    plain: dict[str, Any] = plain_value(value, path or "call")
    return plain


def read_literal(text: str, path: str = "") -> Any:
    """The value in ``text``: JSON, else a Python literal; raises ``parse.not_json``, or
    ``parse.duplicate_key`` for an object with a duplicate name.
    """
    try:
        return read_json(text, path)
    except ToolFailure as failure:
        if failure.error.code != "parse.not_json" or len(text) > MAX_CALL_CHARS:
            raise
        try:
            tree = _python_literal(text)
            value = ast.literal_eval(tree)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise failure from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
            if len(set(keys)) < len(keys):
                raise duplicate_key(next(k for k in keys if keys.count(k) > 1), path)
    return value


def _python_literal(text: str) -> ast.Expression:
    """``text`` as a syntax tree, without Python's warnings about its escapes."""
    with _warnings_lock, warnings.catch_warnings():  # filters are of the whole process
        warnings.simplefilter("ignore")
        return ast.parse(text.strip(), mode="eval")


def named_call(
    block: str, *, name_key: str = "name", arguments_key: str = "arguments"
) -> ParsedCall:
    """A call written as ``{"name": ..., "arguments": {...}}``; arguments may be JSON text."""
    value = read_object(block)
    for key, expected in ((name_key, "the name of a tool"), (arguments_key, "its arguments")):
        if key not in value:
            raise fail("schema.missing_field", key, expected, "nothing", f'add "{key}"')
    name, arguments = value[name_key], value[arguments_key]
    if not isinstance(name, str):
        raise fail("schema.type", name_key, "a JSON string", name)
    if not isinstance(arguments, dict | str):
        raise fail("parse.not_an_object", arguments_key, "an object of arguments", arguments)
    return ParsedCall(name=name, arguments=arguments, raw=block)


def parse_tool_calls(text: str) -> list[ParsedCall | BrokenCall]:
    """Calls in ``<tool_call>{...}</tool_call>``, as Hermes and Qwen templates write them."""
    return each_block(tagged(text, "tool_call"), named_call)


def write_tool_call(name: str, arguments: dict[str, Any]) -> str:
    """One call in ``<tool_call>`` tags."""
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{body}\n</tool_call>"
