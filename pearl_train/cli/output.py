"""What reaches the terminal: one process prints, and what a model says steers nothing."""

from __future__ import annotations

import os
import unicodedata


def first_process() -> bool:
    """Whether this process is the one to print, under torchrun."""
    return os.environ.get("RANK", "0") == "0"


def harmless(text: str) -> str:
    r"""``text`` with what steers a terminal, or turns its direction, shown as ``\x1b``; lines,
    tabs and joined characters stay.

    >>> print(harmless("a\x1b[2Jb"))
    a\x1b[2Jb
    """
    return "".join(c if _stays(c) else c.encode("unicode_escape").decode() for c in text)


def _stays(character: str) -> bool:
    if character.isprintable() or character in "\n\t\u200c\u200d":
        return True
    return unicodedata.category(character) == "Zs"
