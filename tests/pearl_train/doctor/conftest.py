"""Examinations of tiny models on the tiny data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pearl_train.doctor import CHECKS
from pearl_train.doctor.checks import Check, Examination, examine
from pearl_train.settings.load import load_config

Examine = Callable[..., Examination]


@pytest.fixture(autouse=True)
def in_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine gives the check of learning by heart fewer updates: here it may take long."""
    monkeypatch.setattr("pearl_train.doctor.overfit.SECONDS", 3600.0)


@pytest.fixture
def examined(tiny_folder: Callable[[str], Path], tiny_data: Path) -> Examine:
    """A function: a model (family or folder), choices, and the last check to run, if not all."""

    def run(
        model: str | Path = "qwen2_5_vl",
        *sets: str,
        objective: str = "pearl",
        until: str = "",
        data: Path = tiny_data,
        samples: int = 6,
    ) -> Examination:
        folder = tiny_folder(model) if isinstance(model, str) else model
        choices = [f"model.id={folder}", "optim.batch=4", "optim.lr=5e-3", *sets]
        config = load_config([], choices, {"objective.name": objective})
        return examine(data, config, samples=samples, checks=_until(until))

    return run


def _until(name: str) -> tuple[Check, ...]:
    """The checks that ``name`` builds on, and it; all if it is empty."""
    if not name:
        return CHECKS
    wanted = {name}
    for check in reversed(CHECKS):
        if check.name in wanted:
            wanted |= {"samples" if need == "encoded" else need for need in check.needs}
    return tuple(check for check in CHECKS if check.name in wanted)
