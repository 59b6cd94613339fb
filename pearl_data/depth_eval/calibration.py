"""The stereo pair that turns disparity into depth, from an option or a file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from pearl_tools.errors import BadInput, UsageError
from pearl_tools.files import read_regular
from pearl_tools.strict_json import parse_json
from pearl_tools.types import Record

FORM: Final = "focal_px=..,baseline_mm=..,offset_px=.."
NAMES: Final = ("calibration.json", "calib.txt")
_MIDDLEBURY: Final = {"cam0": "focal_px", "baseline": "baseline_mm", "doffs": "offset_px"}
#: The first number of a line: of a camera's matrix, the focal length.
_LINE: Final = re.compile(rf"^\s*({'|'.join(_MIDDLEBURY)})\s*=\s*\[?\s*([^\s;,\]]+)", re.MULTILINE)


class Calibration(Record, frozen=True):
    """Two cameras: depth in mm = focal_px x baseline_mm / (disparity + offset_px).

    ``offset_px`` is the difference of the principal points' columns (Middlebury's ``doffs``). A
    baseline below 1 mm is an error: it was most likely given in metres.
    """

    focal_px: Annotated[float, msgspec.Meta(gt=0, le=1e9)]
    baseline_mm: Annotated[float, msgspec.Meta(ge=1, le=1e9)]
    offset_px: Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)] = 0.0


def read_calibration(text: str) -> Calibration:
    """The calibration in an option: ``focal_px=..,baseline_mm=..,offset_px=..`` or a file's name.

    Raises:
        UsageError: neither valid numbers nor an existing file.
        BadInput: a file without a valid calibration.

    >>> read_calibration("focal_px=995,baseline_mm=193")
    Calibration(focal_px=995.0, baseline_mm=193.0, offset_px=0.0)

    """
    if os.path.exists(text):  # noqa: PTH110 - unlike Path.exists it bears names of any length
        return _read(Path(text))
    parts = (part.partition("=") for part in text.split(","))
    try:
        return _convert([(name.strip(), value) for name, _, value in parts], "--calibration")
    except BadInput as error:
        raise UsageError(f"{error}, or name a file that exists") from error


def find_calibration(truth: Path) -> Calibration:
    """The ``calibration.json`` or Middlebury's ``calib.txt`` near a disparity file.

    Raises:
        BadInput: neither exists, or it is not valid.

    """
    folders = (truth.parent, truth.parent.parent)
    for path in (folder / name for name in NAMES for folder in folders):
        if path.is_file():
            return _read(path)
    raise BadInput(
        f"{truth}: expected a calibration for disparity, got none; pass --calibration {FORM}, or "
        f"put {' or '.join(NAMES)} beside the file"
    )


def as_float(text: Any) -> Any:
    """The number that ``text`` is, or ``text``, which a typed record then refuses."""
    try:
        return float(text) if isinstance(text, str) else text
    except ValueError:
        return text


def _read(path: Path) -> Calibration:
    try:
        text = read_regular(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: expected a calibration, got {error}") from error
    pairs = [(_MIDDLEBURY[name], value) for name, value in _LINE.findall(text)]
    if path.suffix.lower() == ".json":
        document = parse_json(text, str(path))
        pairs = list(document.items()) if isinstance(document, dict) else []
    return _convert(pairs, str(path))


def _convert(pairs: list[tuple[str, Any]], where: str) -> Calibration:
    values = {name: as_float(value) for name, value in pairs}
    reason = "a name occurs twice"
    try:
        if len(values) == len(pairs):
            return msgspec.convert(values, Calibration)
    except msgspec.ValidationError as error:
        reason = str(error)
    got = ", ".join(f"{name}={value}" for name, value in pairs)[:200] or "nothing"
    raise BadInput(f"{where}: expected {FORM} (the offset is optional), got {got} ({reason})")
