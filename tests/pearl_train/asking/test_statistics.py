from __future__ import annotations

import math

import pytest

from pearl_train.asking.statistics import paired, quantile, rate


def test_the_interval_is_wilsons() -> None:
    z, k, n = 1.959963984540054, 153, 191
    middle = (k / n + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))
    found = rate(k, n)
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=1e-9)
    assert str(found) == "80.1 % [73.9, 85.1]"


@pytest.mark.parametrize("k", [0, 5])
def test_an_interval_has_width_where_all_or_none_are_right(k: int) -> None:
    found = rate(k, 5)
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= k / 5 <= found.high <= 1
    assert found.high - found.low > 0.3


def test_nothing_counted_has_no_rate() -> None:
    assert rate(0, 0).rate is None
    assert str(rate(0, 0)) == "none"


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="0 <= k <= n"):
        rate(3, 2)


def test_mcnemar_is_exact_and_looks_only_at_what_differs() -> None:
    both = [True] * 50 + [False] * 50
    this, reference = [True] * 8 + [False] * 1 + both, [False] * 8 + [True] * 1 + both
    found = paired(this, reference)
    assert (found.only_this, found.only_reference, found.n) == (8, 1, 109)
    assert found.p == pytest.approx(2 * (1 + 9) / 2**9)
    assert found.difference == pytest.approx(7 / 109)


def test_equal_verdicts_show_no_difference() -> None:
    assert paired([True, False], [True, False]).p == 1.0


def test_verdicts_on_other_questions_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="same questions"):
        paired([True], [True, False])


def test_quantiles_are_interpolated() -> None:
    assert quantile([4.0, 1.0, 2.0, 3.0], 0.5) == 2.5
    assert quantile([float(n) for n in range(11)], 0.9) == 9.0
    assert quantile([], 0.5) is None
