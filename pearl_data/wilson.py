"""How sure a counted rate is: Wilson's 95 % score interval.

Chosen over the normal interval because rates here sit at 0 and 1 with small counts, where the
normal interval has no width. Wilson, JASA 22 (1927), 209-212.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from pearl_tools.types import Record

Count = Annotated[int, msgspec.Meta(ge=0)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]

#: 97.5 % quantile of the standard normal distribution.
Z_95 = 1.959963984540054


class Share(Record, frozen=True, kw_only=True):
    """``k`` of ``n``, its rate and Wilson 95 % interval, all 0..1; null where ``n`` is 0."""

    k: Annotated[float, msgspec.Meta(ge=0)]
    n: Count
    rate: Rate | None
    low: Rate | None
    high: Rate | None


def share(k: float, n: int, *, z: float = Z_95) -> Share:
    """``k`` of ``n`` with its rate and interval; all three are None where nothing was counted.

    ``k`` may be fractional (split credit for ties). Raises ``ValueError`` unless 0 <= k <= n.

    >>> share(5, 10).rate
    0.5
    """
    if not 0 <= k <= n:
        raise ValueError(f"share: expected 0 <= k <= n, got k={k}, n={n}")
    if n == 0:
        return Share(k=k, n=n, rate=None, low=None, high=None)
    rate = k / n
    spread = 1 + z * z / n
    middle = (rate + z * z / (2 * n)) / spread
    half = z / spread * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At rates 0 and 1 one bound equals the rate; rounding must not push it past.
    low = min(max(middle - half, 0.0), rate)
    high = max(min(middle + half, 1.0), rate)
    return Share(k=k, n=n, rate=rate, low=low, high=high)
