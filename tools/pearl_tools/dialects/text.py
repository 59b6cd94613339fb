"""From a model's text to observations: parse, translate and run every call in it."""

from __future__ import annotations

from pearl_tools.dialects.dialect import BrokenCall, Dialect, ParsedCall
from pearl_tools.dialects.reasoning import next_tag
from pearl_tools.errors import ToolError, tool_error
from pearl_tools.executor import ToolExecutor
from pearl_tools.types import MAX_CALLS, MediaMap, Observation, ToolCall


def calls_in(text: str, dialect: Dialect) -> list[ParsedCall | BrokenCall]:
    """The calls of one turn, at least one item.

    A text without any call gives one ``parse.no_call``, so that "no call" and "bad call" are never
    merged; one with more than :data:`MAX_CALLS` gives one ``schema.length`` and no call.
    """
    found = dialect.read(text)
    if not found:
        return [BrokenCall(text, _no_call(text, dialect))]
    if len(found) > MAX_CALLS:
        hint = "no call was run; make fewer calls, and continue after you have seen the results"
        expected = f"at most {MAX_CALLS} calls in one text"
        error = tool_error("schema.length", "", expected, f"{len(found)} calls", hint)
        return [BrokenCall(text, error)]
    return found


def run_text(
    executor: ToolExecutor, text: str, dialect: Dialect, media: MediaMap
) -> list[tuple[ToolCall | None, Observation]]:
    """Run every call in a model's ``text``: pairs of our call (None if unreadable) and result.

    Calls see the media that earlier ones in the text made. See :func:`calls_in` for texts without
    a call, or with too many.
    """
    known = dict(media)
    pairs: list[tuple[ToolCall | None, Observation]] = []
    for number, item in enumerate(calls_in(text, dialect), 1):
        call_id = f"c{number}"
        call = dialect.to_call(item, known, call_id)
        if isinstance(call, ToolError):
            tool = item.name if isinstance(item, ParsedCall) else ""
            failed = Observation(call_id=call_id, tool=tool, status="error", error=call)
            pairs.append((None, failed))
            continue
        observation = executor.run(call, known, naming=dialect.naming_on(known))
        known.update({medium.facts.id: medium for medium in observation.media})
        pairs.append((call, observation))
    return pairs


def _no_call(text: str, dialect: Dialect) -> ToolError:
    """The error for a ``text`` without a call, with an example."""
    hint = f"write {dialect.example}"
    if next_tag(text):
        hint += "; text inside reasoning is not a call: close the reasoning, then call"
    return tool_error("parse.no_call", "", f"a call in {dialect.name}", text, hint)
