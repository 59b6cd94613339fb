"""The wheel holds everything that the programs need, and nothing of the working tree is used."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; it borrows third-party packages, never our sources.

    Paths that a ``.pth`` file adds are not searched for further ``.pth`` files, so the editable
    install of the working tree stays out.
    """
    folder = tmp_path_factory.mktemp("env")
    venv.create(folder, with_pip=True)
    subprocess.run(
        [folder / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--disable-pip-version-check", str(wheel)],
        check=True,
    )  # fmt: skip
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_the_installed_program_explains_itself(name: str, clean: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [clean / "bin" / name, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "Example:" in done.stdout


def test_the_installed_package_is_the_one_of_the_wheel(clean: Path, tmp_path: Path) -> None:
    code = (
        "import pearl_data, pearl_tools; print(pearl_data.__file__); print(pearl_tools.__file__);"
        "from pearl_tools.depth import load_depth_model; print(load_depth_model().model_id)"
    )
    done = subprocess.run(
        [clean / "bin/python", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    *files, model = done.stdout.splitlines()
    assert all(file.startswith(str(clean)) for file in files)
    assert model


def test_the_wheel_holds_weights_types_and_no_top_level_tools(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "pearl_tools/depth/weights/embedded.safetensors" in names
    assert {"pearl_tools/py.typed", "pearl_data/py.typed"} <= set(names)
    assert not [name for name in names if name.split("/")[0] in ("tools", "tests", "training")]
