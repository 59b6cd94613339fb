"""Questions on an annotated picture: which of its things to ask about, and with which choices.

Asks what needs a tool: attributes, text and identity of things too small to read at the model's
resolution, whether a kind is present in a small box, counts in a region, and which of two things is
nearer. Answers come from the annotation alone. Left out: wording (:mod:`pearl_data.sources.tasks`).
"""

from __future__ import annotations

import functools
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

from pluralizer import Pluralizer

from pearl_data.sources import tasks
from pearl_data.sources.base import QuestionSettings
from pearl_data.sources.facts import Facts, Thing, intersection_share, long_side_px, phrase
from pearl_data.sources.regions import empty_box, inside, loose_box, region_with
from pearl_data.sources.vocabulary import TEXT_ATTRIBUTE, WRONG, Vocabulary
from pearl_data.trajectory import Task

#: Questions on one picture with the same answer: a sky of galaxies is not fifty times "galaxy".
_SAME_ANSWER = 2
#: What is counted in a name, then what only tells which: ``head`` of ``head of cattle``.
_HEAD = re.compile(r"(.*?)( of .*| \(.*|)", re.DOTALL)
#: Largest number of a kind that is counted.
_LARGEST_COUNT = 6
#: Presence and counts concern things up to this many times "too small to read": larger ones need
#: no closer look.
_HARD_TO_SEE = 2


class Turns:
    """Gives each family its answers' positions in turn, so that none is worth guessing.

    One for each block of pictures, begun at ``start``; a turn is taken only by a question that is
    really asked.
    """

    def __init__(self, start: int) -> None:
        self._start = start
        self._taken: Counter[str] = Counter()

    def peek(self, family: str) -> int:
        """The next turn of ``family`` without taking it."""
        return self._start + self._taken[family]

    def take(self, family: str) -> int:
        """The next turn of ``family``."""
        turn = self.peek(family)
        self._taken[family] += 1
        return turn


@dataclass(frozen=True)
class _Asking:
    """What every family needs to ask about one picture."""

    facts: Facts
    vocabulary: Vocabulary
    settings: QuestionSettings
    turns: Turns
    rng: random.Random

    def small(self, times: int = 1) -> list[Thing]:
        """The things too small to read (or up to ``times`` as large), in random order."""
        things = small_things(self.facts, self.settings, times)
        self.rng.shuffle(things)
        return things


def ask(
    facts: Facts,
    vocabulary: Vocabulary,
    settings: QuestionSettings,
    turns: Turns,
    rng: random.Random,
) -> list[Task]:
    """Questions on one picture, families in turn, at most ``settings.per_image``."""
    families: list[Callable[[_Asking], Iterator[Task]]] = []
    if settings.can_look:
        families += [_details, _identities, _counts, _presences]
    if settings.can_measure_depth:
        families.append(_nearer)
    if settings.can_look and settings.can_measure_depth:
        families.append(_nearer_details)
    asking = _Asking(facts, vocabulary, settings, turns, rng)
    streams = [family(asking) for family in families]
    asked: list[Task] = []
    while streams and len(asked) < settings.per_image:
        for stream in list(streams):
            task = next(stream, None)
            if task is None:
                streams.remove(stream)
            elif len(asked) < settings.per_image:
                asked.append(task)
    return asked


def small_things(facts: Facts, settings: QuestionSettings, times: int = 1) -> list[Thing]:
    """The things whose longer side is at most ``times`` the size that is too small to read."""
    limit_px = settings.small_px * times
    return [
        thing
        for thing in facts.things
        if not thing.crowd
        and long_side_px(thing.bbox, facts.width, facts.height, settings.model_long_side_px)
        <= limit_px
    ]


def plural(name: str) -> str:
    """The plural of a category name, which may be one already.

    >>> [plural(name) for name in ("skis", "wine glass", "head of cattle", "person (man)")]
    ['skis', 'wine glasses', 'heads of cattle', 'people (man)']
    """
    counted, rest = _HEAD.fullmatch(name).groups()  # type: ignore[union-attr]  # matches anything
    if not (counted[-1:].isascii() and counted[-1:].isalpha()):
        return name  # a number, or another language's word
    return _plurals().pluralize(counted) + rest


@functools.cache
def _plurals() -> Pluralizer:
    rules = Pluralizer()  # type: ignore[no-untyped-call]  # its constructor has no annotations
    for one, several in (("lens", "lenses"), ("taxi", "taxis"), ("virus", "viruses")):
        rules.add_irregular_rule(one, several)
    for word in ("furniture", "luggage", "cattle", "spaghetti"):
        rules.add_uncountable_rule(word)
    for word in ("german", "roman", "ottoman", "caiman", "talisman"):
        rules.add_irregular_rule(word, word + "s")  # no compounds of man
    return rules


def _details(asking: _Asking) -> Iterator[Task]:
    """Attributes and words of small things."""
    answered: Counter[tuple[str, str]] = Counter()
    for thing in asking.small():
        it = phrase(thing, asking.facts.things)
        for name in sorted(thing.attributes):
            if thing.attributes[name].lower() in it.lower():
                continue  # the question would give the answer away
            wrong = asking.vocabulary.wrong_values(thing, name, asking.rng)
            answer = name, thing.attributes[name]
            if not wrong or answered[answer] == _SAME_ANSWER:
                continue
            answered[answer] += 1
            read = name == TEXT_ATTRIBUTE
            builder = tasks.read_task if read else tasks.attribute_task
            turn = asking.turns.take("read" if read else "attribute")
            yield builder(thing, it, name, wrong, turn, "annotation", asking.rng)


def _identities(asking: _Asking) -> Iterator[Task]:
    """Names of small things that are alone in their box."""
    answered: Counter[str] = Counter()
    for thing in asking.small():
        others = [other for other in asking.facts.things if other.id != thing.id]
        if any(intersection_share(other.bbox, thing.bbox) > 0.3 for other in others):
            continue  # another thing lies in the same box
        touching = {o.name for o in others if intersection_share(thing.bbox, o.bbox) > 0}
        wrong = asking.vocabulary.wrong_names(asking.facts, touching | {thing.name}, asking.rng)
        if wrong and answered[thing.name] < _SAME_ANSWER:
            answered[thing.name] += 1
            turn = asking.turns.take("identity")
            yield tasks.identity_task(thing, wrong, turn, "annotation", asking.rng)


def _counts(asking: _Asking) -> Iterator[Task]:
    """How many of a completely annotated kind lie in a region."""
    rng = asking.rng
    for name in asking.facts.complete:
        things = [thing for thing in asking.facts.things if thing.name == name]
        if len(things) < 2 or any(thing.crowd for thing in things):
            continue
        hard = {thing.id for thing in small_things(asking.facts, asking.settings, _HARD_TO_SEE)}
        numbers = list(range(1, min(len(things), _LARGEST_COUNT) + 1))
        rng.shuffle(numbers)
        for number in numbers:
            region = region_with(things, number, rng)
            if region is None or not any(t.id in hard for t in inside(things, region)):
                continue
            # neighbouring numbers around the answer, which is as likely the least as the largest
            least = number - rng.randint(0, min(number, WRONG))
            wrong = [str(n) for n in range(least, least + WRONG + 1) if n != number]
            rng.shuffle(wrong)
            turn = asking.turns.take("count")
            counted = inside(things, region)
            kind = plural(name)
            yield tasks.count_task(region, kind, counted, wrong, turn, "annotation", rng)


def _presences(asking: _Asking) -> Iterator[Task]:
    """Yes and no in turns: a box around a thing, or one of equal size where none of its kind is."""
    for thing in asking.small(_HARD_TO_SEE):
        if thing.name not in asking.facts.complete:
            continue
        turn = asking.turns.peek("presence")
        present = turn % 2 == 0
        same = [other.bbox for other in asking.facts.things if other.name == thing.name]
        box = (
            loose_box(thing.bbox, asking.rng)
            if present
            else empty_box(thing.bbox, same, asking.rng)
        )
        if box is not None:
            asking.turns.take("presence")
            yield tasks.presence_task(box, thing.name, present, turn // 2, "annotation", asking.rng)


def _nearer_pairs(asking: _Asking) -> list[tuple[Thing, Thing]]:
    """(nearer, farther) pairs of things whose order is annotated and which do not coincide."""
    ranked = [t for t in asking.facts.things if t.distance is not None and not t.crowd]
    pairs: list[tuple[Thing, Thing]] = []
    for a, b in combinations(ranked, 2):
        assert a.distance is not None
        assert b.distance is not None
        overlap = max(intersection_share(a.bbox, b.bbox), intersection_share(b.bbox, a.bbox))
        if a.distance == b.distance or overlap > 0.5:
            continue
        pairs.append((a, b) if a.distance < b.distance else (b, a))
    asking.rng.shuffle(pairs)
    return pairs


def _nearer(asking: _Asking) -> Iterator[Task]:
    """Which of two ranked things is nearer."""
    for a, b in _nearer_pairs(asking):
        words = (phrase(a, asking.facts.things), phrase(b, asking.facts.things))
        turn = asking.turns.take("nearer")
        yield tasks.nearer_task(a, b, words, turn, "annotation", asking.rng)


def _nearer_details(asking: _Asking) -> Iterator[Task]:
    """An attribute of the nearer of two ranked things which differ in it."""
    hard = {thing.id for thing in small_things(asking.facts, asking.settings, _HARD_TO_SEE)}
    for a, b in _nearer_pairs(asking):
        if a.id not in hard:
            continue
        words = (phrase(a, asking.facts.things), phrase(b, asking.facts.things))
        for name in sorted(set(a.attributes) & set(b.attributes) - {TEXT_ATTRIBUTE}):
            value, other = a.attributes[name], b.attributes[name]
            if value == other or value.lower() in " ".join(words).lower():
                continue
            wrong = asking.vocabulary.wrong_values(a, name, asking.rng, first=other)
            turn = asking.turns.take("nearer_read")
            yield tasks.nearer_read_task(
                a, b, words, name, wrong, (turn // 2, turn), "annotation", asking.rng
            )
