"""A run that was stopped, by anybody in any way, ends as one that never was: bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from toy_run import HIDDEN, Toy, toy_batches, toy_config, toy_ingredients

from pearl_tools.errors import BadInput, UsageError
from pearl_train.errors import RunInterrupted
from pearl_train.run.folder import RunFolder
from pearl_train.settings.config import Config
from pearl_train.settings.load import resolved_toml
from pearl_train.training.checkpoint import newest_whole
from pearl_train.training.loop import train
from pearl_train.training.session import fit
from pearl_train.views.batch import Batch

ROOT = Path(__file__).parents[3]


def ending(folder: RunFolder) -> dict[str, bytes]:
    """Every byte that follows from the seed: weights, moments, panel, state, metrics."""
    found = newest_whole(folder.checkpoints, pytest.fail)
    assert found is not None
    files = [*found.path.glob("*.safetensors"), found.path / "state.json", folder.metrics]
    return {file.name: file.read_bytes() for file in files}


def stopped_at(config: Config, step: int, act: Callable[[], None]) -> Any:
    """Batches of the toy that ``act`` when update ``step`` is about to begin."""

    def batches(start: int) -> Iterator[list[Batch]]:
        for number, micro in enumerate(toy_batches(config)(start), start):
            if number == step:
                act()
            yield micro

    return batches


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def crash() -> None:
    raise OSError("the disk is full")


@pytest.mark.parametrize("step", [1, 5, 10])
@pytest.mark.parametrize("how", ["ctrl-c", "crash"])
def test_stopped_and_resumed_equals_never_stopped(tmp_path: Path, step: int, how: str) -> None:
    """With accumulation, dropout, loss dropout, a teacher, and lines that span the stop."""
    config = toy_config(checkpoint={"every": 1})
    straight, stopped = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "stopped")
    fit(toy_ingredients(config), config, straight, progress=False)
    batches = stopped_at(config, step, interrupt if how == "ctrl-c" else crash)
    with pytest.raises(RunInterrupted if how == "ctrl-c" else OSError):
        fit(toy_ingredients(config, batches=batches), config, stopped, progress=False)
    toy = Toy(seed=99)  # what it starts from does not matter, but for its frozen weights
    toy.frozen.load_state_dict(Toy().frozen.state_dict())
    fit(toy_ingredients(config, trainee=toy), config, stopped, resume=True, progress=False)
    assert ending(stopped) == ending(straight)


def test_a_torn_checkpoint_costs_steps_but_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = toy_config()
    straight, stopped = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "stopped")
    fit(toy_ingredients(config), config, straight, progress=False)
    fit(toy_ingredients(config), config, stopped, progress=False)
    torn = stopped.checkpoints / "step-000012" / "weights.safetensors"
    torn.write_bytes(torn.read_bytes()[:100])
    fit(toy_ingredients(config), config, stopped, resume=True, progress=False)
    told = capsys.readouterr().err
    assert f"{torn.parent} is passed over: weights.safetensors has other bytes" in told
    assert str(stopped.checkpoints / "step-000008") in told
    assert ending(stopped) == ending(straight)


def test_another_base_model_is_noticed(tmp_path: Path) -> None:
    config, folder = toy_config(), RunFolder(tmp_path / "run")
    fit(toy_ingredients(config), config, folder, progress=False)
    with pytest.raises(BadInput, match="expected the frozen weights that the run began with"):
        fit(toy_ingredients(config, trainee=Toy(seed=5)), config, folder, resume=True)


def test_weights_of_another_shape_are_noticed(tmp_path: Path) -> None:
    config, folder = toy_config(), RunFolder(tmp_path / "run")
    fit(toy_ingredients(config), config, folder, progress=False)
    grown = Toy()
    grown.apart = torch.nn.Linear(HIDDEN, HIDDEN + 1)
    told = r"apart\.bias.*expected .*9.*train anew with another --out"
    with pytest.raises(BadInput, match=told):
        fit(toy_ingredients(config, trainee=grown), config, folder, resume=True)


def test_without_a_checkpoint_a_run_begins(tmp_path: Path) -> None:
    config, folder = toy_config(), RunFolder(tmp_path / "run")
    assert fit(toy_ingredients(config), config, folder, resume=True, progress=False).steps == 12


# the real thing ---------------------------------------------------------------------------------


def real_config(model: Path, **objective: Any) -> Config:
    """Five updates of five of twelve samples, three micro-batches each: epochs end inside steps."""
    return msgspec.convert(
        {
            "seed": 3,
            "model": {"id": str(model), "lora": {"rank": 4, "alpha": 8, "dropout": 0.1}},
            "data": {"max_tokens": 2048},
            "objective": {"name": "pearl", "loss_dropout": 0.5, "nextlat": {}, **objective},
            "optim": {"steps": 5, "batch": 5, "micro_batch": 2, "lr": 1e-2},
            "log": {"every": 2, "panel_every": 2, "tensorboard": False},
            "checkpoint": {"every": 2, "keep_last": 9},
        },
        Config,
    )


@pytest.mark.parametrize("source", ["ema", "frozen-base"])
def test_a_real_run_resumes_in_the_middle_of_a_shard(
    tmp_path: Path,
    tiny_folder: Callable[[str], Path],
    tiny_data: Path,
    source: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = real_config(tiny_folder("qwen2_5_vl"), target={"source": source, "ema_decay": 0.9})
    straight = RunFolder(tmp_path / "straight")
    train(config, tiny_data, straight.path, progress=False)

    from pearl_train.training import session

    before, done = session.update, []

    def until(*args: Any, **options: Any) -> Any:
        done.append(1)
        if len(done) == 4:  # after three updates, with a checkpoint of two
            raise OSError("the disk is full")
        return before(*args, **options)

    stopped = RunFolder(tmp_path / "stopped")
    monkeypatch.setattr(session, "update", until)
    with pytest.raises(OSError, match="disk"):
        train(config, tiny_data, stopped.path, progress=False)
    monkeypatch.setattr(session, "update", before)
    result = train(config, tiny_data, stopped.path, resume=True, progress=False)
    assert result.steps == 5
    assert result.samples == 25
    assert ending(stopped) == ending(straight)
    exported = [(run.model / "model.safetensors").read_bytes() for run in (straight, stopped)]
    assert exported[0] == exported[1]


def test_kill_9_and_resume_equals_never_killed(
    tmp_path: Path, tiny_folder: Callable[[str], Path], tiny_data: Path
) -> None:
    config = real_config(tiny_folder("llava"))
    options = msgspec.structs.replace(config.optim, steps=8, micro_batch=5)
    config = msgspec.structs.replace(config, optim=options)
    straight, killed = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "killed")
    train(config, tiny_data, straight.path, progress=False)

    file = tmp_path / "config.toml"
    file.write_text(resolved_toml(config))
    begin = ["--data", str(tiny_data), "--config", str(file), "--out", str(killed.path)]
    with subprocess.Popen(**command("run", *begin)) as process:
        deadline = time.monotonic() + 120
        while not (killed.checkpoints / "step-000002").exists():
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not killed.model.exists()

    result = train(config, tiny_data, killed.path, resume=True, progress=False)
    assert result.steps == 8
    assert ending(killed) == ending(straight)


def command(*arguments: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/tools{os.pathsep}{ROOT}"}
    return {
        "args": [sys.executable, "-m", "pearl_train.cli.main", *arguments],
        "env": environment,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }


def test_other_choices_or_data_are_refused_on_resume(
    tmp_path: Path, tiny_folder: Callable[[str], Path], tiny_data: Path
) -> None:
    config = real_config(tiny_folder("llava"))
    folder = RunFolder(tmp_path / "run")
    from pearl_train.run.folder import DataFacts

    facts = DataFacts(path="x", manifest_sha256="b" * 64, split="train", samples=1)
    folder.create(config, facts)
    other = msgspec.structs.replace(config, seed=4)
    with pytest.raises(UsageError, match="the choices that the run began with"):
        train(other, tiny_data, folder.path, resume=True, progress=False)
    with pytest.raises(UsageError, match=r"expected the data that .* began with"):
        train(config, tiny_data, folder.path, resume=True, progress=False)
    with pytest.raises(UsageError, match="one that holds a run"):
        train(config, tiny_data, folder.path, progress=False)
