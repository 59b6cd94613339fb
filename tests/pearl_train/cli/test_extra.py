from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from pearl_tools.errors import UsageError
from pearl_train.cli import group


def test_without_its_extra_the_trainer_names_the_packages_and_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group, "find_spec", lambda name: None if name == "peft" else object())
    result = CliRunner().invoke(group.cli, ["run", "--data", "nowhere"])
    assert isinstance(result.exception, UsageError)
    assert "got no peft" in str(result.exception)
    assert "pearl-toolkit[train]" in str(result.exception)
    assert CliRunner().invoke(group.cli, ["--help"]).exit_code == 0


def test_the_extra_holds_what_is_asked_for() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    extra = {line.partition(">")[0] for line in project["optional-dependencies"]["train"]}
    assert extra == set(group._EXTRA)
    assert not extra & {line.partition(">")[0] for line in project["dependencies"]}
