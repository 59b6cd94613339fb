"""Whether a folder holds a whole model: a copy or a disk may have lost some of it."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open


def is_whole(folder: Path) -> bool:
    """Whether ``folder`` has a ``config.json`` and every file of weights that belongs to it, each
    with the length that its own header says.
    """
    if not (folder / "config.json").is_file():
        return False
    index = folder / "model.safetensors.index.json"
    names = {"model.safetensors"}
    try:
        if index.is_file():
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        for name in names:
            with safe_open(folder / name, framework="pt"):
                pass
    except (OSError, SafetensorError, ValueError, LookupError):
        return False
    return True
