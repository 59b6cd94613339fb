"""Texts that are compared with files in ``tests/golden``.

Refresh them with ``PEARL_REFRESH_GOLDEN=1 pytest`` and read the diff before committing it.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def assert_golden(name: str, text: str) -> None:
    """``text`` must equal ``tests/golden/{name}``."""
    file = FOLDER / name
    if os.environ.get("PEARL_REFRESH_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8"), f"{name} differs; see tests/goldens.py"
