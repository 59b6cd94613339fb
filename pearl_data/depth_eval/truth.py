"""True depth from files: 16-bit PNG, numpy arrays, PFM, disparity with its calibration.

What the numbers of a file are is said by the names of its array and of its file, else of its
folder, never guessed from the values; values that look like another unit, or like a mark for "not
measured", are told, not changed. Array and file must not contradict each other: `depth` alone says
no unit, so that of the other holds (`x_depth_mm.npz` with an array `depth` holds millimetres), and
it is metres where neither says one; depth in a file of disparity, or millimetres in one of metres,
are refused. Leaves out which file belongs to which picture (`frames.py`).
"""

from __future__ import annotations

import io
import math
import re
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pearl_data.depth_eval.calibration import Calibration, find_calibration
from pearl_tools.containers import check_container
from pearl_tools.errors import BadInput
from pearl_tools.files import read_regular

Measure = Literal["depth_m", "depth_mm", "disparity_px"]

#: Name of an array, or of the end of a file or folder -> what it holds.
NAMES: Final[dict[str, Measure]] = {
    "depth_m": "depth_m",
    "depth_mm": "depth_mm",
    "depth": "depth_m",
    "disparity": "disparity_px",
    "disp": "disparity_px",
    "disp0": "disparity_px",  # Middlebury's, of the left picture
}
Floats = NDArray[np.float64]
SUFFIXES: Final = (".png", ".npz", ".npy", ".pfm")
NEAREST_M: Final = 1e-4
FARTHEST_M: Final = 1e6
"""Depth beyond these is a wrong unit or a mark for "unknown" that nobody has declared: refused."""
LIKELY_M: Final = (0.05, 1000.0)
"""Half of a picture nearer or farther than this is most likely metres taken for millimetres or the
reverse: told."""
LIKELY_AT_MOST: Final = 0.01
"""Where so large a share of pixels holds the largest number of its type, such as 65535, that may be
a sensor's mark for "not measured": told."""
_WORDS: Final[dict[Measure, str]] = {
    "depth_m": "depth in metres",
    "depth_mm": "depth in millimetres",
    "disparity_px": "disparity",
}
#: How .npy and .npz begin, also a .npz of nothing.
_NUMPY: Final = (b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")
_PFM: Final = re.compile(
    rb"(?P<kind>P[fF])\s+(?P<width>\d{1,6})\s+(?P<height>\d{1,6})\s+(?P<scale>[-+.\deE]+)(\r\n|\s)"
)
#: What numpy and its helpers raise about damaged files (tokenize: headers; zlib: archives).
_DAMAGED: Final = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    SyntaxError,
    OverflowError,
    MemoryError,
    RecursionError,
    RuntimeError,
    NotImplementedError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


class Truth(NamedTuple):
    """True depth in metres, float32 (H, W), nan where it is not known; ``below_0`` counts pixels
    that are unknown because their depth or disparity is a number below 0; ``doubts`` say why the
    unit looks wrong, and what sets it, and that many pixels may not have been measured.
    """

    depth_m: NDArray[np.float32]
    below_0: int
    doubts: tuple[str, ...] = ()


class _Stored(NamedTuple):
    """The numbers of a file and what they are (of a PNG in a unit that the caller says); ``array``
    is their name in it, ``most`` the largest number that their type holds, None of fractions.
    """

    measure: Measure
    values: Floats
    array: str | None = None
    most: int | None = None


def read_truth(path: Path, calibration: Calibration | None, *, png_per_m: float = 1000.0) -> Truth:
    """The true depth of a picture: what is 0, below 0 or not finite is not known.

    Args:
        path: a 16-bit grey PNG (0 = unknown), or an .npz, .npy or .pfm of one map.
        calibration: for disparity; None asks for one beside the file (:func:`find_calibration`).
        png_per_m: what 1 m is in a PNG: 1000 for millimetres, 5000 for TUM's files.

    Raises:
        BadInput: unreadable, of unknown meaning, of an array and a file whose names contradict each
            other, or disparity without a calibration.

    """
    with np.errstate(all="ignore"):  # what overflows is out of range, and refused below
        if path.suffix.lower() == ".png":
            stored = _from_png(path)
        elif path.suffix.lower() == ".pfm":
            stored = _from_pfm(path)
        else:
            stored = _from_numpy(path)
        measure, values = stored.measure, stored.values
        if values.ndim != 2 or values.size == 0:
            raise BadInput(
                f"{path}: expected a map (height, width), got shape {values.shape}; "
                "save one map without further axes"
            )
        known = np.isfinite(values) & (values > 0)
        depth = np.full(values.shape, np.nan, np.float64)
        if measure == "disparity_px":
            depth[known] = _of_disparity(path, values[known], calibration)
        else:
            is_png = path.suffix.lower() == ".png"
            per_m = png_per_m if is_png else 1000 if measure == "depth_mm" else 1
            depth[known] = values[known] / per_m
    _check_range(path, depth[known])
    below_0 = int(np.count_nonzero(np.isfinite(values) & (values < 0)))
    doubts = (_doubt(path, stored, depth[known], png_per_m), _doubt_of_most(path, stored, depth))
    return Truth(depth.astype(np.float32), below_0, tuple(doubt for doubt in doubts if doubt))


def measure_of_name(path: Path) -> Measure | None:
    """What the end of the file's name or, without one, of the folder's name says, or None."""
    name = _end_of(path.stem) or _end_of(path.parent.name)
    return NAMES[name] if name else None


def _end_of(text: str) -> str | None:
    """The one of :data:`NAMES` that ``text`` is or ends in, in capitals or not."""
    lower = text.lower()
    return next((name for name in NAMES if lower == name or lower.endswith(f"_{name}")), None)


def _of_disparity(path: Path, values: Floats, calibration: Calibration | None) -> Floats:
    """Depth in metres; refuses what would lie behind the cameras and so count as nearest."""
    camera = calibration or find_calibration(path)
    shifted = values + camera.offset_px
    wrong = int(np.count_nonzero(shifted <= 0))
    if wrong:
        raise BadInput(
            f"{path}: expected disparity + offset_px above 0, got {shifted.min():g} px and below "
            f"or at 0 in {wrong} of {values.size} known pixels, with offset_px={camera.offset_px:g}"
            "; check the calibration, or mark pixels without depth as 0 or inf"
        )
    return np.asarray(camera.focal_px * camera.baseline_mm / 1000 / shifted, np.float64)


def _check_range(path: Path, depth_m: Floats) -> None:
    wrong = ~((depth_m >= NEAREST_M) & (depth_m <= FARTHEST_M))
    if wrong.any():
        raise BadInput(
            f"{path}: expected depth between {NEAREST_M:g} and {FARTHEST_M:g} m, got "
            f"{depth_m[wrong][0]:g} m and others beyond in {np.count_nonzero(wrong)} of "
            f"{depth_m.size} known pixels; check the unit, or mark unknown pixels as 0, nan or inf"
        )


def _doubt(path: Path, stored: _Stored, depth_m: Floats, png_per_m: float) -> str | None:
    """What to say of a median depth that no ordinary picture has; None of any other."""
    if not depth_m.size:
        return None
    median = float(np.median(depth_m))
    if LIKELY_M[0] <= median <= LIKELY_M[1]:
        return None
    if stored.measure == "disparity_px":
        remedy = "check focal_px and baseline_mm (in millimetres) of --calibration"
    elif path.suffix.lower() == ".png":
        remedy = f"1 m is taken to be {png_per_m:g} in a PNG: say what it is with --png-per-m"
    else:
        now, other = ("mm", "m") if stored.measure == "depth_mm" else ("m", "mm")
        remedy = (
            f"its numbers are taken for {now}: if they are {other}, name {_naming(path, stored)} "
            f"depth_{other}"
        )
    return f"{path}: a median depth of {median:.3g} m looks like another unit; {remedy}"


def _naming(path: Path, stored: _Stored) -> str:
    """Which names have to change for another unit: those that say the present one, or any."""
    by_array = stored.array in ("depth_m", "depth_mm")
    by_file = _end_of(path.stem) in ("depth_m", "depth_mm")
    if by_array and by_file:
        return "the array and the end of the file"
    return "the array" if stored.array and not by_file else "the end of the file"


def _doubt_of_most(path: Path, stored: _Stored, depth_m: Floats) -> str | None:
    """What to say of pixels that hold the largest number, where they are more than a few."""
    at_most = stored.values == stored.most
    count = int(np.count_nonzero(at_most))
    if stored.most is None or count < max(1, LIKELY_AT_MOST * at_most.size):
        return None
    return (
        f"{path}: {100 * count / at_most.size:.0f} % of its pixels hold {stored.most}, the largest "
        f"number of their type, and are taken for {depth_m[at_most][0]:.3g} m; if that says that "
        "nothing was measured there, write 0 instead, which is unknown"
    )


def _from_png(path: Path) -> _Stored:
    try:
        data = read_regular(path)
        check_container(data)  # Pillow skips the checksums of the pixels
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            mode, size, values = image.mode, image.size, np.asarray(image)
    except (*_DAMAGED, Image.DecompressionBombError) as error:
        raise BadInput(f"{path}: expected a whole PNG, got {_reason(error)}") from error
    if not mode.startswith("I"):
        raise BadInput(
            f"{path}: expected a 16-bit grey PNG of depth, got mode {mode} of {size[0]}x{size[1]}; "
            "8 bits cannot hold millimetres, and colour pictures of depth cannot be read back"
        )
    if measure_of_name(path) == "disparity_px":
        raise BadInput(
            f"{path}: the scale of disparity in a PNG differs from set to set; save it in pixels "
            "as .npz under the name `disparity`"
        )
    return _Stored("depth_m", values.astype(np.float64), most=65535)


def _from_numpy(path: Path) -> _Stored:
    data = read_regular(path)
    if not data.startswith(_NUMPY):  # numpy takes anything else for a pickle
        raise BadInput(
            f"{path}: expected numpy arrays of numbers, got a file that is neither .npy nor .npz; "
            "save the map again with numpy.save or numpy.savez"
        )
    try:
        stored = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(stored, np.ndarray):
            name, values = None, stored
        else:
            with stored:
                name = _name_of_map(path, stored.files)
                values = stored[name]
    except _DAMAGED as error:
        raise BadInput(
            f"{path}: expected numpy arrays of numbers, got {_reason(error)}; save the map again "
            "with numpy.savez"
        ) from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        got = values.dtype if isinstance(values, np.ndarray) else "a member that is no array"
        raise BadInput(f"{path}: expected real numbers, got {got}; save the map as float32")
    most = None if values.dtype.kind == "f" else int(np.iinfo(values.dtype).max)
    return _Stored(_measure(path, name), values.astype(np.float64), name, most)


def _from_pfm(path: Path) -> _Stored:
    """Rows lie from the bottom up; a scale below 0 means that the low byte comes first."""
    data = read_regular(path)
    head = _PFM.match(data)
    if head is None:
        raise BadInput(f"{path}: expected a PFM (Pf, width, height, scale), got {data[:16]!r}")
    width, height = int(head["width"]), int(head["height"])
    shape = (height, width) if head["kind"] == b"Pf" else (height, width, 3)
    if len(data) - head.end() != 4 * math.prod(shape):
        raise BadInput(
            f"{path}: expected {4 * math.prod(shape)} bytes of values for {width}x{height}, got "
            f"{len(data) - head.end()}; fetch the file again"
        )
    order = "<f4" if head["scale"].startswith(b"-") else ">f4"
    values = np.frombuffer(data, order, offset=head.end()).reshape(shape)[::-1]
    return _Stored(_measure(path, None), values.astype(np.float64))


def may_be_disparity(path: Path) -> bool:
    """Whether a file may hold disparity; what cannot be read may hold anything."""
    names: list[str] = []
    if path.suffix.lower() == ".npz":
        try:
            with np.load(path, allow_pickle=False) as stored:
                names = [name for name in stored.files if name in NAMES]
        except _DAMAGED:
            return True
    own = _end_of(path.stem)  # also where an array contradicts it, which is told on reading
    names += [own] if own else []
    if names:
        return any(NAMES[name] == "disparity_px" for name in names)
    return measure_of_name(path) == "disparity_px"


def _measure(path: Path, array: str | None) -> Measure:
    """What an array of this name holds in this file; a name that says a unit decides over `depth`,
    which says none.
    """
    of_array = array if array in NAMES else None
    of_file = _end_of(path.stem)
    said = [name for name in (of_array, of_file) if name]
    measures = {NAMES[name] for name in said if name != "depth"}
    if len(measures) > 1 or ("disparity_px" in measures and "depth" in said):
        first, second = (f"`{name}` ({_WORDS[NAMES[name]]})" for name in said)
        raise BadInput(
            f"{path}: expected the names of its array and of the file to say the same, got the "
            f"array {first} in a file that ends in {second}; rename the one that is wrong"
        )
    measure = measures.pop() if measures else NAMES["depth"] if said else measure_of_name(path)
    if measure is None:
        raise BadInput(
            f"{path}: nothing says what its numbers are; name the array one of {', '.join(NAMES)}, "
            "or let the file's name end in _depth or _disp"
        )
    return measure


def _name_of_map(path: Path, names: list[str]) -> str:
    named = [name for name in names if name in NAMES]
    if len(named) != 1 and len(names) != 1:
        raise BadInput(
            f"{path}: expected one array, or one named {', '.join(NAMES)}; got "
            f"{', '.join(names) or 'none'}"
        )
    return (named or names)[0]


def _reason(error: BaseException) -> str:
    """The error in one line, without the advice to unpickle and without addresses in memory."""
    if isinstance(error, UnidentifiedImageError):
        return "something else"
    if "pickle" in str(error):
        return "pickled objects, which are never loaded"
    return " ".join(str(error).split())[:200] or type(error).__name__
