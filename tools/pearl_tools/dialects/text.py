"""From a model's text to observations: parse, translate and run every call in it."""

from __future__ import annotations

from pearl_tools.dialects.dialect import Dialect
from pearl_tools.errors import ToolError, tool_error
from pearl_tools.executor import ToolExecutor
from pearl_tools.types import MediaMap, Observation, ToolCall


def run_text(
    executor: ToolExecutor, text: str, dialect: Dialect, media: MediaMap
) -> list[tuple[ToolCall | None, Observation]]:
    """Run every call in a model's ``text``: pairs of our call (None if unreadable) and result.

    Calls see the media that earlier ones in the text made. A text without any call gives one
    ``parse.no_call``, so that "no call" and "bad call" are never merged.
    """
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
        known.update({medium.facts.id: medium for medium in observation.media})
        pairs.append((call, observation))
    return pairs
