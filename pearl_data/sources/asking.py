"""State for asking about one picture: its facts, the vocabulary, and turns that balance answers.

Not here: which questions there are (:mod:`pearl_data.sources.looking`,
:mod:`pearl_data.sources.comparing`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pearl_data.sources.base import QuestionSettings
from pearl_data.sources.facts import Facts, Thing, area_share, long_side_px
from pearl_data.sources.regions import LARGEST
from pearl_data.sources.tasks import plain_to_see
from pearl_data.sources.vocabulary import WRONG, Vocabulary
from pearl_data.trajectory import Task

#: Most questions on one picture with the same answer.
SAME_ANSWER = 2
#: Presence, counts and parts concern things up to this many times "too small to read": larger ones
#: need no closer look.
HARD_TO_SEE = 2


#: A box to look into has at least so many pixels a side: tools refuse much smaller ones.
_LEAST_PX = 12


class Turns:
    """Assigns answers and their positions to each family in turn, so that guessing does not pay.

    One for each block of pictures, begun at ``start``; a turn is taken only by a question that is
    really asked.
    """

    def __init__(self, start: int) -> None:
        self._start = start
        self._taken: Counter[str] = Counter()
        self._lead: Counter[str] = Counter()
        self._named: Counter[str] = Counter()
        self._offered: Counter[str] = Counter()

    def peek(self, family: str) -> int:
        """The next turn of ``family``, without taking it."""
        return self._start + self._taken[family]

    def take(self, family: str) -> int:
        """The next turn of ``family``."""
        turn = self.peek(family)
        self._taken[family] += 1
        return turn

    def wants_yes(self, family: str) -> bool:
        """True if ``family`` has answered yes less often than no so far."""
        lead = self._lead[family]
        return lead < 0 or (lead == 0 and self._start % 2 == 0)

    def take_yes_or_no(self, family: str, *, yes: bool) -> int:
        """Half the next turn of ``family``, so that both answers occur at both positions."""
        self._lead[family] += 1 if yes else -1
        return self.take(family) // 2

    def credit(self, name: str) -> int:
        """The surplus of ``name`` as a wrong choice over its use as the answer.

        A kind that is on nearly every picture is hardly ever a wrong choice: asked for each time,
        it would be the answer whenever it is among the choices.
        """
        return self._offered[name] - self._named[name] * WRONG

    def owed(self) -> Counter[str]:
        """Names that must be wrong choices to make up for their being answers, by how often."""
        return +Counter({name: -self.credit(name) for name in self._named})

    def take_name(self, name: str, wrong: Sequence[str]) -> int:
        """The next turn of identity, whose answer is ``name`` among ``wrong`` choices."""
        self._named[name] += 1
        self._offered.update(wrong)
        return self.take("identity")


@dataclass(frozen=True)
class Asking:
    """The input of every question family: one picture, its things, the settings and the turns."""

    facts: Facts
    vocabulary: Vocabulary
    settings: QuestionSettings
    turns: Turns
    rng: random.Random

    @property
    def smallest(self) -> tuple[float, float]:
        """The least width and height of a box to look into, as fractions of the picture."""
        return _LEAST_PX / self.facts.width, _LEAST_PX / self.facts.height

    @property
    def only_hard(self) -> bool:
        """True if only questions that need a tool are asked."""
        return self.settings.needs_tool == "only"

    def things(self, times: int = 1) -> list[tuple[Thing, bool]]:
        """The things to ask about, no crowds, each with True if it is small (see :func:`is_small`):
        small ones first, in random order, then large ones unless only hard questions are asked.
        """
        alone = [thing for thing in self.facts.things if not thing.crowd]
        self.rng.shuffle(alone)
        small = [thing for thing in alone if self.is_small(thing, times)]
        large = [] if self.only_hard else [t for t in alone if not self.is_small(t, times)]
        return [*((thing, True) for thing in small), *((thing, False) for thing in large)]

    def is_small(self, thing: Thing, times: int = 1) -> bool:
        """The longer side of ``thing`` is at most ``times`` the size that is too small to read."""
        return is_small(thing, self.facts, self.settings, times)


Family = Callable[[Asking], Iterator[Task]]


def is_small(thing: Thing, facts: Facts, settings: QuestionSettings, times: int = 1) -> bool:
    """The longer side of ``thing`` is at most ``times`` the size that is too small to read, and a
    view of it is a closer look: it is not most of a picture that is small itself.
    """
    side = long_side_px(thing.bbox, facts.width, facts.height, settings.model_long_side_px)
    return side <= settings.small_px * times and area_share(thing.bbox) <= LARGEST


def small_things(facts: Facts, settings: QuestionSettings, times: int = 1) -> list[Thing]:
    """The things, no crowds, that are too small to read, or up to ``times`` as large."""
    return [t for t in facts.things if not t.crowd and is_small(t, facts, settings, times)]


def judged(task: Task, *, hard: bool) -> Task:
    """``task``, marked as needing no tool unless what it asks for is ``hard`` to see."""
    return task if hard else plain_to_see(task)
