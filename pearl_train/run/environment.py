"""Where a run happened: versions, devices, processes. Nothing of who ran it, no variables."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from pearl_train.run.folder import read_json, write_json

_LIBRARIES = ("pearl-toolkit", "torch", "torchvision", "transformers", "peft", "accelerate",
              "safetensors", "numpy", "pillow")  # fmt: skip


def describe() -> dict[str, Any]:
    """This process's surroundings as JSON values."""
    import torch

    devices = [
        {
            "name": torch.cuda.get_device_name(number),
            "memory_bytes": torch.cuda.get_device_properties(number).total_memory,
        }
        for number in range(torch.cuda.device_count())
    ]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "devices": devices,
        "cuda": torch.version.cuda,
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name))},
        "commit": _commit(Path(__file__).parents[2]),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def note_session(path: Path, session: dict[str, Any]) -> None:
    """Add ``session`` to the list in ``environment.json``: a run may go on elsewhere."""
    known = read_json(path, list) if path.is_file() else []
    write_json(path, [*known, session])


class Stop(TypedDict):
    """How a session ended early: updates done, why, as a sentence, and whether it says for good
    (``diverged``) or not at all (``trained``: only files are missing) what going on leads to.
    """

    step: int
    why: str
    kind: NotRequired[Literal["diverged", "trained", "other"]]


def note_stop(path: Path, stop: Stop) -> None:
    """Say of the last session in ``environment.json`` that it stopped."""
    *before, last = read_json(path, list)
    write_json(path, [*before, {**last, "stopped": stop}])


def last_stop(path: Path) -> Stop | None:
    """How the last session in ``environment.json`` stopped early, if it did."""
    sessions = read_json(path, list) if path.is_file() else []
    return sessions[-1].get("stopped") if sessions else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit(checkout: Path) -> str | None:
    """The commit of the checkout that this package runs from, read without running git."""
    head = checkout / ".git" / "HEAD"
    try:
        text = head.read_text().strip()
        if not text.startswith("ref: "):
            return text
        return (head.parent / text.removeprefix("ref: ")).read_text().strip()
    except OSError:
        return None
