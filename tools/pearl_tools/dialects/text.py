"""From a model's text to observations: parse, translate and run every call in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pearl_tools.dialects.dialect import Dialect
from pearl_tools.errors import ToolError, tool_error
from pearl_tools.types import MediaMap, Observation, ToolCall

if TYPE_CHECKING:
    from pearl_tools.executor import ToolExecutor


def run_text(
    executor: ToolExecutor, text: str, dialect: Dialect, media: MediaMap
) -> list[tuple[ToolCall | None, Observation]]:
    """Pairs of our call (None where it could not be read) and its observation, in text order."""
    known = dict(media)
    pairs: list[tuple[ToolCall | None, Observation]] = []
    parsed = dialect.parse(text)
    if not parsed:
        hint = f"{dialect.name} writes {dialect.description}"
        parsed = [tool_error("parse.no_call", "", f"a call in {dialect.name}", text, hint)]
    for number, item in enumerate(parsed, 1):
        call_id = f"c{number}"
        tool = "" if isinstance(item, ToolError) else item.name
        call = item if isinstance(item, ToolError) else dialect.to_call(item, known, call_id)
        if isinstance(call, ToolError):
            failed = Observation(call_id=call_id, tool=tool, status="error", error=call)
            pairs.append((None, failed))
            continue
        observation = executor.run(call, known, naming=dialect.naming)
        known.update({medium.record.id: medium for medium in observation.media})
        pairs.append((call, observation))
    return pairs
