"""Fixtures of the trainer's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import tiny_model_folder
from tiny_samples import tiny_dataset


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from a family's name to the folder of its tiny model; never write into it."""
    root = tmp_path_factory.mktemp("tiny-models")
    return lambda family: tiny_model_folder(family, root)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny data set (splits train, val, test); never write into it."""
    return tiny_dataset(tmp_path_factory.mktemp("tiny-data") / "set")
