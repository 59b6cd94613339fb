"""A rule that answers without looking, beside which every model is put.

A model that does no better has learnt which answers are frequent and nothing about pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pearl_tools.types import Record
from pearl_train.asking.scoring import Expected, judge
from pearl_train.asking.statistics import Rate, rate
from pearl_train.comparing.held_out import Asked


class BlindRule(Record, frozen=True, kw_only=True):
    """Answering without looking: of a question's choices (of all answers, if it has none) the one
    that was right most often in training questions of its family.
    """

    accuracy: Rate
    by_family: dict[str, Rate]


def most_frequent(train: Sequence[Asked], test: Sequence[Asked]) -> BlindRule:
    """How far answering by what was right most often in training gets on ``test``."""
    seen: dict[str, Counter[str]] = {}
    for sample in train:
        seen.setdefault(sample.family, Counter())[sample.answer] += 1
    right: dict[str, list[bool]] = {}
    for sample in test:
        counted = seen.get(sample.family, Counter[str]())
        offered = sample.choices or tuple(counted)
        # of equally frequent ones the first offered; nothing at all where nothing is known
        guess = max(offered, key=lambda choice: counted[choice], default="")
        verdict = judge(guess, Expected(sample.answer, sample.choices))
        right.setdefault(sample.family, []).append(verdict.correct)
    every = [verdict for verdicts in right.values() for verdict in verdicts]
    return BlindRule(
        accuracy=rate(sum(every), len(every)),
        by_family={family: rate(sum(v), len(v)) for family, v in sorted(right.items())},
    )
