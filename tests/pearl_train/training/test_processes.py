"""Processes that cannot meet: one line that says which port, and how to get a free one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
CODE = """
from pearl_tools.errors import UsageError
from pearl_train.settings.config import Config
from pearl_train.training.processes import accelerator_for
try:
    accelerator_for(Config())
except UsageError as error:
    print(error)
"""


def test_a_port_in_use_is_named_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}/tools{os.pathsep}{ROOT}",
            "RANK": "0",
            "LOCAL_RANK": "0",
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        done = subprocess.run(
            [sys.executable, "-c", CODE],
            env=environment,
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr[-500:]
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"MASTER_PORT: expected a free port, got {port}")
    assert "torchrun --standalone" in line
