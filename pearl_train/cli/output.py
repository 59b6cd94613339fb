"""Output of one of several processes, through :mod:`pearl_data.terminal`."""

from __future__ import annotations

import os


def first_process() -> bool:
    """Whether this process is the one to print, under torchrun."""
    return os.environ.get("RANK", "0") == "0"
