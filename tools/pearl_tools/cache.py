"""Results by content: a least-recently-used cache bounded in bytes.

Keys are hashes of pixels (or of the file they came from) and settings, never names, so that a
renamed or replaced file cannot bring back stale pixels. Stored arrays are read-only. Left out:
anything on disk.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

from pearl_tools.pixels import Pixels


class Product(NamedTuple):
    """What a tool made: its pixels and their hash."""

    pixels: Pixels
    pixel_sha256: str


class ResultCache:
    """Products by key; forgets the least recently used when ``limit_bytes`` is exceeded."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._entries: OrderedDict[Hashable, Product] = OrderedDict()

    def get(self, key: Hashable) -> Product | None:
        """The product under ``key``, or None; a hit makes it the most recently used."""
        product = self._entries.get(key)
        if product is not None:
            self._entries.move_to_end(key)
        return product

    def put(self, key: Hashable, product: Product) -> None:
        """Keep ``product``, unless it alone is larger than the bound."""
        if product.pixels.nbytes > self.limit_bytes:
            return
        old = self._entries.pop(key, None)
        if old is not None:
            self.used_bytes -= old.pixels.nbytes
        self._entries[key] = product
        self.used_bytes += product.pixels.nbytes
        while self.used_bytes > self.limit_bytes:
            _, forgotten = self._entries.popitem(last=False)
            self.used_bytes -= forgotten.pixels.nbytes

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.used_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)
