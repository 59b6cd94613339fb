"""What every expert is: a generator that plans a step, is sent what it showed, and concludes.

The synthesiser drives many plans side by side, so that their depth calls share batches; an expert
sees only its own question, its media and what its calls returned. A served model fits the same
protocol.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, Protocol

from pearl_data.trajectory import Task
from pearl_tools.errors import ToolError
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


class Unsupported(Exception):
    """The calls did not show what the answer needs; ``error`` says what was missing."""

    def __init__(self, error: ToolError) -> None:
        super().__init__(str(error))
        self.error = error


class ExpertSettings(Record, frozen=True, kw_only=True):
    """What an expert may use: tool names, and the resolution at which the model sees pictures."""

    tools: list[str]
    model_long_side_px: int = 448


class Expert(Protocol):
    """Turns questions into plans. ``name`` stands in the record as the verifier."""

    name: str

    def plan(self, task: Task, media: MediaMap, seed: int) -> Plan:
        """A fresh plan for ``task``; the same for the same seed. Raises :class:`Unsupported`."""
