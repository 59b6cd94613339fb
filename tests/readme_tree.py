"""The list of modules: a line per file, from the file's own docstring, so that it stays true."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Characters of a line's words before they are cut at a comma or colon.
_LONGEST = 84
_PACKAGES = ("tools/pearl_tools", "pearl_data", "pearl_train", "training", "bench")


def tree() -> str:
    """One line per file of the packages."""
    lines = []
    for package in _PACKAGES:
        folders = sorted({path.parent for path in (ROOT / package).rglob("*.py")})
        for folder in folders:
            lines.append(f"{folder.relative_to(ROOT)}/")
            lines += [
                f"  {path.name:<40}{_first_words(path)}" for path in sorted(folder.glob("*.py"))
            ]
    return "\n".join(lines) + "\n"


def _first_words(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, f"{path}: expected a module docstring"
    sentence = re.split(r"(?<=[^A-Z.])\. |\.$", " ".join(docstring.split("\n\n")[0].split()))[0]
    if len(sentence) <= _LONGEST:
        return sentence
    return re.split(r"[;:] |, ", sentence)[0]
