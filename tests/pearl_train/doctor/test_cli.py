"""``pearl-train doctor``: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pearl_train.cli.doctor import doctor
from pearl_train.doctor.page import PAGE, REPORT, SHEET


@pytest.fixture
def run(tiny_folder: Callable[[str], Path], tiny_data: Path) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        model = str(tiny_folder("fast_vlm"))
        chosen = ["--set", "optim.lr=5e-3", "--set", "optim.batch=4"]
        base = ["--data", str(tiny_data), "--model", model, *chosen, "--samples", "4"]
        return CliRunner().invoke(doctor, [*base, *arguments], catch_exceptions=False)

    return run


def test_it_prints_a_line_per_check_and_writes_what_there_is_to_see(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    result = run("--out", str(tmp_path / "look"))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert any(line.startswith("pass  overfit") for line in lines)
    assert any(line.strip().startswith("answer     * Answer: ") for line in lines)
    assert any(line.startswith("ready to train: ") for line in lines)
    written = tmp_path / "look"
    assert {path.name for path in written.iterdir()} == {REPORT, PAGE, SHEET}
    report = json.loads((written / REPORT).read_text())
    assert all(check["status"] == "pass" for check in report["checks"])
    with Image.open(written / SHEET) as sheet:
        assert sheet.width > 100
    page = (written / PAGE).read_text()
    assert '<i class="learned">' in page
    assert "<|pred_4|>" not in page
    assert "&lt;|pred_4|&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page


def test_json_is_all_of_stdout_and_a_wrong_split_exits_2(run: Callable[..., Result]) -> None:
    result = run("--json", "--set", "data.split=dev")
    assert result.exit_code == 2
    report: dict[str, Any] = json.loads(result.stdout)
    assert report["checks"][0] | {"seconds": 0} == {
        "check": "data",
        "status": "fail",
        "told": report["checks"][0]["told"],
        "remedy": "name, with --data, a folder that pearl-data synth wrote, and a split that it "
        "holds",
        "lines": [],
        "figures": {},
        "seconds": 0,
        "misuse": True,
    }
