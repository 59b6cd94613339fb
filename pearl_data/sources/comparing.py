"""Questions about two things: which is nearer, what the nearer one is like, and controls.

The order in depth comes from the annotation, or by option from the depth map alone. The controls
(farther to the left, larger, ...) compare boxes: everyone who sees the picture can answer them
without a tool, and no phrase in them names a place.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from pearl_data.sources import tasks
from pearl_data.sources.asking import HARD_TO_SEE, Asking
from pearl_data.sources.facts import (
    Thing,
    area_share,
    intersection_share,
    phrase,
    placed,
)
from pearl_data.sources.vocabulary import TEXT_ATTRIBUTE
from pearl_data.sources.wordings import RELATIONS
from pearl_data.trajectory import Task
from pearl_tools.types import Box

#: Most pairs of one picture that the depth map orders; undecided pairs are quarantined.
_TOOL_PAIRS = 4
#: Most things of one picture that are compared.
_MOST_THINGS = 40
#: "Farther left" and the like require centres at least this share of the picture's side apart.
_CLEARLY_ASIDE = 0.1
#: "Takes up more of the picture" requires a box at least so many times as large.
_CLEARLY_LARGER = 1.5


def nearer(asking: Asking) -> Iterator[Task]:
    """Questions that ask for the nearer of two ranked things."""
    for a, b in _ranked_pairs(asking):
        turn = asking.turns.take("nearer")
        yield tasks.nearer_task(a, b, _words(asking, a, b), turn, "annotation", asking.rng)


def nearer_by_tool(asking: Asking) -> Iterator[Task]:
    """Questions that ask for the nearer of two unranked things; the depth map decides."""
    things = _some([thing for thing in asking.facts.things if not thing.crowd], asking)
    pairs = [
        (a, b)
        for a, b in combinations(things, 2)
        if (a.distance is None or b.distance is None) and _overlap(a, b) <= 0.3
    ]
    asking.rng.shuffle(pairs)
    for pair in pairs[:_TOOL_PAIRS]:
        # the nearer one is not known yet: a random order balances the positions
        a, b = asking.rng.sample(pair, 2)
        words = _words(asking, a, b)
        if words[0] != words[1]:
            yield tasks.tool_nearer_task(a, b, words, asking.rng)


def nearer_details(asking: Asking) -> Iterator[Task]:
    """Questions about an attribute of the nearer of two ranked things that differ in it."""
    for a, b in _ranked_pairs(asking):
        if not asking.is_small(a, HARD_TO_SEE):
            continue
        words = _words(asking, a, b)
        for name in sorted(set(a.attributes) & set(b.attributes) - {TEXT_ATTRIBUTE}):
            value, other = a.attributes[name], b.attributes[name]
            if value == other or value.lower() in " ".join(words).lower():
                continue
            wrong = asking.vocabulary.wrong_values(a, name, asking.rng, first=other)
            turn = asking.turns.take("nearer_read")
            yield tasks.nearer_read_task(
                a, b, words, name, wrong, (turn // 2, turn), "annotation", asking.rng
            )


def relations(asking: Asking) -> Iterator[Task]:
    """Questions that compare the positions or sizes of two things: controls without a tool."""
    if asking.only_hard:
        return
    named = [
        (thing, words)
        for thing in _some(asking.facts.things, asking)
        if not thing.crowd and not asking.is_small(thing)
        for words in [phrase(thing, asking.facts.things)]
        if words != placed(thing)  # a box in the question would give the answer
    ]
    pairs = list(combinations(named, 2))
    asking.rng.shuffle(pairs)
    for (a, a_words), (b, b_words) in pairs:
        turn = asking.turns.peek("relation")
        # the next relation in turn that holds clearly between these two
        names = list(RELATIONS)
        for relation in names[turn % len(names) :] + names[: turn % len(names)]:
            if a_words.casefold() != b_words.casefold() and clearly(relation, a.bbox, b.bbox):
                first = more(relation, a.bbox) > more(relation, b.bbox)
                answer, other = (a, b) if first else (b, a)
                words = (a_words, b_words) if first else (b_words, a_words)
                asking.turns.take("relation")
                place = turn // len(names) + turn
                yield tasks.relation_task(answer, other, words, relation, place, asking.rng)
                break


def relation_of(task: Task) -> str | None:
    """The relation in a question of family ``relation``; None for an unknown wording."""
    text = task.question.casefold()
    for evidence in task.evidence:
        text = text.replace(evidence.label.casefold(), "")
    said = [relation for relation, phrase in RELATIONS.items() if phrase in text]
    return said[0] if len(said) == 1 else None


def more(relation: str, box: Box) -> float:
    """The degree to which ``box`` has the relation: farther to the left, larger, ..."""
    x, y, area = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, area_share(box)
    return {"left": -x, "right": x, "above": -y, "below": y, "larger": area, "smaller": -area}[
        relation
    ]


def clearly(relation: str, a: Box, b: Box) -> bool:
    """True if boxes ``a`` and ``b`` clearly differ in the relation."""
    if relation in ("larger", "smaller"):
        return max(area_share(a), area_share(b)) >= _CLEARLY_LARGER * min(
            area_share(a), area_share(b)
        )
    axis = 0 if relation in ("left", "right") else 1
    if a[axis] + a[axis + 2] > b[axis] + b[axis + 2]:
        a, b = b, a
    apart = (b[axis] + b[axis + 2] - a[axis] - a[axis + 2]) / 2
    return apart >= _CLEARLY_ASIDE and a[axis] < b[axis] and a[axis + 2] < b[axis + 2]


def _ranked_pairs(asking: Asking) -> list[tuple[Thing, Thing]]:
    """(nearer, farther) pairs of things whose order is annotated and which do not coincide."""
    ranked = [t for t in asking.facts.things if t.distance is not None and not t.crowd]
    pairs: list[tuple[Thing, Thing]] = []
    for a, b in combinations(ranked, 2):
        assert a.distance is not None
        assert b.distance is not None
        if a.distance == b.distance or _overlap(a, b) > 0.5:
            continue
        pairs.append((a, b) if a.distance < b.distance else (b, a))
    asking.rng.shuffle(pairs)
    return pairs


def _some(things: list[Thing], asking: Asking) -> list[Thing]:
    """At most so many of ``things`` that all their pairs can be compared."""
    return asking.rng.sample(things, min(len(things), _MOST_THINGS))


def _overlap(a: Thing, b: Thing) -> float:
    return max(intersection_share(a.bbox, b.bbox), intersection_share(b.bbox, a.bbox))


def _words(asking: Asking, a: Thing, b: Thing) -> tuple[str, str]:
    return phrase(a, asking.facts.things), phrase(b, asking.facts.things)
