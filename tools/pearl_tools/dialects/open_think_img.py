"""OpenThinkIMG (arXiv 2505.08617): actions in JSON, pictures img_1, img_2 ..., boxes in pixels.

A turn is ``{"thought": ..., "actions": [{"name": ..., "arguments": {...}}]}``. The project's older
form, ``"actions🚀" [{"API_name": ..., "API_params": ...}]``, is read too. ``Terminate`` states the
answer and is not a call.
"""

from __future__ import annotations

import json
from typing import Any

from pearl_tools.arguments import plain_value
from pearl_tools.dialects.box_calls import box_dialect
from pearl_tools.dialects.dialect import ParsedCall
from pearl_tools.dialects.images import by_position
from pearl_tools.dialects.reading import each_block, named_call, read_literal, read_object
from pearl_tools.errors import ToolError, ToolFailure, fail

_OLD_ACTIONS, _OLD_VALUE = '"actions🚀"', '"value👉"'
_OLD_NAMES = {"API_name": "name", "API_params": "arguments"}


def parse_actions(text: str) -> list[ParsedCall | ToolError]:
    """Every action of a turn but ``Terminate``; a broken turn is one error."""
    try:
        actions = _actions(text)
    except ToolFailure as failure:
        return [failure.error]
    found = each_block([json.dumps(action, ensure_ascii=False) for action in actions], _action)
    return [item for item in found if isinstance(item, ToolError) or item.name != "Terminate"]


def _actions(text: str) -> list[Any]:
    """The list of actions in a turn; empty for a text that has none."""
    if _OLD_ACTIONS in text:
        listed = text.split(_OLD_ACTIONS, 1)[1].split(_OLD_VALUE, 1)[0].strip()
        actions = plain_value(read_literal(listed, "actions"), "actions")
    else:
        start, end = text.find("{"), text.rfind("}")
        if start < 0:
            return []
        turn = text[start : end + 1] if end > start else text[start:]
        actions = read_object(turn).get("actions", [])
    if not isinstance(actions, list):
        raise fail("schema.type", "actions", "a JSON array of calls", actions)
    return actions


def _action(block: str) -> ParsedCall:
    value = {_OLD_NAMES.get(key, key): item for key, item in read_object(block).items()}
    call = named_call(json.dumps(value, ensure_ascii=False))
    return ParsedCall(name=call.name, arguments=call.arguments, raw=block)


def _read_param(arguments: dict[str, Any]) -> dict[str, Any]:
    """``param`` may be the list as text; it is read as a literal, never evaluated."""
    param = arguments.get("param")
    if isinstance(param, str):
        path = "arguments.param"
        return {**arguments, "param": plain_value(read_literal(param, path), path)}
    return arguments


def _write_turn(tool: str, arguments: dict[str, Any]) -> str:
    action = {"name": tool, "arguments": {**arguments, "param": json.dumps(arguments["param"])}}
    return json.dumps({"thought": "", "actions": [action]})


OPEN_THINK_IMG = box_dialect(
    name="open_think_img",
    description='{"actions": [{"name": "Crop", "arguments": {image: img_1, param: box in px}}]}',
    tool="Crop",
    becomes="crop",
    speaks_for=("crop", "zoom"),
    box="param",
    unit="pixel",
    image=by_position("image", 1, "img_"),
    index_base=1,
    parse=parse_actions,
    wrap=_write_turn,
    prepare=_read_param,
)
