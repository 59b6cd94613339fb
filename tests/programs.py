"""Programs of the toolkit as processes of their own: started, signalled, and waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]


def start(*arguments: str, program: str = "pearl_data", **options: object) -> subprocess.Popen[str]:
    """The program in a session of its own, with what it says on stderr to be read."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/tools{os.pathsep}{ROOT}"}
    made: subprocess.Popen[str] = subprocess.Popen(  # type: ignore[call-overload]
        [sys.executable, "-m", f"{program}.cli.main", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )
    return made


def wait_for(there: Callable[[], object], *, seconds: float = 60) -> None:
    """Returns when something is there; fails if that takes longer than ``seconds``."""
    ends = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < ends, f"waited {seconds} s in vain"
        time.sleep(0.005)


def hears(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> bool:
    """If the process has a handler for a signal: Python itself has started then."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def living(session: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                state, _, _, its = place.joinpath("stat").read_text().rsplit(") ", 1)[1].split()[:4]
            except (OSError, ValueError):
                continue
            if int(its) == session and state != "Z":
                found.append(int(place.name))
    return found


def ended_by(
    process: subprocess.Popen[str], number: signal.Signals, *, group: bool
) -> tuple[float, str]:
    """Signals the process, or all of its group; the seconds until it ended and its stderr."""
    began = time.monotonic()
    if process.poll() is None:
        (os.killpg if group else os.kill)(process.pid, number)
    _, said = process.communicate(timeout=30)
    return time.monotonic() - began, said
