"""Our own dialect: ``<tool_call>{"name": "crop", "arguments": {...}}</tool_call>``, strict JSON."""

from __future__ import annotations

from typing import Any

from pearl_tools.arguments import OWN_EXAMPLE, parse_arguments
from pearl_tools.dialects.dialect import Dialect, ParsedCall
from pearl_tools.dialects.reading import parse_tool_calls, write_tool_call
from pearl_tools.geometry import OWN_NAMING
from pearl_tools.types import Coordinates, MediaMap, ToolCall


def _translate(parsed: ParsedCall, media: MediaMap) -> tuple[str, dict[str, Any] | str]:
    return parsed.name, parsed.arguments


def _write(call: ToolCall, media: MediaMap) -> str:
    return write_tool_call(call.tool, parse_arguments(call.arguments))


PEARL = Dialect(
    name="pearl",
    description="<tool_call> crop, zoom, depth; bbox in 0..1 of the picture named by its id",
    coordinates=Coordinates(unit="fraction"),
    naming=OWN_NAMING,
    parse=parse_tool_calls,
    translate=_translate,
    write=_write,
    example=f'<tool_call>{{"name": "crop", "arguments": {OWN_EXAMPLE}}}</tool_call>',
)
