"""Ranks of values with ties, and Spearman's correlation of two maps."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32] | NDArray[np.float64]


def ranks(values: Floats) -> NDArray[np.float64]:
    """Ranks from 1 of all values, equal ones sharing their mean rank; same shape.

    >>> ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean = last - (counts - 1) / 2
    return np.asarray(mean[places].reshape(values.shape), np.float64)


def spearman(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation, -1..1; 0 where one of them is constant.

    >>> spearman(np.array([1.0, 2.0, 4.0]), np.array([10.0, 20.0, 30.0]))
    1.0
    """
    a, b = ranks(first).ravel(), ranks(second).ravel()
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return min(1.0, max(-1.0, float(a @ b) / scale)) if scale > 0 else 0.0
