from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from pearl_data.depth_eval.ranks import ranks, spearman

numbers = st.lists(st.integers(-5, 5), min_size=2, max_size=40)


@given(numbers)
def test_ranks_are_those_of_scipy(values: list[int]) -> None:
    array = np.array(values, np.float64)
    assert ranks(array).tolist() == rankdata(array).tolist()


@given(numbers, st.randoms(use_true_random=False))
def test_correlation_is_that_of_scipy(values: list[int], random: object) -> None:
    first = np.array(values, np.float64)
    second = np.roll(first, 1) - first
    if first.std() and second.std():
        assert abs(spearman(first, second) - spearmanr(first, second)[0]) < 1e-12


def test_a_constant_map_correlates_with_nothing() -> None:
    assert spearman(np.zeros(4), np.arange(4.0)) == 0
