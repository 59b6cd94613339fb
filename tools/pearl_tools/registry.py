"""The closed set of tools. A name that is not here cannot be called, whatever a model writes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from pearl_tools.crop import Crop
from pearl_tools.depth_tool import Depth
from pearl_tools.errors import fail
from pearl_tools.tool import Tool
from pearl_tools.zoom import Zoom

_TOOLS: dict[str, Tool] = {tool.spec.name: tool for tool in (Crop(), Zoom(), Depth())}
#: Every tool by name; nothing outside this module can add one.
TOOLS: Mapping[str, Tool] = MappingProxyType(_TOOLS)


def find_tool(name: str) -> Tool:
    """The tool called ``name``; raises ``schema.unknown_tool`` naming those that exist."""
    if name in TOOLS:
        return TOOLS[name]
    close = difflib.get_close_matches(str(name), TOOLS, n=1)
    hint = f"did you mean `{close[0]}`?" if close else "call one of these tools by its exact name"
    raise fail("schema.unknown_tool", "tool", "one of " + ", ".join(TOOLS), name, hint)
