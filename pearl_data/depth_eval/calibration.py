"""A pair of cameras, which disparity needs to become depth: from an option or from a file.

Leaves out the disparity itself (`truth.py`).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from pearl_tools.errors import BadInput, UsageError
from pearl_tools.files import read_regular
from pearl_tools.strict_json import parse_json

FORM: Final = "focal_px=..,baseline_mm=..,offset_px=.."
LEAST_BASELINE_MM: Final = 1.0
"""No pair of cameras is as close as that; a number below is one in metres."""
_FIELDS: Final = ("focal_px", "baseline_mm", "offset_px")
_MIDDLEBURY: Final = {"cam0": "focal_px", "baseline": "baseline_mm", "doffs": "offset_px"}
#: The first number of the line: of a camera's matrix, its focal length.
_LINE: Final = re.compile(rf"^\s*({'|'.join(_MIDDLEBURY)})\s*=\s*\[?\s*([^\s;,\]]+)", re.MULTILINE)


class Calibration(NamedTuple):
    """A pair of cameras: depth = focal_px x baseline_mm / (disparity + offset_px), in mm.

    ``offset_px`` is the difference of the principal points' columns (Middlebury's ``doffs``).
    """

    focal_px: float
    baseline_mm: float
    offset_px: float = 0.0


def read_calibration(text: str) -> Calibration:
    """The calibration that an option holds: ``focal_px=..,baseline_mm=..,offset_px=..`` or a file.

    Raises:
        UsageError: neither the numbers nor a file that exists.
        BadInput: a file that holds no calibration.

    >>> read_calibration("focal_px=995,baseline_mm=193")
    Calibration(focal_px=995.0, baseline_mm=193.0, offset_px=0.0)

    """
    if os.path.exists(text):  # noqa: PTH110 - unlike Path.exists it bears names of any length
        return _calibration_file(Path(text))
    if "=" not in text:
        raise UsageError(f"--calibration: expected {FORM} or a file that exists, got {text!r}")
    parts = (part.partition("=") for part in text.split(","))
    try:
        return _calibration([(n.strip(), v.strip()) for n, _, v in parts], "--calibration")
    except BadInput as error:
        raise UsageError(str(error)) from error


def find_calibration(truth: Path) -> Calibration:
    """The calibration beside a disparity file: ``calib.txt`` as Middlebury writes it, or
    ``calibration.json``.

    Raises:
        BadInput: there is none, or it cannot be used.

    """
    for name in ("calibration.json", "calib.txt"):
        for folder in (truth.parent, truth.parent.parent):
            if (folder / name).is_file():
                return _calibration_file(folder / name)
    raise BadInput(
        f"{truth}: disparity needs the cameras: pass --calibration {FORM}, or put "
        "calibration.json or Middlebury's calib.txt beside it"
    )


def _calibration_file(path: Path) -> Calibration:
    try:
        text = read_regular(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: expected a calibration, got {error}") from error
    if path.suffix.lower() == ".json":
        document = parse_json(text, str(path))
        return _calibration(document.items() if isinstance(document, dict) else (), str(path))
    return _calibration([(_MIDDLEBURY[n], v) for n, v in _LINE.findall(text)], str(path))


def _calibration(given: Iterable[tuple[str, Any]], where: str) -> Calibration:
    pairs = list(given)
    values = dict(pairs)
    numbers = {name: _number(value) for name, value in values.items()}
    fits = (
        len(values) == len(pairs)
        and set(_FIELDS[:2]) <= set(values) <= set(_FIELDS)
        and all(math.isfinite(number) for number in numbers.values())
        and min(numbers["focal_px"], numbers["baseline_mm"]) > 0
    )
    if not fits:
        got = ", ".join(f"{name}={value}" for name, value in pairs)
        raise BadInput(
            f"{where}: expected {', '.join(_FIELDS)} once each (the last may be left out), finite "
            f"numbers, the first two above 0; got {got[:200] or 'nothing'}"
        )
    if numbers["baseline_mm"] < LEAST_BASELINE_MM:
        raise BadInput(
            f"{where}: expected baseline_mm of at least {LEAST_BASELINE_MM:g}, got "
            f"{numbers['baseline_mm']:g}; it is in millimetres: if these are metres, write "
            f"{1000 * numbers['baseline_mm']:g}"
        )
    return Calibration(**numbers)


def _number(value: Any) -> float:
    """Not-a-number for what is none, which is then refused like any other."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
