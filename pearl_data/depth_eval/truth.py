"""True depth from files: 16-bit PNG, numpy arrays, PFM, and disparity with its calibration.

The unit comes from the names of the array, the file and the folder, never from the values.
``depth`` names no unit: another name may add one, else it means metres. Contradictory names are an
error; values that suggest another unit are a doubt. `frames.py` pairs files with pictures.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pearl_data.depth_eval.calibration import Calibration, find_calibration
from pearl_tools.containers import check_container
from pearl_tools.errors import BadInput
from pearl_tools.files import read_regular

Quantity = Literal["depth_m", "depth_mm", "disparity_px"]
#: Name of an array, or end of the name of a file or folder -> what it holds.
NAMES: Final[dict[str, Quantity]] = {
    "depth_m": "depth_m",
    "depth_mm": "depth_mm",
    "depth": "depth_m",
    "disparity": "disparity_px",
    "disp": "disparity_px",
    "disp0": "disparity_px",  # Middlebury's, of the left picture
}
POSSIBLE_M: Final = (1e-4, 1e6)
"""Depth outside is an error: a wrong unit, or an undeclared mark of unknown pixels."""
LIKELY_M: Final = (0.05, 1000.0)
"""A median depth outside is a doubt: metres read as millimetres, or the reverse."""
LARGEST_SHARE: Final = 0.01
"""From this share of pixels on, the largest integer (65535) is a doubt: a sensor's mark."""
_PFM: Final = re.compile(
    rb"(?P<kind>P[fF])\s+(?P<width>\d{1,6})\s+(?P<height>\d{1,6})\s+(?P<scale>[-+.\deE]+)(\r\n|\s)"
)


class Truth(NamedTuple):
    """True depth in metres, float32 (H, W), nan if unknown.

    ``below_0`` counts pixels with a negative value, which are unknown too. ``doubts`` are warnings
    about the unit and about marks of unknown pixels.
    """

    depth_m: NDArray[np.float32]
    below_0: int
    doubts: tuple[str, ...] = ()


def read_truth(path: Path, calibration: Calibration | None, *, png_per_m: float = 1000.0) -> Truth:
    """The true depth of a picture; values of 0, below 0 or not finite are unknown.

    Args:
        path: a 16-bit grey PNG, or an .npz, .npy or .pfm with one map.
        calibration: for disparity; None looks for a file (:func:`find_calibration`).
        png_per_m: the value of 1 m in a PNG: 1000 for millimetres, 5000 for TUM's files.

    Raises:
        BadInput: unreadable, of unknown or contradictory meaning, of impossible depth, or disparity
            without a calibration.

    """
    raw, array = _read(path)
    if raw.ndim != 2 or raw.size == 0:
        raise BadInput(
            f"{path}: expected one map (height, width), got shape {raw.shape}; remove further axes"
        )
    quantity = _quantity(path, array)
    values = raw.astype(np.float64)
    known = np.isfinite(values) & (values > 0)
    depth = np.full(values.shape, np.nan)
    with np.errstate(all="ignore"):  # an overflow is out of range, an error below
        if quantity == "disparity_px":
            depth[known] = _depth_of_disparity(path, values[known], calibration)
        else:
            per_m = {"depth_mm": 1000, "depth_m": 1}[quantity]
            depth[known] = values[known] / (png_per_m if _is_png(path) else per_m)
    least, most = POSSIBLE_M
    wrong = depth[known & ~((depth >= least) & (depth <= most))]
    if wrong.size:
        raise BadInput(
            f"{path}: expected depth between {least:g} and {most:g} m, got {wrong[0]:g} m "
            f"({wrong.size} of {known.sum()} known pixels are outside); check the unit, or mark "
            "unknown pixels as 0, nan or inf"
        )
    below_0 = int(np.count_nonzero(np.isfinite(values) & (values < 0)))
    return Truth(depth.astype(np.float32), below_0, tuple(_doubts(path, raw, depth)))


def may_be_disparity(path: Path) -> bool:
    """True if ``path`` holds disparity, or cannot be read."""
    try:
        return _quantity(path, _read(path)[1]) == "disparity_px"
    except (BadInput, OSError):
        return True


def _read(path: Path) -> tuple[NDArray[Any], str | None]:
    """The numbers in a file, and the name of their array."""
    data = read_regular(path)
    expected, parse = _FORMS[path.suffix.lower()]
    try:
        return parse(data)
    except Exception as error:
        got = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadInput(f"{path}: expected {expected}, got {got}") from error


def _png(data: bytes) -> tuple[NDArray[Any], None]:
    if not data.startswith(b"\x89PNG"):
        raise ValueError("another format")
    check_container(data)  # Pillow skips the checksums of the pixels
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        if not image.mode.startswith("I"):
            raise ValueError(f"mode {image.mode}; save the depth itself, not a picture of it")
        return np.asarray(image).astype(np.uint16), None


def _numpy(data: bytes) -> tuple[NDArray[Any], str | None]:
    if not data.startswith((b"\x93NUMPY", b"PK")):  # numpy takes anything else for a pickle
        raise ValueError("another format")
    stored, names = np.load(io.BytesIO(data), allow_pickle=False), [""]
    if not isinstance(stored, np.ndarray):
        with stored:
            names = [name for name in stored.files if name in NAMES] or stored.files
            stored = stored[names[0]] if len(names) == 1 else None
    if not isinstance(stored, np.ndarray) or stored.dtype.kind not in "fiu":
        raise ValueError(getattr(stored, "dtype", f"the arrays {', '.join(names) or 'none'}"))
    return stored, names[0]


def _pfm(data: bytes) -> tuple[NDArray[Any], None]:
    """Rows lie from the bottom up; a negative scale means little-endian."""
    head = _PFM.match(data)
    if head is None:
        raise ValueError(repr(data[:16]))
    width, height = int(head["width"]), int(head["height"])
    shape = (height, width) if head["kind"] == b"Pf" else (height, width, 3)
    got, expected = len(data) - head.end(), 4 * math.prod(shape)
    if got != expected:
        raise ValueError(f"{got} bytes instead of {expected} for {width}x{height} values")
    order = "<f4" if head["scale"].startswith(b"-") else ">f4"
    return np.frombuffer(data, order, offset=head.end()).reshape(shape)[::-1], None


_ARRAY: Final = f"one whole array of real numbers, not pickled, or one named {', '.join(NAMES)}"
#: Ending of a file -> what it must hold, and how to parse it.
_FORMS: Final[dict[str, tuple[str, Callable[[bytes], tuple[NDArray[Any], str | None]]]]] = {
    ".png": ("a whole 16-bit grey PNG", _png),
    ".npz": (_ARRAY, _numpy),
    ".npy": (_ARRAY, _numpy),
    ".pfm": ("a whole PFM (Pf, width, height, scale)", _pfm),
}
SUFFIXES: Final = tuple(_FORMS)


def _is_png(path: Path) -> bool:
    return path.suffix.lower() == ".png"


def _names(text: str) -> list[str]:
    """The one of :data:`NAMES` that ``text`` is, or ends in after ``_``, in any case; or none."""
    return [name for name in NAMES if f"_{text.lower()}".endswith(f"_{name}")]


def _quantity(path: Path, array: str | None) -> Quantity:
    """The quantity that the names of array and file, else that of the folder, declare."""
    is_png = _is_png(path)
    own = [*([array] if array in NAMES else []), *_names(path.stem)]
    names = own or _names(path.parent.name) or (["depth"] if is_png else [])
    if not names:
        raise BadInput(
            f"{path}: expected a name that says what its numbers are; name the array one of "
            f"{', '.join(NAMES)}, or end the file's name in _depth or _disp"
        )
    quantities = {NAMES[name] for name in names if name != "depth"} or {NAMES["depth"]}
    if len(quantities) > 1 or ("disparity_px" in quantities and "depth" in names):
        raise BadInput(
            f"{path}: expected an array and a file whose names agree, got the array {names[0]} in "
            f"a file of {names[1]}; rename the wrong one"
        )
    (quantity,) = quantities
    if is_png and quantity == "disparity_px":
        raise BadInput(
            f"{path}: expected depth in a PNG, got disparity, whose scale differs between sets; "
            "save it in pixels as .npz under the name disparity"
        )
    return quantity


def _depth_of_disparity(
    path: Path, values: NDArray[np.float64], calibration: Calibration | None
) -> NDArray[np.float64]:
    """Depth in metres; a point behind the cameras would count as nearest, so it is an error."""
    camera = calibration or find_calibration(path)
    shifted = values + camera.offset_px
    if wrong := int(np.count_nonzero(shifted <= 0)):
        raise BadInput(
            f"{path}: expected disparity + offset_px above 0, got {shifted.min():g} px (0 or less "
            f"in {wrong} of {values.size} known pixels) with offset_px={camera.offset_px:g}; check "
            "the calibration, or mark unknown pixels as 0 or inf"
        )
    return np.asarray(camera.focal_px * camera.baseline_mm / 1000 / shifted, np.float64)


def _doubts(path: Path, raw: NDArray[Any], depth_m: NDArray[np.float64]) -> Iterator[str]:
    known = depth_m[np.isfinite(depth_m)]
    median = float(np.median(known)) if known.size else LIKELY_M[0]
    if not LIKELY_M[0] <= median <= LIKELY_M[1]:
        yield (
            f"{path}: a median depth of {median:.3g} m suggests another unit; check --png-per-m, "
            "--calibration, or the names of array and file (depth_m, depth_mm)"
        )
    largest = np.iinfo(raw.dtype).max if raw.dtype.kind in "iu" else np.nan
    at_most = raw == largest
    if at_most.mean() >= LARGEST_SHARE:
        yield (
            f"{path}: {100 * at_most.mean():.0f} % of its pixels hold {largest}, the largest of "
            f"its type, read as {depth_m[at_most][0]:.3g} m; write 0 if it marks unknown pixels"
        )
