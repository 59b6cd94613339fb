from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pearl_tools.cache import Product, ResultCache


def product(size: int) -> Product:
    return Product(np.zeros(size, np.uint8), "0" * 64)


def test_least_recently_used_is_forgotten_first() -> None:
    cache = ResultCache(30)
    for key in "abc":
        cache.put(key, product(10))
    cache.get("a")
    cache.put("d", product(10))
    assert cache.get("b") is None
    assert cache.get("a") is not None


def test_product_larger_than_the_bound_is_not_kept() -> None:
    cache = ResultCache(30)
    cache.put("small", product(10))
    cache.put("large", product(31))
    assert cache.get("large") is None
    assert cache.get("small") is not None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40))), st.integers(0, 100))
def test_used_bytes_are_the_sum_of_what_is_kept_and_never_exceed_the_bound(
    puts: list[tuple[int, int]], limit: int
) -> None:
    cache = ResultCache(limit)
    for key, size in puts:
        cache.put(key, product(size))
        kept = [p.pixels.nbytes for k in range(6) if (p := cache.get(k))]
        assert sum(kept) == cache.used_bytes <= limit
    cache.clear()
    assert (len(cache), cache.used_bytes) == (0, 0)
