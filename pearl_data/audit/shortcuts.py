"""The scores of lazy rules on a set, against chance: they reveal a set that can be gamed.

Not here: the rules themselves (:mod:`pearl_data.audit.lazy_rules`).
"""

from __future__ import annotations

import hashlib
import tempfile
import weakref
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from pearl_data.audit.calls import family_of
from pearl_data.audit.lazy_rules import RULES, Asked
from pearl_data.audit.records import ShortcutScore
from pearl_data.shards.files import naming
from pearl_data.trajectory import Task, Trajectory
from pearl_data.wilson import share

#: A rule is flagged when it is further than this from chance and its interval excludes chance.
FLAG_POINTS = 5.0
OVERALL = "overall"


class Question(NamedTuple):
    """The input of the rules for one trajectory: its family (see :func:`family_of`), its task,
    ``{medium: (width, height)}``, its half.
    """

    family: str
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
    return Question(family_of(trajectory), trajectory.task, sizes, digest[0] & 1)


class Questions:
    """Questions stored in an unnamed temporary file for a second pass: a set may hold more of them
    than fit in memory.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="pearl-")  # noqa: SIM115 - see close
        self.close = weakref.finalize(self, self._file.close)

    def add(self, question: Question) -> None:
        """Add one question."""
        with naming(Path(tempfile.gettempdir()), "questions of an audit"):
            self._file.write(msgspec.json.encode(question) + b"\n")

    def __iter__(self) -> Iterator[Question]:
        with naming(Path(tempfile.gettempdir()), "questions of an audit"):
            self._file.seek(0)
        return map(msgspec.json.Decoder(Question).decode, self._file)


def shortcut_table(questions: Iterable[Question]) -> list[ShortcutScore]:
    """A row per family and applicable rule, then rows over all families. ``questions`` is iterated
    twice.

    A rule is summed over all families only if it applies to each one that any rule applies to:
    a sum over a few of them would only repeat their rows.
    """
    halves: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for question in questions:
        halves[question.family, question.half][question.task.answer] += 1
    sums: dict[tuple[str, str], _Sum] = defaultdict(_Sum)
    for question in questions:
        family = question.family
        elsewhere = halves[family, 1 - question.half]
        asked = Asked(question.task, question.sizes_px, elsewhere)
        for rule in RULES:
            credit = rule.credit(asked)
            if credit is not None:
                chance = 0.5 if rule.among == "pair" else 1 / len(asked.task.choices)
                sums[family, rule.name].add(1, credit, chance)
    families = sorted({family for family, _ in sums})
    shown = [(family, rule.name) for family in families for rule in RULES]
    if len(families) > 1:
        for rule in RULES:
            rows = [(family, rule.name) for family in families]
            if all(row in sums for row in rows):
                shown.append((OVERALL, rule.name))
                for row in rows:
                    part = sums[row]
                    sums[OVERALL, rule.name].add(part.n, part.credit, part.chance)
    return [score(*row, sums[row]) for row in shown if row in sums]


class _Sum:
    """The number of questions, the credit of a rule for them, and the credit of chance."""

    def __init__(self) -> None:
        self.n, self.credit, self.chance = 0, 0.0, 0.0

    def add(self, n: int, credit: float, chance: float) -> None:
        self.n, self.credit, self.chance = self.n + n, self.credit + credit, self.chance + chance


def score(family: str, rule: str, total: _Sum) -> ShortcutScore:
    """One row: the credit of a rule against the mean of the chances, one of each a question."""
    n = total.n
    # The sum of many thirds may pass n by rounding.
    result = share(min(total.credit, float(n)), n)
    chance = total.chance / n
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
