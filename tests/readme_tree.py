"""The README's tree: a line per file, said by the file's own docstring, so that it stays true."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: What has no docstring of its own.
_WORDS = {
    "Makefile": "demo test check fix schemas golden bench depth-model nano-model",
    "ARCHITECTURE.md": "the way of one sample, and what each word means",
    "CONTRIBUTING.md": "how to add a tool, a source, an expert, an objective",
    "CHANGELOG.md": "what a user can now do",
    "LAB_LOG.md": "what was measured, with command, commit and machine",
    "examples/demo.sh": "the main job, as `make demo` runs it",
    "examples/photos.coco.json": "annotations of scikit-image's photographs, made by looking",
    "schemas/": "the public JSON Schemas, written from the code",
    "tests/": "mirrors the packages; golden/ texts, drawn pictures, end to end, README, wheel",
}
#: Characters of a line's words before they are cut at a comma or colon.
_LONGEST = 84
_PACKAGES = ("tools/pearl_tools", "pearl_data", "pearl_train", "training", "bench")


def tree() -> str:
    """One line per file of the packages, and the words above for the rest."""
    lines = [f"{name:<42}{words}" for name, words in _WORDS.items()]
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
