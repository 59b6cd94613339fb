"""What the README tells people to type works, in the order in which it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from readme_tree import tree

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MODULES = ROOT / "docs" / "modules.md"


def blocks(language: str) -> list[str]:
    """The fenced blocks of ``language``, in order; every fence either opens or closes one."""
    parts = re.split(r"^```(.*)\n", README, flags=re.MULTILINE)
    return [body for name, body in zip(parts[1::4], parts[2::4], strict=True) if name == language]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder in which the README's shell lines have been run."""
    place = tmp_path_factory.mktemp("readme")
    script = 'set -eu\npearl-data() { "$PYTHON" -m pearl_data.cli.main "$@"; }'
    script += '\npearl-train() { "$PYTHON" -m pearl_train.cli.main "$@"; }'
    script = "\n".join([script, *blocks("sh")])
    done = subprocess.run(
        ["bash", "-c", script], cwd=place, env=environment(place), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place


def environment(place: Path) -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT / "tools"), str(ROOT)])
    return {
        **os.environ,
        "PYTHONPATH": paths,
        "PYTHON": sys.executable,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(place / "cache"),
    }


def test_the_shell_lines_make_what_they_say(folder: Path) -> None:
    made = ["scenes/manifest.jsonl", "calls.parquet", "audit.html", "look/trajectory.png"]
    for name in [*made, "run/curves.png", "run/model/model.safetensors"]:
        assert (folder / name).stat().st_size > 0
    assert list((folder / "view").iterdir())


@pytest.mark.parametrize("block", blocks("python"))
def test_the_python_lines_run(folder: Path, block: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=folder, env=environment(folder), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_the_list_of_modules_has_a_line_for_every_file() -> None:
    """``make golden`` writes the list anew."""
    text = f"# Modules\n\nA line per file, from its own docstring.\n\n```\n{tree()}```\n"
    if os.environ.get("PEARL_REFRESH_GOLDEN"):
        MODULES.write_text(text)
    assert MODULES.read_text() == text


def test_nothing_is_left_to_be_filled_in() -> None:
    assert not re.findall(r"@[A-Z]+@", README)


def test_the_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)h][^)]*)\)", README):
        assert (ROOT / target).exists(), target
