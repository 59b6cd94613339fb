"""Modules of ``training/`` and the like, which are no packages: loaded by their file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def load_script(path: str, *, neighbours: bool = False) -> Any:
    """The module of a file, by its path in the repository.

    Known by its whole path, since the trainings of both networks have modules of the same names.
    With ``neighbours`` it may import those beside it, which are forgotten again afterwards.
    """
    name = path.removesuffix(".py").replace("/", "_")
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and named tuples look themselves up
    folder = (ROOT / path).parent
    if not neighbours:
        spec.loader.exec_module(module)
        return module
    sys.path.insert(0, str(folder))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
        for file in folder.glob("*.py"):
            sys.modules.pop(file.stem, None)
    return module
