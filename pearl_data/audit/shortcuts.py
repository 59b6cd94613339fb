"""What lazy rules score on a set, against chance, so that a set that can be gamed shows it.

Left out: the rules themselves (:mod:`pearl_data.audit.lazy_rules`).
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pearl_data.audit.lazy_rules import RULES, Asked
from pearl_data.audit.records import ShortcutScore
from pearl_data.trajectory import Task, Trajectory
from pearl_data.wilson import share

#: A rule is flagged when it is further than this from chance and its interval excludes chance.
FLAG_POINTS = 5.0
OVERALL = "overall"


class Question(NamedTuple):
    """What the rules need of one trajectory: its task, ``{medium: (width, height)}``, its half."""

    task: Task
    sizes_px: Mapping[str, tuple[int, int]]
    half: int


def question_of(trajectory: Trajectory) -> Question:
    """The part of ``trajectory`` that the rules look at.

    The half follows from the key alone. Answers are counted in the *other* half because both
    simpler ways lie: counting all answers rewards a rule for rare answers seen only in the question
    itself, and leaving only the question out scores 0 % on an exactly balanced yes/no set.
    """
    digest = hashlib.sha256(trajectory.id.encode()).digest()
    sizes = {m.id: (m.width, m.height) for m in trajectory.media if m.parent is None}
    return Question(trajectory.task, sizes, digest[0] & 1)


def shortcut_table(questions: Iterable[Question]) -> list[ShortcutScore]:
    """A row per family and rule that applies, then rows over all families.

    A rule is summed over all families only where it applies to each one that any rule applies to:
    a sum over a few of them would repeat their rows under a name that promises more.
    """
    by_family: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        by_family[question.task.family].append(question)
    credits_: dict[tuple[str, str], list[float]] = defaultdict(list)
    chances: dict[tuple[str, str], list[float]] = defaultdict(list)
    for family in sorted(by_family):
        for asked in _with_answers_elsewhere(by_family[family]):
            for rule in RULES:
                credit = rule.credit(asked)
                if credit is None:
                    continue
                chance = 0.5 if rule.among == "pair" else 1 / len(asked.task.choices)
                for group in (family, OVERALL):
                    credits_[group, rule.name].append(credit)
                    chances[group, rule.name].append(chance)
    families = sorted({group for group, _ in credits_} - {OVERALL})
    shown = [(family, rule.name) for family in families for rule in RULES]
    if len(families) > 1:
        shown += [
            (OVERALL, rule.name)
            for rule in RULES
            if all((family, rule.name) in credits_ for family in families)
        ]
    return [score(*row, credits_[row], chances[row]) for row in shown if row in credits_]


def score(
    family: str, rule: str, credits_: Sequence[float], chances: Sequence[float]
) -> ShortcutScore:
    """One row: the credits of a rule against the mean of the chances, one of each a question."""
    n = len(credits_)
    # The sum of many thirds may pass n by rounding.
    result = share(min(sum(credits_), float(n)), n)
    chance = sum(chances) / n
    assert result.rate is not None
    assert result.low is not None
    assert result.high is not None
    points = 100 * (result.rate - chance)
    excluded = not result.low <= chance <= result.high
    return ShortcutScore(
        family=family,
        rule=rule,
        score=result,
        chance=chance,
        difference_points=points,
        flagged=excluded and abs(points) > FLAG_POINTS,
    )


def _with_answers_elsewhere(questions: Sequence[Question]) -> list[Asked]:
    halves: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for question in questions:
        halves[question.half][question.task.answer] += 1
    return [Asked(q.task, q.sizes_px, halves[1 - q.half]) for q in questions]
