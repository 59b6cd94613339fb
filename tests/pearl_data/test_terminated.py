"""Ctrl-C and SIGTERM: status 130, a word, no traceback, within two seconds, from the beginning."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import ROOT, ended_by, hears, living, start, wait_for

from pearl_data.terminated import like_ctrl_c

COMMANDS: dict[str, list[str]] = {
    "synth": ["synth", "--tools", "crop,depth", "--out", "OUT", "--workers", "2"],
    "validate": ["validate", "OUT", "--replay"],
    "audit": ["audit", "HERE"],
    "show": ["show", "HERE"],
    "tools check": ["tools", "check", "depth"],
    "tools eval": ["tools", "eval", "depth", "HERE"],
    "run": ["run", "--data", "HERE", "--out", "OUT"],
    "doctor": ["doctor", "--data", "HERE"],
    "eval": ["eval", "nano", "--data", "HERE"],
    "compare": ["compare", "--data", "HERE", "--out", "OUT"],
}
OF_THE_TRAINER = ("run", "doctor", "eval", "compare")


def test_a_child_of_a_command_ends_as_without_us() -> None:
    with like_ctrl_c():
        child = os.fork()
        if not child:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("later_s", [0.0, 0.3])
def test_in_its_first_second_a_command_ends_with_a_word(
    name: str, later_s: float, tmp_path: Path
) -> None:
    words = [
        {"OUT": str(tmp_path / "out"), "HERE": str(tmp_path)}.get(w, w) for w in COMMANDS[name]
    ]
    number = signal.SIGTERM if later_s else signal.SIGINT
    process = start(*words, program="pearl_train" if name in OF_THE_TRAINER else "pearl_data")
    wait_for(lambda: hears(process))
    time.sleep(later_s)
    seconds, said = ended_by(process, number, group=True)
    # an empty folder may be refused sooner; the signal then meets a program that has ended
    refused = "failed: " in said or "error: " in said
    if process.returncode not in (1, 2) and not (refused and process.returncode == -number):
        assert process.returncode == 130, said
        assert said.splitlines()[-1].startswith("interrupted"), said
    assert "Traceback" not in said
    assert "Error" not in said
    assert seconds < 2
    assert not living(process.pid)


STUBBORN = """
import sys, time
from pearl_data.terminated import is_program, like_ctrl_c, on_interrupt, taking_time

def main():
    on_interrupt("interrupted; what was written stays")
    with like_ctrl_c(program=is_program(main)), {around}:
        ready = False
        while True:
            try:
                if not ready:
                    ready = True
                    print("ready", flush=True)
                time.sleep(60)
            except KeyboardInterrupt:  # as a library may do
                continue

main()
"""


def stubborn(around: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN.format(around=around)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_what_swallows_ctrl_c_ends_all_the_same() -> None:
    process = stubborn("like_ctrl_c()")
    seconds, said = ended_by(process, signal.SIGINT, group=False)
    assert process.returncode == 130
    assert said == "interrupted; what was written stays\n"
    assert 1 < seconds < 2.5


def test_what_takes_its_time_is_ended_by_a_second_signal() -> None:
    process = stubborn("taking_time()")
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2.5)
    seconds, said = ended_by(process, signal.SIGINT, group=False)
    assert process.returncode == 130
    assert said == "interrupted; what was written stays\n"
    assert seconds < 1


def test_a_command_started_in_the_background_of_a_shell_still_ignores_ctrl_c() -> None:
    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    process = start("tools", "check", "depth", preexec_fn=ignore)
    wait_for(lambda: hears(process))
    assert not hears(process, signal.SIGINT)
    assert ended_by(process, signal.SIGTERM, group=False)[0] < 2
    assert process.returncode == 130
