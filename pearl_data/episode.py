"""The episode loop: a policy, its calls and the executor, from a question to an answer.

A *policy* returns one turn at a time: its text, with calls or with an answer. The loop runs the
calls, appends their observations and asks for the next turn, until an answer, a budget or a fault.
Episodes are coroutines: a policy that waits for a server blocks no other, and the calls of all
episodes share one :class:`CallQueue`, so that depth calls run in batches. Not here: the choice of
the question and the storage of the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol

import msgspec

from pearl_data.trajectory import Call, Fault, Origin, Result, Step
from pearl_data.trajectory import Final as Conclusion
from pearl_tools.arguments import parse_arguments
from pearl_tools.dialects import BrokenCall, Dialect, ParsedCall
from pearl_tools.errors import ToolError, ToolFailure, writable
from pearl_tools.executor import ToolExecutor, ToolRequest
from pearl_tools.types import MediaMap, Medium, Observation, ToolCall

Status = Literal["running", "answered", "budget", "fault"]
MAX_TURNS: Final = 64


class Turn(NamedTuple):
    """One turn of a policy.

    ``text`` is exactly what it wrote; ``thought`` its words without the calls; ``calls`` are in
    the policy's dialect. ``conclusion`` ends the episode. ``learn`` is the loss mask of the step,
    ``fault`` the code of a deliberate mistake.
    """

    text: str
    thought: str = ""
    calls: Sequence[ParsedCall | BrokenCall] = ()
    conclusion: Conclusion | None = None
    learn: bool = True
    fault: str | None = None


class Policy(Protocol):
    """The author of the turns of one episode: a grounded expert, a model, a served model.

    The record holds ``name`` and ``origin``; calls and errors are in ``dialect``.
    """

    name: str
    origin: Origin
    dialect: Dialect

    async def act(self, episode: Episode) -> Turn:
        """The next turn, given the episode so far. Raises ``ToolFailure`` to give up."""
        ...


@dataclass(kw_only=True)
class Episode:
    """One question with its steps, media, observations and end.

    ``seen`` are the observations of each step, ``texts`` the policy's texts, turn by turn.
    ``error`` is the reason if there is no answer.
    """

    media: dict[str, Medium]
    steps: list[Step] = field(default_factory=list)
    seen: list[list[Observation]] = field(default_factory=list)
    loss_mask: list[Literal[0, 1]] = field(default_factory=list)
    fault: Fault | None = None
    status: Status = "running"
    conclusion: Conclusion | None = None
    error: ToolError | None = None
    texts: list[str] = field(default_factory=list)

    @property
    def observations(self) -> list[Observation]:
        """The observations of the last turn; empty before the first."""
        return self.seen[-1] if self.seen else []

    @property
    def call_count(self) -> int:
        """The number of calls so far, failed ones included."""
        return sum(len(step.calls) for step in self.steps)


class CallQueue:
    """The calls of many episodes, run together.

    A batch runs once every active episode waits for a call. The calls that share
    a batch depend only on the episodes as long as no policy waits for external events.
    """

    def __init__(self, executor: ToolExecutor) -> None:
        self._executor = executor
        self._waiting: list[tuple[ToolRequest, asyncio.Future[Observation]]] = []

    async def run(self, request: ToolRequest) -> Observation:
        """The observation of ``request``."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)  # after every episode that is ready now
        future: asyncio.Future[Observation] = loop.create_future()
        self._waiting.append((request, future))
        return await future

    def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        try:
            observations = self._executor.run_many([request for request, _ in batch])
        except Exception as error:  # noqa: BLE001 - raised where the call is awaited
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), observation in zip(batch, observations, strict=True):
            if not future.done():
                future.set_result(observation)


async def run_episode(
    policy: Policy,
    media: Mapping[str, Medium],
    calls: CallQueue,
    *,
    max_turns: int = MAX_TURNS,
) -> Episode:
    """Run an episode of ``policy`` on its root ``media``; errors of the episode are part of it."""
    episode = Episode(media=dict(media))
    while episode.status == "running":
        if len(episode.seen) == max_turns:
            episode.status = "budget"
            break
        try:
            turn = await policy.act(episode)
        except ToolFailure as failure:
            episode.status, episode.error = "fault", failure.error
            break
        episode.texts.append(turn.text)
        if turn.conclusion is not None:
            episode.status, episode.conclusion = "answered", turn.conclusion
            break
        await _take_step(policy, episode, turn, calls)
    return episode


async def _take_step(policy: Policy, episode: Episode, turn: Turn, queue: CallQueue) -> None:
    """Run the calls of ``turn`` in their order: a later one sees the media of an earlier one."""
    recorded: list[Call] = []
    seen: list[Observation] = []
    for item in turn.calls:
        call_id = f"c{episode.call_count + len(recorded) + 1}"
        call = _understood(policy.dialect, item, episode.media, call_id)
        if isinstance(call, ToolError):
            tool = item.name if isinstance(item, ParsedCall) else ""
            observation = Observation(call_id=call_id, tool=tool, status="error", error=call)
        else:
            naming = policy.dialect.naming_on(episode.media)
            observation = await queue.run(ToolRequest(call, dict(episode.media), naming))
        episode.media.update({medium.record.id: medium for medium in observation.media})
        seen.append(observation)
        recorded.append(_record(item, call, observation))
    if turn.fault is not None:
        episode.fault = Fault(code=turn.fault, step=len(episode.steps), recovered_at=None)
    elif episode.fault is not None and episode.fault.recovered_at is None:
        episode.fault = msgspec.structs.replace(episode.fault, recovered_at=len(episode.steps))
    episode.steps.append(Step(thought=writable(turn.thought), calls=recorded))
    episode.loss_mask.append(1 if turn.learn else 0)
    episode.seen.append(seen)


def _understood(
    dialect: Dialect, item: ParsedCall | BrokenCall, media: MediaMap, call_id: str
) -> ToolCall | ToolError:
    """The call in our own dialect, with decoded arguments if they can be decoded."""
    call = dialect.to_call(item, media, call_id)
    if isinstance(call, ToolError) or isinstance(call.arguments, dict):
        return call
    try:
        return msgspec.structs.replace(call, arguments=parse_arguments(call.arguments))
    except ToolFailure:
        return call  # the executor reports the error in the caller's terms


def _record(
    item: ParsedCall | BrokenCall, call: ToolCall | ToolError, observation: Observation
) -> Call:
    """The call as written, as parsed, and its result."""
    executed = observation.exec
    if executed is not None:  # facts of one run are not part of the record
        executed = msgspec.structs.replace(executed, cache=None, attempts=None, duration_ms=None)
    understood = call.arguments if isinstance(call, ToolCall) else None
    return Call(
        id=observation.call_id,
        tool=call.tool if isinstance(call, ToolCall) else observation.tool,
        arguments_raw=writable(item.raw),
        arguments=understood if isinstance(understood, dict) else None,
        effective=observation.effective,
        result=Result(
            status=observation.status,
            media=[medium.record.id for medium in observation.media],
            text=observation.text,
            error=observation.error,
        ),
        exec=executed,
    )
