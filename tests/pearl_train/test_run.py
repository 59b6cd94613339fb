"""``pearl-train run`` from outside and on real models: its folder, its refusals, its exits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pearl_tools.errors import UsageError
from pearl_train.cli.group import cli
from pearl_train.run.folder import RunFolder
from pearl_train.run.metrics import read_metrics
from pearl_train.settings.load import load_config
from pearl_train.training.loop import train

ROOT = Path(__file__).parents[2]
QUICK = ("optim.steps=2", "optim.batch=3", "optim.micro_batch=2", "log.every=1",
         "log.tensorboard=false", "data.max_tokens=2048")  # fmt: skip


@pytest.mark.parametrize(
    ("family", "choices", "terms"),
    [
        ("qwen2_5_vl", ["objective.name=sft", "objective.pause_tokens=2"], {"vlm"}),
        ("qwen3_vl", ["objective.name=pearl", "objective.nextlat={}"], {"vlm", "jepa", "nextlat"}),
        ("llava", ["objective.name=lvr"], {"vlm", "lvr"}),
        ("idefics3", ["objective.name=tools", "model.lora.rank=4"], {"vlm"}),
        (
            "internvl",
            ["objective.name=pearl", "objective.pred=frozen", "objective.view=chat"],
            {"vlm", "jepa", "nextlat"},
        ),
    ],
)
def test_every_objective_leaves_a_whole_run_behind(
    tmp_path: Path,
    tiny_folder: Callable[[str], Path],
    tiny_data: Path,
    family: str,
    choices: list[str],
    terms: set[str],
) -> None:
    config = load_config([], [*QUICK, *choices], {"model.id": str(tiny_folder(family))})
    folder = RunFolder(tmp_path / "run")
    result = train(config, tiny_data, folder.path, progress=False)
    assert result.steps == 2
    assert result.samples == 6
    assert terms <= set(result.losses)
    for path in (folder.card, folder.curves, folder.environment, folder.model / "config.json"):
        assert path.is_file()
    assert folder.read_config() == config
    data = folder.read_data()
    assert (data.samples, data.validation_samples) == (12, 4)
    assert any("validation/loss" in line for line in read_metrics(folder.metrics))
    processor = next(folder.checkpoints.iterdir()) / "processor"
    assert (processor / "tokenizer.json").is_file(), "a checkpoint carries its processor"
    again = train(config, tiny_data, folder.path, resume=True, progress=False)
    assert again.losses == result.losses, "a finished run is left as it is"


def test_what_cannot_work_leaves_no_folder(
    tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    with pytest.raises(UsageError, match="pip install wandb"):
        train(load_config([], ["log.wandb=true"]), tiny_data, out, progress=False)
    with pytest.raises(UsageError, match=r"data\.split: .*'nowhere'.*train \(12\)"):
        train(load_config([], ["data.split=nowhere"]), tiny_data, out, progress=False)
    with pytest.raises(UsageError, match="expected a dataset folder"):
        train(load_config(), tmp_path, out, progress=False)
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--data", "x"], "expected --data DIR and --out RUN for a new run"),
        ([], "got neither"),
        (["--resume", "nowhere"], "nowhere: expected the folder of a run, got no such folder"),
        (["--resume", "x", "--model", "nano", "--set", "a=1"], "remove --model, --set"),
        (["--data", "x", "--out", "y", "--set", "optim.lrr=1"], "did you mean optim.lr?"),
    ],
)
def test_misuse_is_told(arguments: list[str], told: str) -> None:
    caught = CliRunner().invoke(cli, ["run", *arguments], standalone_mode=False)
    assert isinstance(caught.exception, UsageError)
    assert told in str(caught.exception)


def test_help_ends_in_an_example() -> None:
    shown = CliRunner().invoke(cli, ["run", "--help"]).output
    assert "Example: pearl-train run --data" in shown
    assert "run" in CliRunner().invoke(cli, ["--help"]).output


def test_ctrl_c_exits_130_and_the_command_it_names_goes_on(
    tmp_path: Path, tiny_folder: Callable[[str], Path], tiny_data: Path
) -> None:
    out = tmp_path / "run"
    model = tiny_folder("llava")
    choices = [*QUICK, "optim.steps=400", "objective.name=sft", "checkpoint.every=1000"]
    sets = [word for choice in choices for word in ("--set", choice)]
    begin = ["run", "--data", str(tiny_data), "--model", str(model), "--out", str(out), *sets]
    with subprocess.Popen(**command(*begin)) as process:
        deadline = time.monotonic() + 120
        metrics = RunFolder(out).metrics
        while not (metrics.is_file() and metrics.stat().st_size):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert f"Resume with: pearl-train run --resume {out}" in told
    assert "Traceback" not in told
    step = int(told.rpartition("interrupted after step ")[2].split()[0])
    assert (out / "checkpoints" / f"step-{step:06d}" / "manifest.json").is_file()
    card = (out / "README.md").read_text()
    assert f"it stopped after step {step} of 400. Somebody" in card
    # drawn if there was time for it
    assert ("](curves.png)" in card) <= (out / "curves.png").is_file()


def command(*arguments: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/tools{os.pathsep}{ROOT}"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return {
        "args": [sys.executable, "-m", "pearl_train.cli.main", *arguments],
        "env": environment,
        **pipes,
    }


def test_json_is_one_document(
    tmp_path: Path, tiny_folder: Callable[[str], Path], tiny_data: Path
) -> None:
    sets = [word for choice in (*QUICK, "objective.name=sft") for word in ("--set", choice)]
    model = str(tiny_folder("llava"))
    arguments = ["--data", str(tiny_data), "--model", model, "--out", str(tmp_path / "run"), *sets]
    done = CliRunner().invoke(cli, ["run", *arguments, "--json"], standalone_mode=False)
    assert done.exception is None, done.exception
    result = json.loads(done.stdout)
    assert result["steps"] == 2
    assert "note: no --config" in done.stderr
