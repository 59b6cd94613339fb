"""Lengths are those of the encoded samples; those scanned are spread over the whole split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pearl_train.doctor.lengths import percentile, spread


@given(st.integers(1, 300), st.integers(1, 50))
def test_spread_takes_distinct_samples_from_everywhere(number: int, most: int) -> None:
    taken = spread(range(number), most)
    assert len(taken) == min(number, most)
    assert taken == sorted(set(taken))
    assert taken[0] == 0
    assert taken[-1] >= number - number // most - 1


@given(st.lists(st.integers(0, 99), min_size=1, max_size=40), st.floats(0.01, 1))
def test_a_percentile_is_not_exceeded_by_its_share(values: list[int], share: float) -> None:
    found = percentile(values, share)
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values) + 1e-9


def test_the_longest_sample_and_the_figures_are_those_encoded(
    examined: Callable[..., Any],
) -> None:
    report, patient = examined("llava", until="lengths", samples=12)
    figures = report.checks[-1].figures
    lengths = {}
    for number in patient.numbers:
        encoded = patient.encode(number)
        row = [encoded.context, *encoded.branches.values(), encoded.target]
        lengths[encoded.key] = sum(len(span.ids) for span in row)
    assert figures["tokens_per_sample"]["max"] == max(lengths.values())
    assert lengths[figures["longest"]] == max(lengths.values())
    assert figures["tokens_per_picture"] == {"min": 16, "median": 16, "p95": 16, "max": 16}
