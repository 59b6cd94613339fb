"""The explicit-tools baseline: a model writes calls, the real executor runs them, until an answer.

Only this module of the trainer may run tools. A dialect reads the calls from the reply; they run on
the pictures of the question, and their results go back to the model in the chat form of training.
Not here: generation (:mod:`pearl_train.asking.answering`) and scoring.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pearl_data.episode import CallQueue, Episode, Turn, run_episode
from pearl_data.formats.chat import Seen
from pearl_data.trajectory import Final, Origin
from pearl_tools.depth import depth_picture
from pearl_tools.dialects import DIALECTS, Dialect, calls_in
from pearl_tools.errors import short_repr
from pearl_tools.executor import ExecutorSettings, ToolExecutor
from pearl_tools.registry import TOOLS
from pearl_tools.types import MediaMap, Medium, Observation

__all__ = ["ExecutorSettings", "Picture", "Speaker", "Spoken", "ToolExecutor", "ToolRun", "ask"]

#: uint8 (height, width, 3) RGB.
Picture = NDArray[np.uint8]

_ANSWER = re.compile(r"answer\s*:", re.IGNORECASE)
_TOOL_TOKENS = 160


class Spoken(NamedTuple):
    """One turn of a model: its text, how many tokens it took, whether it ended by itself."""

    text: str
    tokens: int
    ended: bool


class Speaker(Protocol):
    """A model in a conversation about some pictures."""

    def say(self, max_tokens: int) -> Spoken:
        """The next turn of the model, at most ``max_tokens`` tokens long."""
        ...

    def hear(self, seen: Sequence[Seen], pictures: Mapping[str, Picture]) -> None:
        """Appends the turn that shows what the calls of the last turn returned; ``pictures`` are
        those of its media, by id.
        """
        ...


@dataclass(kw_only=True)
class ToolRun:
    """One question asked with tools: the last turn's text, and what happened on the way.

    ``answered`` is False where the turns ran out before an answer; the question then counts as
    unanswered. ``errors`` counts failed calls by ``stage.code``, ``tools`` all calls by tool;
    a turn with neither call nor answer is one ``parse.no_call`` and no call.
    """

    reply: str = ""
    answered: bool = False
    turns: int = 0
    tokens: int = 0
    tools: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """How many calls were made, failed ones among them."""
        return sum(self.tools.values())


def ask(
    speaker: Speaker,
    media: MediaMap,
    executor: ToolExecutor,
    *,
    max_turns: int = 6,
    turn_tokens: int = _TOOL_TOKENS,
    dialect: Dialect | str = "pearl",
) -> ToolRun:
    """Let ``speaker`` call tools on ``media`` until it states an answer, ``max_turns`` at most.

    The executor's cache is emptied first, so that no question is answered faster, or differently
    to the last bit of a depth map, because of another one. A turn with a call is no answer,
    whatever else it says: what is written before a call's result was seen does not rest on it.
    """
    spoken_in = DIALECTS[dialect] if isinstance(dialect, str) else dialect
    executor.clear_cache()
    policy = _SpeakerPolicy(speaker, spoken_in, turn_tokens)
    queue = CallQueue(executor)
    episode = asyncio.run(run_episode(policy, media, queue, max_turns=max_turns))
    errors = [seen.error.code for step in episode.seen for seen in step if seen.error]
    return ToolRun(
        reply=episode.conclusion.answer if episode.conclusion else "",
        answered=episode.conclusion is not None,
        turns=len(episode.texts),
        tokens=policy.tokens,
        tools=Counter(
            _tool_name(seen)
            for step in episode.seen
            for seen in step
            if seen.error is None or seen.error.code != "parse.no_call"
        ),
        errors=Counter(errors),
        said=episode.texts,
    )


class _SpeakerPolicy:
    """A model in a conversation as a policy of the episode loop."""

    name = "model"
    origin: Origin = "model"

    def __init__(self, speaker: Speaker, dialect: Dialect, turn_tokens: int) -> None:
        self.dialect = dialect
        self.tokens = 0
        self._speaker, self._turn_tokens = speaker, turn_tokens

    async def act(self, episode: Episode) -> Turn:
        """The model's next turn, given the results of its calls."""
        if episode.seen:
            made = {
                medium.record.id: picture_of(medium)
                for seen in episode.observations
                for medium in seen.media
            }
            self._speaker.hear([_seen(each) for each in episode.observations], made)
        spoken = self._speaker.say(self._turn_tokens)
        self.tokens += spoken.tokens
        if _states_answer(spoken.text, self.dialect):
            final = Final(thought="", answer=spoken.text, verdict="unchecked", verifier="none")
            return Turn(text=spoken.text, conclusion=final)
        return Turn(text=spoken.text, calls=calls_in(spoken.text, self.dialect))


def _seen(observation: Observation) -> Seen:
    made = tuple(medium.record.id for medium in observation.media)
    return Seen(made, observation.text, observation.error)


def _states_answer(text: str, dialect: Dialect) -> bool:
    """Whether ``text`` states an answer and makes no call."""
    return bool(_ANSWER.search(text)) and not dialect.parse(text)


def _tool_name(observation: Observation) -> str:
    """The tool as counted; whatever name a model made up is one bucket."""
    return observation.tool if observation.tool in TOOLS else "unreadable"


def picture_of(medium: Medium) -> Picture:
    """What a model sees of a medium: its pixels, or the grey picture of a depth map."""
    if medium.record.kind == "depth":
        return depth_picture(np.asarray(medium.pixels, dtype=np.float32))
    return np.asarray(medium.pixels, dtype=np.uint8)


def executor_for(config: Mapping[str, object]) -> ToolExecutor:
    """An executor with the settings that a data set was made with (its manifest's ``config``)."""
    import msgspec

    from pearl_tools.errors import UsageError

    given = config.get("executor")
    if given is None:
        return ToolExecutor()
    try:
        return ToolExecutor(msgspec.convert(given, ExecutorSettings))
    except msgspec.ValidationError as error:
        raise UsageError(
            f"the data set's executor settings: expected {ExecutorSettings.__name__}, "
            f"got {short_repr(given)}: {error}"
        ) from error
