"""Random numbers that follow from a seed and a place, never from who computes them or when."""

from __future__ import annotations

import hashlib
import random


def derived_seed(seed: int, *place: object) -> int:
    """A 64-bit seed for ``place`` (a source, a block, an attempt ...) under the run's ``seed``."""
    text = "\x1f".join([str(seed), *map(str, place)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def rng_for(seed: int, *place: object) -> random.Random:
    """An independent generator for ``place``: the same in every process and order of work."""
    return random.Random(derived_seed(seed, *place))
