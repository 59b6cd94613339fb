"""What a run says: a line that fits, the panel from step 0, and neither too often."""

from __future__ import annotations

import os
import pty
import re
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from toy_run import toy_config, toy_ingredients

from pearl_train.run.folder import RunFolder
from pearl_train.run.narrator import Narrator, panel_text
from pearl_train.run.training_line import TrainingLine, shown
from pearl_train.training.session import fit

VALUES = {"loss": 3.1971, "vlm": 2.104, "nextlat": 0.449, "jepa": 0.00123, "grad_norm": 3.0}
RATES = {"steps_per_s": 0.55, "tokens_per_s": 4873, "waiting_for_data": 0.034}
PANEL = {"gradient/vlm": 23.37, "gradient/jepa": 0.512, "samples": 16.0, "target_std": 0.497,
         "predicted_std": 0.431, "effective_rank": 10.437, "cosine": 0.707,
         "retrieval": 0.0625}  # fmt: skip
EVERYTHING = (
    "train 100/500 steps, 1.8 s/step, loss 3.197 (vlm 2.104, nextlat 0.449, jepa 0.0012), "
    "lr 0.00094, 4873 tokens/s, 3 % waiting for data, 12 min 0 s left"
)
BRIEF = "train 100/500, loss 3.20 (vlm 2.10, nextlat 0.45, jepa 0.0012)"


def line_of(seconds: float = 180) -> TrainingLine:
    line = TrainingLine(500, 0)
    line.values, line.rates = {**VALUES, "lr": 0.00094}, RATES
    line.done, line._start_s = 100, line._start_s - seconds
    return line


def test_a_log_has_everything() -> None:
    assert line_of().line() == EVERYTHING
    assert ", 2.0/s, " in line_of(50).line()


@pytest.mark.parametrize(
    ("columns", "shows"),
    [
        (160, EVERYTHING),
        (120, f"{BRIEF}, lr 0.00094, 4.9k tok/s, data 3 %, 12 min left"),
        (108, f"{BRIEF}, lr 0.00094, 4.9k tok/s, 12 min left"),
        (80, f"{BRIEF}, 12 min left"),
        (50, "train 100/500, loss 3.20, 12 min left"),
        (28, "train 100/500, loss 3.20"),
        (10, "train 100"),
    ],
)
def test_a_narrow_terminal_lacks_what_tells_least(
    monkeypatch: pytest.MonkeyPatch, columns: int, shows: str
) -> None:
    monkeypatch.setattr("pearl_train.run.training_line.terminal_columns", lambda: columns)
    line = line_of()
    line._terminal = True
    assert line.line() == shows
    assert len(line.line()) < columns


@pytest.mark.parametrize(("value", "text"), [(0, "0.000"), (12.3456, "12.346"), (1e-5, "1e-05")])
def test_values_are_short(value: float, text: str) -> None:
    assert shown(value) == text


def test_the_panel_is_said_in_words_that_fit() -> None:
    text = panel_text(0, PANEL)
    assert text == (
        "panel, step 0: target std 0.497, predicted std 0.431, effective rank 10.4, cosine 0.707, "
        "retrieval 0.06 (chance 0.06),\n  over 16 samples, gradient norms: vlm 23.4, jepa 0.512"
    )
    assert panel_text(0, {"gradient/vlm": 2.0}) == "panel, step 0: gradient norms: vlm 2"
    assert panel_text(0, {}) == ""


def test_the_panel_is_said_at_the_first_and_the_last_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(toy_ingredients(toy_config()), toy_config(), RunFolder(tmp_path / "run"))
    told = capsys.readouterr().err
    assert re.findall(r"^panel, step (\d+): target std", told, re.MULTILINE) == ["0", "11"]
    assert re.search(
        r"^train 12/12 steps, .* lr \S+, \d+ tokens/s, \d+ % waiting", told, re.MULTILINE
    )


def test_who_is_silent_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    narrator = Narrator(silent=True, progress=True)
    narrator.begin(2, 0)
    narrator.step(VALUES, RATES)
    narrator.panel(0, PANEL)
    narrator.note("a note")
    narrator.close()
    assert capsys.readouterr().err == ""


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> Iterator[int]:
    """stderr on a terminal of so many columns; what is written can be read from the number."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    with os.fdopen(slave, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        yield master
    os.close(master)


def test_on_a_terminal_one_line_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch, 60) as master:
        narrator = Narrator(silent=False, progress=True)
        narrator.begin(50, 0)
        for step in range(50):
            narrator.panel(step, PANEL if step == 0 else {})
            narrator.step(VALUES, RATES)
        narrator.close()
        written = ""
        while not written.endswith("\r\n") or "50/50" not in written:
            written += os.read(master, 65536).decode()
    *panel, live = written.split("\r\n")[:-1]
    assert "".join(panel).startswith("\r\x1b[Kpanel, step 0: target std 0.497")
    assert max(map(len, written.replace("\r\x1b[K", "\r\n").split("\r\n"))) <= 60
    assert live.count("\r\x1b[K") == 2, "at once and at the end, in the half second that this takes"
    assert live.rpartition("\x1b[K")[2].startswith("train 50/50, ")
