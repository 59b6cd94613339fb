"""Fixtures that several test folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Small tensors gain nothing from threads, and waiting ones slow a busy machine down fifty times.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real inputs that are never copied into the project."""
    folder = Path(os.environ.get("PEARL_SHARED", "../shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"real inputs not found at {folder} (set PEARL_SHARED)")
    return folder
