"""What a folder and a model are called where people read of them."""

from __future__ import annotations

import os
from pathlib import Path


def folder_name(path: Path | str) -> str:
    """The name of a folder however it was written: ``run``, ``run/``, ``.`` inside of it.

    >>> folder_name("/data/run/"), folder_name("/data/run/model/..")
    ('run', 'run')
    """
    whole = os.path.abspath(Path(path).expanduser())  # noqa: PTH100  # a link keeps its own name
    return Path(whole).name or whole


def is_local(model_id: str) -> bool:
    """Whether ``model.id`` is a folder here, and not ``nano`` or a hub id."""
    return model_id.startswith(("/", ".", "~")) or Path(model_id).is_dir()


def model_name(model_id: str) -> str:
    """``model.id`` without where it lies on this machine, which tells others nothing.

    >>> model_name("/models/mine/"), model_name("Qwen/Qwen2.5-VL-3B-Instruct")
    ('mine', 'Qwen/Qwen2.5-VL-3B-Instruct')
    """
    return folder_name(model_id) if is_local(model_id) else model_id
