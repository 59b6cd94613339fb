"""The one loop of a policy, its calls and the executor: one question on its way to an answer.

A *policy* is asked for one turn at a time: the text that it writes, with calls or with an answer.
The loop runs the calls, adds what they returned, and asks again, until an answer, a budget or a
fault. Episodes are coroutines: a policy that waits for a server blocks no other, and the calls of
all episodes meet in one :class:`CallQueue`, so that depth calls share batches. Not here: which
question is asked, and where the result is stored.
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

    ``text`` is what it wrote, to the letter; ``thought`` its words without the calls; ``calls`` in
    the policy's dialect. ``conclusion`` ends the episode. ``learn`` is the loss mask of the step,
    ``fault`` the code of a mistake made on purpose.
    """

    text: str
    thought: str = ""
    calls: Sequence[ParsedCall | BrokenCall] = ()
    conclusion: Conclusion | None = None
    learn: bool = True
    fault: str | None = None


class Policy(Protocol):
    """Who takes part in one episode: a grounded expert, a model, a served model.

    ``name`` and ``origin`` stand in the record; calls are read and errors worded in ``dialect``.
    """

    name: str
    origin: Origin
    dialect: Dialect

    async def act(self, episode: Episode) -> Turn:
        """The next turn, from all that happened so far. Raises ``ToolFailure`` to give up."""
        ...


@dataclass(kw_only=True)
class Episode:
    """One question with everything that happened: steps, media, observations, the end.

    ``seen`` are the observations of each step, ``texts`` what the policy wrote, turn by turn.
    ``error`` says why there is no answer.
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
        """What the last turn brought; empty before the first."""
        return self.seen[-1] if self.seen else []

    @property
    def call_count(self) -> int:
        """Calls so far, failed ones among them."""
        return sum(len(step.calls) for step in self.steps)


class CallQueue:
    """The calls of many episodes, run together.

    A batch is run when every episode that can go on has asked for its next call. Which calls share
    a batch follows from the episodes alone as long as no policy waits for anything outside.
    """

    def __init__(self, executor: ToolExecutor) -> None:
        self._executor = executor
        self._waiting: list[tuple[ToolRequest, asyncio.Future[Observation]]] = []

    async def run(self, request: ToolRequest) -> Observation:
        """The observation of ``request``."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)  # behind every episode that is ready now
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
    """The episode of ``policy`` on its root ``media``, whatever its end."""
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
        return call  # the executor says what is wrong, in the caller's words


def _record(
    item: ParsedCall | BrokenCall, call: ToolCall | ToolError, observation: Observation
) -> Call:
    """The call as it was written, as it was understood, and the result."""
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
