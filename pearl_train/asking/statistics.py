"""How sure a counted rate is, and whether two models differ on the same questions.

Test sets of this field hold 100 to 300 questions: at 80 % of 191 the interval is +-5.7 points. So
no rate is given without its count and interval, and two models are compared pair by pair.
Wilson, JASA 22 (1927); McNemar, Psychometrika 12 (1947), in its exact (binomial) form.
"""

from __future__ import annotations

from collections.abc import Sequence

from pearl_data.wilson import share
from pearl_tools.types import Record


class Rate(Record, frozen=True, kw_only=True):
    """``k`` of ``n``, its share and Wilson's 95 % interval; the last three are None where n = 0."""

    k: int
    n: int
    rate: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.rate is None or self.low is None or self.high is None:
            return "none"
        return f"{100 * self.rate:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


class Paired(Record, frozen=True, kw_only=True):
    """Two models on the same ``n`` questions: how many only one of them got right.

    ``difference`` is the share right of this model less that of the reference (-1..1), ``p`` the
    two-sided exact McNemar probability of counts at least as uneven if both were equally good.
    """

    n: int
    only_this: int
    only_reference: int
    difference: float
    p: float


def rate(k: int, n: int) -> Rate:
    """``k`` of ``n`` with its 95 % interval; raises ``ValueError`` unless 0 <= k <= n.

    >>> print(rate(153, 191))
    80.1 % [73.9, 85.1]
    """
    found = share(k, n)
    return Rate(k=k, n=n, rate=found.rate, low=found.low, high=found.high)


def paired(this: Sequence[bool], reference: Sequence[bool]) -> Paired:
    """The exact McNemar test of two models' verdicts on the same questions in the same order.

    Raises ``ValueError`` where there are not equally many of both, or none.

    >>> paired([True] * 6 + [False], [False] * 6 + [False]).p
    0.03125
    """
    if len(this) != len(reference) or not this:
        raise ValueError(
            f"paired: expected verdicts on the same questions, got {len(this)} and {len(reference)}"
        )
    wins = sum(a and not b for a, b in zip(this, reference, strict=True))
    losses = sum(b and not a for a, b in zip(this, reference, strict=True))
    if wins + losses == 0:
        p = 1.0
    else:
        from scipy.stats import binomtest

        p = float(binomtest(wins, wins + losses, 0.5).pvalue)
    return Paired(
        n=len(this),
        only_this=wins,
        only_reference=losses,
        difference=(wins - losses) / len(this),
        p=p,
    )


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value below which ``share`` (0..1) of ``values`` lie, interpolated; None without any.

    >>> quantile([1.0, 2.0, 4.0], 0.5)
    2.0
    """
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
