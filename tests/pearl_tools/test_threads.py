"""Threads that wait let other jobs run, unless the user chose otherwise, before torch is there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from programs import ROOT

PROGRAM = """
import os, sys
sys.argv = ["program", "--help"]
from {program}.cli.main import main
try:
    main()
except SystemExit:
    print(os.environ["OMP_WAIT_POLICY"], "torch" in sys.modules)
"""


@pytest.mark.parametrize("program", ["pearl_data", "pearl_train"])
@pytest.mark.parametrize(("chosen", "held"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_a_program_waits_passively_unless_told_otherwise(
    program: str, chosen: str | None, held: str
) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/tools{os.pathsep}{ROOT}"}
    environment.pop("OMP_WAIT_POLICY", None)
    if chosen:
        environment["OMP_WAIT_POLICY"] = chosen
    command = [sys.executable, "-c", PROGRAM.format(program=program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{held} False"
