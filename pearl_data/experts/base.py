"""What every expert is: a generator that plans a step, is sent what it showed, and concludes.

The synthesiser drives many plans side by side, so that their depth calls share batches; an expert
sees only its own question, its media and what its calls returned. A served model fits the same
protocol.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, Protocol

from pearl_data.episode import Episode, Turn
from pearl_data.trajectory import Final, Origin, Task, canonical_json
from pearl_tools.dialects import ParsedCall
from pearl_tools.dialects.own import PEARL
from pearl_tools.dialects.reading import write_tool_call
from pearl_tools.errors import ToolFailure
from pearl_tools.types import MediaMap, Observation, Record


class PlannedCall(NamedTuple):
    """A call before it has an id: tool name and arguments in our own dialect."""

    tool: str
    arguments: dict[str, Any]


class PlannedStep(NamedTuple):
    """A thought that says why, and the calls it leads to (one or more)."""

    thought: str
    calls: list[PlannedCall]


class Conclusion(NamedTuple):
    """The last thought and the answer."""

    thought: str
    answer: str


Plan = Generator[PlannedStep, list[Observation], Conclusion]


class Unsupported(ToolFailure):
    """The calls did not show what the answer needs; ``error`` says what was missing."""


class ExpertSettings(Record, frozen=True, kw_only=True):
    """What an expert may use: tool names, and the resolution at which the model sees pictures."""

    tools: list[str]
    model_long_side_px: int = 448


class Expert(Protocol):
    """Turns questions into plans. ``name`` stands in the record as the verifier."""

    name: str

    def plan(self, task: Task, media: MediaMap, seed: int) -> Plan:
        """A fresh plan for ``task``; the same for the same seed. Raises :class:`Unsupported`."""


class PlanPolicy:
    """A plan as a policy of the episode loop; it writes calls in our own dialect.

    An answer from the tool alone is concluded as unverified, every other as supported.
    """

    origin: Origin = "expert"
    dialect = PEARL

    def __init__(self, expert: Expert, task: Task, media: MediaMap, seed: int) -> None:
        self.name = expert.name
        self._by_tool = task.answer_source == "tool"
        self._plan = expert.plan(task, media, seed)

    async def act(self, episode: Episode) -> Turn:
        """The next step of the plan, or its conclusion."""
        observations = episode.observations if episode.seen else None
        try:
            # a generator's first send must be None; typeshed cannot express it
            step = self._plan.send(observations)  # type: ignore[arg-type]
        except StopIteration as stop:
            return self._conclude(stop.value)
        calls = [
            ParsedCall(name=call.tool, arguments=raw, raw=raw)
            for call in step.calls
            for raw in [canonical_json(call.arguments).decode()]
        ]
        written = [write_tool_call(call.tool, dict(call.arguments)) for call in step.calls]
        return Turn(text="\n".join([step.thought, *written]), thought=step.thought, calls=calls)

    def _conclude(self, conclusion: Conclusion) -> Turn:
        final = Final(
            thought=conclusion.thought,
            answer=conclusion.answer,
            verdict="unverified" if self._by_tool else "supported",
            verifier=self.name,
        )
        return Turn(text=f"{conclusion.thought}\n{conclusion.answer}", conclusion=final)
