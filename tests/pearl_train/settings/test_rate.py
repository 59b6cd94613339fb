"""The learning rate that nobody chose follows from the model, and is said and written down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pearl_train.cli.choices import chosen_config
from pearl_train.settings.load import load_config, read_resolved, resolved_toml

HUB = "Qwen/Qwen2.5-VL-3B-Instruct"


@pytest.mark.parametrize(
    ("files", "sets", "expected"),
    [
        ([], [], 1e-3),  # nano, by its preset
        ([], ["model.id=tiny"], 1e-3),
        ([], [f"model.id={HUB}"], 1e-5),
        ([], [f"model.id={HUB}", "model.lora.rank=8"], 1e-5),
        ([], [f"model.id={HUB}", "optim.lr=3e-4"], 3e-4),
        (["mine.toml"], [f"model.id={HUB}"], 1e-5),
        (["mine.toml"], ["model.id=nano"], 1e-3),
    ],
)
def test_the_rate_follows_from_the_model(
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: list[str],
    sets: list[str],
    expected: float,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("[optim]\nsteps = 7\n")
    (tmp_path / "tiny").symlink_to(tiny_folder("llava"))
    config = load_config(files, sets)
    assert config.optim.lr == expected
    (tmp_path / "run.toml").write_text(resolved_toml(config))
    assert read_resolved(tmp_path / "run.toml").optim.lr == expected


def test_a_folder_that_says_no_width_is_taken_for_a_large_model(tmp_path: Path) -> None:
    for text in ("{}", "no json", '{"text_config": 3}'):
        (tmp_path / "config.json").write_text(text)
        assert load_config([], [f"model.id={tmp_path}"]).optim.lr == 1e-5


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (("model.lora.rank=8",), "note: optim.lr 1e-05, the default for adapters on a pretrained"),
        ((), "note: optim.lr 1e-05, the default for full fine-tuning of a pretrained model"),
        (("optim.lr=1e-4",), ""),
    ],
)
def test_a_rate_that_nobody_chose_is_said(sets: tuple[str, ...], said: str) -> None:
    @click.command
    def choose() -> None:
        chosen_config((), sets, {"model.id": HUB})

    stderr = CliRunner().invoke(choose, standalone_mode=False).stderr
    assert said in stderr
    assert ("optim.lr" in stderr) is bool(said)
