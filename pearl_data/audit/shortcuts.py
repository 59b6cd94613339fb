"""Rules that answer without looking: each is scored against chance, so that a set that can be
gamed shows it.

Every rule has one signature: it takes an :class:`Asked` (a question, the sizes of its pictures and
the answers of other questions) and returns its credit 0..1, or None where it does not apply. Ties
share the credit. Left out: rules that need a trained model (a blind language model, say).
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from pearl_data.audit.records import ShortcutScore
from pearl_data.audit.wilson import share
from pearl_data.trajectory import Evidence, Task, Trajectory
from pearl_tools.types import Box

#: A rule is flagged when it is further than this from chance and its interval excludes chance.
FLAG_POINTS = 5.0
#: How often an answer must occur elsewhere for ``most_frequent_answer`` to count it.
MIN_SEEN = 3
OVERALL = "overall"


class Question(NamedTuple):
    """What the rules need of one trajectory: its task, ``{medium: (width, height)}``, its half."""

    task: Task
    sizes_px: Mapping[str, tuple[int, int]]
    half: int


class Asked(NamedTuple):
    """A question with how often each answer occurs in the other half of its family."""

    task: Task
    sizes_px: Mapping[str, tuple[int, int]]
    answers_elsewhere: Mapping[str, int]


Rule = Callable[[Asked], float | None]


class ShortcutRule(NamedTuple):
    """A rule under its name; it chooses among the choices, or between the two of a pair."""

    name: str
    among: Literal["choices", "pair"]
    credit: Rule


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
    """A row per family and rule that applies, then the rows over all families."""
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
    groups = sorted(by_family)
    if len(groups) > 1:
        groups.append(OVERALL)
    return [
        score(group, rule.name, credits_[group, rule.name], chances[group, rule.name])
        for group in groups
        for rule in RULES
        if credits_[group, rule.name]
    ]


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


# --- rules that choose among the choices -------------------------------------------------------


def _choose(asked: Asked, value: Callable[[str], float]) -> float | None:
    """Credit for taking the choice with the highest ``value``; None without real choices."""
    choices = asked.task.choices
    if len(choices) < 2 or asked.task.answer not in choices:
        return None
    values = [value(choice) for choice in choices]
    taken = [choice for choice, v in zip(choices, values, strict=True) if v == max(values)]
    return taken.count(asked.task.answer) / len(taken)


def first_choice(asked: Asked) -> float | None:
    """Takes the first choice."""
    return _choose(asked, lambda choice: -asked.task.choices.index(choice))


def last_choice(asked: Asked) -> float | None:
    """Takes the last choice."""
    return _choose(asked, asked.task.choices.index)


def most_frequent_answer(asked: Asked) -> float | None:
    """Takes the choice that is most often the answer elsewhere in the family.

    Answers seen less than three times count as unseen: where each answer occurs once, an answer is
    never seen elsewhere while its rivals are, and the rule would score below chance by arithmetic.
    """
    seen = asked.answers_elsewhere
    return _choose(asked, lambda choice: seen.get(choice, 0) * (seen.get(choice, 0) >= MIN_SEEN))


def longest_choice(asked: Asked) -> float | None:
    """Takes the choice with the most characters."""
    return _choose(asked, len)


def named_first(asked: Asked) -> float | None:
    """Takes the choice that the question names first; applies where it names them all."""
    text = asked.task.question.casefold()
    places = {choice: text.find(choice.casefold()) for choice in asked.task.choices}
    if -1 in places.values():
        return None
    return _choose(asked, lambda choice: -places[choice])


def middle_number(asked: Asked) -> float | None:
    """Takes the number nearest to the middle of the choices; applies where all are numbers."""
    try:
        numbers = {choice: float(choice) for choice in asked.task.choices}
    except ValueError:
        return None
    if len(numbers) < 3:
        return None
    ordered = sorted(numbers.values())
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return _choose(asked, lambda choice: -abs(numbers[choice] - middle))


# --- rules that choose the nearer of a pair ----------------------------------------------------


def _pair(task: Task) -> tuple[Evidence, Evidence, str] | None:
    """The two things compared and the label of the nearer one, where the task says so.

    In ``nearer`` the answer is the nearer label; in ``nearer_read`` the thing to read is the nearer
    one, so its label is that of the ``target`` evidence.
    """
    pair = [e for e in task.evidence if e.role == "pair"]
    if task.family not in {"nearer", "nearer_read"} or len(pair) != 2:
        return None
    if task.family == "nearer":
        label = task.answer
    else:
        targets = {e.label for e in task.evidence if e.role == "target"}
        if len(targets) != 1:
            return None
        (label,) = targets
    if [e.label for e in pair].count(label) != 1:
        return None
    return pair[0], pair[1], label


def _choose_of_pair(asked: Asked, value: Callable[[Evidence], float]) -> float | None:
    found = _pair(asked.task)
    if found is None:
        return None
    first, second, nearer = found
    value_first, value_second = value(first), value(second)
    if value_first == value_second:
        return 0.5
    taken = first if value_first > value_second else second
    return float(taken.label == nearer)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def bigger_is_nearer(asked: Asked) -> float | None:
    """Takes the thing with the larger box."""
    return _choose_of_pair(asked, lambda e: _area(e.bbox))


def lower_is_nearer(asked: Asked) -> float | None:
    """Takes the thing whose box reaches lower in the picture."""
    return _choose_of_pair(asked, lambda e: e.bbox[3])


def more_central_is_nearer(asked: Asked) -> float | None:
    """Takes the thing whose box centre is closer, in pixels, to the centre of the picture."""

    def closeness(evidence: Evidence) -> float:
        width, height = asked.sizes_px.get(evidence.media, (1, 1))
        x0, y0, x1, y1 = evidence.bbox
        return -(((x0 + x1 - 1) * width) ** 2 + ((y0 + y1 - 1) * height) ** 2)

    return _choose_of_pair(asked, closeness)


RULES: tuple[ShortcutRule, ...] = (
    ShortcutRule("first_choice", "choices", first_choice),
    ShortcutRule("last_choice", "choices", last_choice),
    ShortcutRule("most_frequent_answer", "choices", most_frequent_answer),
    ShortcutRule("longest_choice", "choices", longest_choice),
    ShortcutRule("named_first", "choices", named_first),
    ShortcutRule("middle_number", "choices", middle_number),
    ShortcutRule("bigger_is_nearer", "pair", bigger_is_nearer),
    ShortcutRule("lower_is_nearer", "pair", lower_is_nearer),
    ShortcutRule("more_central_is_nearer", "pair", more_central_is_nearer),
)
