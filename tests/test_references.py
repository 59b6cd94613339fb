"""Docstrings name modules and objects of ours; each of them must exist."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

FOLDERS = [Path(__file__).parents[1] / name for name in ("pearl_data", "tools/pearl_tools")]
FILES = [file for folder in FOLDERS for file in sorted(folder.rglob("*.py"))]
REFERENCE = re.compile(r":(?:mod|func|class|data|meth):`~?(pearl_(?:data|tools)[\w.]*)`")


@pytest.mark.parametrize("file", FILES, ids=lambda file: "/".join(file.parts[-2:]))
def test_what_docstrings_refer_to_exists(file: Path) -> None:
    for name in REFERENCE.findall(file.read_text(encoding="utf-8")):
        pkgutil.resolve_name(name)
