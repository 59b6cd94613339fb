from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearl_data.wilson import share

counted = st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_interval_has_the_published_values() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 and 0 of 20.
    many, none = share(81, 263), share(0, 20)
    assert many.low == pytest.approx(0.2553, abs=5e-5)
    assert many.high == pytest.approx(0.3662, abs=5e-5)
    assert (none.low, none.high) == (0.0, pytest.approx(0.1611, abs=5e-5))


def test_nothing_counted_has_no_rate() -> None:
    assert share(0, 0).rate is None


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3)])
def test_impossible_counts_are_refused(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= k <= n"):
        share(k, n)


@given(counted)
def test_interval_lies_around_the_rate_and_inside_0_to_1(pair: tuple[int, int]) -> None:
    found = share(*pair)
    assert found.rate is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.rate <= found.high <= 1
    assert found.low < found.high


@given(counted)
def test_interval_of_failures_mirrors_that_of_successes(pair: tuple[int, int]) -> None:
    k, n = pair
    one, other = share(k, n), share(n - k, n)
    assert one.low is not None
    assert other.high is not None
    assert one.low == pytest.approx(1 - other.high, abs=1e-12)


@given(counted)
def test_more_data_narrows_the_interval(pair: tuple[int, int]) -> None:
    k, n = pair
    few, many = share(k, n), share(4 * k, 4 * n)
    assert few.low is not None
    assert few.high is not None
    assert many.low is not None
    assert many.high is not None
    assert many.high - many.low < few.high - few.low
