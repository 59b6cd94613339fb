"""Examples in the docstrings of the trainer run."""

from __future__ import annotations

import doctest
import importlib

import pytest

EXAMPLES = [
    "model.groups",
    "settings.faults",
    "settings.load",
    "settings.reads",
    "settings.variants",
    "views.chat",
    "views.left_out",
    "views.regions",
    "views.remember",
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_in_docstrings_run(name: str) -> None:
    module = importlib.import_module(f"pearl_train.{name}")
    failed, attempted = doctest.testmod(module)
    assert attempted > 0
    assert failed == 0
