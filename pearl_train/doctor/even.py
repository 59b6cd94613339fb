"""A few of many, evenly spaced, so that a set sorted by anything is seen as a whole."""

from __future__ import annotations

from collections.abc import Sequence


def spread(numbers: Sequence[int], most: int) -> list[int]:
    """At most ``most`` of ``numbers``, evenly spaced, the first among them.

    >>> spread([0, 1, 2, 3, 4, 5], 3)
    [0, 2, 4]
    """
    if len(numbers) <= most:
        return list(numbers)
    return [numbers[at * len(numbers) // most] for at in range(most)]
