"""Names as parts of keys: WebDataset splits a member's name at its first dot, so keys have none."""

from __future__ import annotations


def slug(text: str) -> str:
    """``text`` in lower case with all but a-z, 0-9 and ``-`` as ``_``; ``x`` for the empty text."""
    return (
        "".join(c if c.isascii() and (c.isalnum() or c == "-") else "_" for c in text.lower())
        or "x"
    )
