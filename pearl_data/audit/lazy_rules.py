"""Rules that answer without looking at a picture, as a lazy model would.

Every rule has one signature: it takes an :class:`Asked` (a question, the sizes of its pictures and
the answers of other questions) and returns its credit 0..1, or None if it does not apply. Ties
share the credit. Not here: what the rules score over a set (:mod:`pearl_data.audit.shortcuts`) and
rules that need a trained model (a blind language model, say).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from pearl_data.trajectory import Evidence, Task
from pearl_tools.types import Box

#: How often an answer must occur elsewhere for ``most_frequent_answer`` to count it.
MIN_SEEN = 3


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
