"""OpenThinkIMG (arXiv 2505.08617): actions in JSON, pictures img_1, img_2 ..., boxes in pixels.

A turn is ``{"thought": ..., "actions": [{"name": ..., "arguments": {...}}]}``. The project's older
form, ``"actions🚀" [{"API_name": ..., "API_params": ...}]``, is read too. ``Terminate`` states the
answer and is not a call.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pearl_tools.arguments import plain_value
from pearl_tools.dialects.box_calls import box_dialect
from pearl_tools.dialects.dialect import BrokenCall, ParsedCall
from pearl_tools.dialects.images import by_position
from pearl_tools.dialects.reading import each_block, named_call, read_literal, read_object
from pearl_tools.dialects.reasoning import next_tag, outside_reasoning
from pearl_tools.errors import ToolFailure, fail

_OLD_ACTIONS, _OLD_VALUE, _OLD_NAME = re.compile('"actions🚀"'), '"value👉"', "API_name"


def parse_actions(text: str) -> list[ParsedCall | BrokenCall]:
    """Every action of the turns in ``text`` but ``Terminate``; a broken turn is one error."""
    found: list[ParsedCall | BrokenCall] = []
    for turn in _turns(text):
        try:
            actions = _actions(turn)
        except ToolFailure as failure:
            found.append(BrokenCall(turn, failure.error))
            continue
        found += each_block([json.dumps(action, ensure_ascii=False) for action in actions], _action)
    return [item for item in found if isinstance(item, BrokenCall) or item.name != "Terminate"]


def _turns(text: str) -> list[str]:
    """The turns outside reasoning: objects, or the text after the older form's mark."""
    older = outside_reasoning(text, _OLD_ACTIONS, re.Match.end)
    if older:
        return [text[older[0].start() :].split(_OLD_VALUE, 1)[0]]
    decode = json.JSONDecoder().raw_decode

    def end_of(brace: re.Match[str]) -> int:
        try:
            return decode(text, brace.start())[1]
        except (ValueError, RecursionError):  # no JSON: all up to the next reasoning
            tag = next_tag(text, brace.end())
            return tag.start() if tag else len(text)

    turns = []
    for brace in outside_reasoning(text, re.compile(r"\{"), end_of):
        turn = text[brace.start() : end_of(brace)]
        turns.append(turn[: turn.rfind("}") + 1] or turn)
    return turns


def _actions(turn: str) -> list[Any]:
    """The list of actions in a turn; empty for an object that has none."""
    if mark := _OLD_ACTIONS.match(turn):
        actions = plain_value(read_literal(turn[mark.end() :].strip(), "actions"), "actions")
    else:
        actions = read_object(turn).get("actions", [])
    if not isinstance(actions, list):
        raise fail("schema.type", "actions", "a JSON array of calls", actions)
    return actions


def _action(block: str) -> ParsedCall:
    value = read_object(block)
    if _OLD_NAME in value and "name" not in value:
        return named_call(block, name_key=_OLD_NAME, arguments_key="API_params")
    return named_call(block)


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
