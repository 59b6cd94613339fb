"""True depth from files: 16-bit PNG, numpy arrays, disparity with its calibration.

What the numbers of a file are is said by the name of its array, its file or its folder, never
guessed from the values. Leaves out which file belongs to which picture (`frames.py`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pearl_tools.errors import BadInput

Measure = Literal["depth_m", "depth_mm", "disparity_px"]

#: Name of an array, or of the end of a file or folder -> what it holds.
NAMES: Final[dict[str, Measure]] = {
    "depth_m": "depth_m",
    "depth_mm": "depth_mm",
    "depth": "depth_m",
    "disparity": "disparity_px",
    "disp": "disparity_px",
}
SUFFIXES: Final = (".png", ".npz", ".npy")
_MIDDLEBURY = re.compile(r"^(cam0|doffs|baseline)\s*=\s*\[?\s*([-+.\deE]+)", re.MULTILINE)
_FIELDS: Final = ("focal_px", "baseline_mm", "offset_px")


class Calibration(NamedTuple):
    """A pair of cameras: depth = focal_px x baseline_mm / (disparity + offset_px), in mm.

    ``offset_px`` is the difference of the principal points' columns (Middlebury's ``doffs``).
    """

    focal_px: float
    baseline_mm: float
    offset_px: float = 0.0


def read_depth_m(
    path: Path, calibration: Calibration | None, *, png_per_m: float = 1000.0
) -> NDArray[np.float32]:
    """The true depth in metres, float32 (H, W), nan where it is not known.

    Args:
        path: a 16-bit grey PNG (0 = unknown), or an .npz or .npy of one map.
        calibration: for disparity; None asks for one beside the file (:func:`find_calibration`).
        png_per_m: what 1 m is in a PNG: 1000 for millimetres, 5000 for TUM's files.

    Raises:
        BadInput: unreadable, of unknown meaning, or disparity without a calibration.

    """
    measure, values = _from_png(path) if path.suffix == ".png" else _from_numpy(path)
    if values.ndim != 2 or values.size == 0:
        raise BadInput(f"{path}: expected a map (height, width), got shape {values.shape}")
    known = np.isfinite(values) & (values > 0)
    depth = np.full(values.shape, np.nan, np.float64)
    if measure == "disparity_px":
        camera = calibration or find_calibration(path)
        depth[known] = (
            camera.focal_px * camera.baseline_mm / 1000 / (values[known] + camera.offset_px)
        )
    elif path.suffix == ".png":
        depth[known] = values[known] / png_per_m
    else:
        depth[known] = values[known] / (1000 if measure == "depth_mm" else 1)
    return depth.astype(np.float32)


def read_calibration(text: str) -> Calibration:
    """The calibration that an option holds: ``focal_px=..,baseline_mm=..,offset_px=..`` or a file.

    >>> read_calibration("focal_px=995,baseline_mm=193")
    Calibration(focal_px=995.0, baseline_mm=193.0, offset_px=0.0)
    """
    if "=" in text and not Path(text).exists():
        pairs = dict(part.partition("=")[::2] for part in text.replace(" ", "").split(","))
        return _calibration(dict(pairs), "--calibration")
    return _calibration_file(Path(text))


def find_calibration(truth: Path) -> Calibration:
    """The calibration beside a disparity file: ``calib.txt`` as Middlebury writes it, or
    ``calibration.json``.
    """
    for name in ("calibration.json", "calib.txt"):
        for folder in (truth.parent, truth.parent.parent):
            if (folder / name).is_file():
                return _calibration_file(folder / name)
    raise BadInput(
        f"{truth}: disparity needs the cameras: pass --calibration "
        "focal_px=..,baseline_mm=..,offset_px=.., or put calibration.json or Middlebury's "
        "calib.txt beside it"
    )


def measure_of_name(path: Path) -> Measure | None:
    """What the end of the file's or the name of the folder's name says, or None."""
    for text in (path.stem.lower(), path.parent.name.lower()):
        for name, measure in NAMES.items():
            if text == name or text.endswith(f"_{name}"):
                return measure
    return None


def _calibration_file(path: Path) -> Calibration:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: expected a calibration, got {error}") from error
    if path.suffix == ".json":
        try:
            document = json.loads(text)
        except ValueError as error:
            raise BadInput(f"{path}: expected JSON, got {error}") from error
        return _calibration(document if isinstance(document, dict) else {}, str(path))
    names = {"cam0": "focal_px", "doffs": "offset_px", "baseline": "baseline_mm"}
    found = {names[name]: value for name, value in _MIDDLEBURY.findall(text)}
    return _calibration(found, str(path))


def _calibration(values: dict[str, object], where: str) -> Calibration:
    strange = sorted(set(values) - set(_FIELDS))
    missing = [name for name in _FIELDS[:2] if name not in values]
    try:
        numbers = {name: float(str(value)) for name, value in values.items()}
    except ValueError as error:
        raise BadInput(f"{where}: expected numbers, got {error}") from error
    if strange or missing or min(numbers["focal_px"], numbers["baseline_mm"]) <= 0:
        raise BadInput(
            f"{where}: expected {', '.join(_FIELDS)}, the first two above 0, got "
            f"{', '.join(f'{n}={v}' for n, v in values.items()) or 'nothing'}"
        )
    return Calibration(**numbers)


def _from_png(path: Path) -> tuple[Measure, NDArray[np.float64]]:
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise BadInput(f"{path}: expected a PNG, got a file that cannot be decoded")
    if values.dtype != np.uint16 or values.ndim != 2:
        raise BadInput(
            f"{path}: expected a 16-bit grey PNG of depth, got {values.dtype} {values.shape}; "
            "8 bits cannot hold millimetres, and colour pictures of depth cannot be read back"
        )
    if measure_of_name(path) == "disparity_px":
        raise BadInput(
            f"{path}: the scale of disparity in a PNG differs from set to set; save it in pixels "
            "as .npz under the name `disparity`"
        )
    return "depth_mm", values.astype(np.float64)


def _from_numpy(path: Path) -> tuple[Measure, NDArray[np.float64]]:
    try:
        stored = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"{path}: expected numpy arrays, got {error}") from error
    if isinstance(stored, np.ndarray):
        name, values = None, stored
    else:
        named = [key for key in stored.files if key in NAMES]
        if len(named) != 1 and len(stored.files) != 1:
            raise BadInput(
                f"{path}: expected one array, or one named {', '.join(NAMES)}; got "
                f"{', '.join(stored.files) or 'none'}"
            )
        name = (named or stored.files)[0]
        values = stored[name]
    measure = NAMES.get(name or "") or measure_of_name(path)
    if measure is None:
        raise BadInput(
            f"{path}: nothing says what its numbers are; name the array one of {', '.join(NAMES)}, "
            "or let the file's name end in _depth or _disp"
        )
    return measure, np.asarray(values, np.float64)
