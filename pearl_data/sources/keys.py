"""Names as parts of keys: WebDataset splits a member's name at its first dot, so keys have none."""

from __future__ import annotations


def slug(text: str) -> str:
    """``text`` in lower case with all but a-z, 0-9 and ``-`` as ``_``; it begins with a letter or
    digit, as ids must: ``x`` where the text has none.

    Example:
        >>> slug("_My.Set"), slug("фото")
        ('my_set', 'x')

    """
    plain = "".join(c if c.isascii() and (c.isalnum() or c == "-") else "_" for c in text.lower())
    return plain.lstrip("_-") or "x"
