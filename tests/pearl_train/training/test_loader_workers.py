"""Workers of the data loader end with their run, however it ends: real processes and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from programs import ended_by, living, start, wait_for


@pytest.fixture
def running(
    tmp_path: Path, tiny_folder: Callable[[str], Path], tiny_data: Path
) -> Iterator[subprocess.Popen[str]]:
    """A run with two workers that has done some steps."""
    choices = ["optim.steps=100000", "optim.batch=2", "optim.micro_batch=2", "data.workers=2",
               "log.every=1", "log.tensorboard=false", "objective.name=sft"]  # fmt: skip
    sets = [word for choice in choices for word in ("--set", choice)]
    out = tmp_path / "run"
    process = start(
        "run", "--data", str(tiny_data), "--model", str(tiny_folder("llava")), "--out", str(out),
        *sets, program="pearl_train",
    )  # fmt: skip
    metrics = out / "metrics.jsonl"
    wait_for(lambda: process.poll() is not None or (metrics.is_file() and metrics.stat().st_size))
    assert len(living(process.pid)) == 3
    yield process
    for number in living(process.pid):
        os.kill(number, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize(
    ("number", "group"), [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGINT, False)]
)
def test_signals_end_all_with_a_word(
    number: signal.Signals, group: bool, running: subprocess.Popen[str]
) -> None:
    seconds, said = ended_by(running, number, group=group)
    assert running.returncode == 130, said
    assert "Traceback" not in said
    assert "Resume with: pearl-train run --resume " in said.splitlines()[-1]
    assert seconds < 3, "2 s, and what the machine is busy with"
    wait_for(lambda: not living(running.pid), seconds=1)


def test_kill_9_of_the_run_leaves_nobody(running: subprocess.Popen[str]) -> None:
    running.kill()
    running.communicate()
    wait_for(lambda: not living(running.pid), seconds=2)


def test_a_worker_that_is_killed_ends_the_run_with_a_way_on(
    running: subprocess.Popen[str],
) -> None:
    worker = next(number for number in living(running.pid) if number != running.pid)
    time.sleep(0.2)
    os.kill(worker, signal.SIGKILL)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "Traceback" not in said
    assert "a worker of the data loader died, often for lack of memory" in said.splitlines()[-1]
    assert "pearl-train run --resume " in said.splitlines()[-1]
    wait_for(lambda: not living(running.pid), seconds=1)
