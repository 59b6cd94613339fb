"""How the batch of a step is cut into forward passes, each process its share of every one.

One rule for the loader, which reads the shares, and for the settings, which know what is too small.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise


def passes(batch: int, micro_batch: int, processes: int = 1) -> Iterator[list[range]]:
    """For every pass, the samples of each process as places in the batch.

    >>> [[len(share) for share in one] for one in passes(10, 4)]
    [[4], [4], [2]]
    >>> [[len(share) for share in one] for one in passes(6, 2, 2)]
    [[2, 2], [1, 1]]
    """
    group = micro_batch * processes
    for start in range(0, batch, group):
        size = min(group, batch - start)
        edges = [start + size * number // processes for number in range(processes + 1)]
        yield [range(low, high) for low, high in pairwise(edges)]


def smallest_pass(batch: int, micro_batch: int, processes: int = 1) -> int:
    """Samples in the smallest share that has any.

    >>> smallest_pass(10, 4), smallest_pass(9, 4), smallest_pass(2, 2, processes=2)
    (2, 1, 1)
    """
    shares = (len(share) for one in passes(batch, micro_batch, processes) for share in one)
    return min(size for size in shares if size)
