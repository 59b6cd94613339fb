"""Files that say of two points of a picture which one is nearer.

Four forms, none of which leaves the order or the unit open:

- CSV with the columns `image,near_x,near_y,far_x,far_y` (others are ignored);
- JSON, a list of `{"image": "a.jpg", "near": [x, y], "far": [x, y]}`;
- JSON lines (`.jsonl`) of the same objects;
- JSON as DA-2K publishes it (arXiv 2406.09414): `{"a.jpg": [{"point1": [y, x], "point2": [y, x],
  "closer_point": "point1"}]}`.

Points are pixels of the upright picture, origin at the top left; file names are relative to the
file, or to the folder that the caller names. A file of which no coordinate is above 1 and any is a
fraction holds shares of width and height, and is refused: as pixels, all would lie in one corner.
"""

from __future__ import annotations

import csv
import io
import math
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from PIL import Image

from pearl_tools.errors import BadInput, ToolFailure
from pearl_tools.files import read_regular
from pearl_tools.media import open_image, read_file
from pearl_tools.strict_json import parse_json

COLUMNS: Final = ("near_x", "near_y", "far_x", "far_y")
FORMS: Final = (".csv", ".json", ".jsonl")
_ORIENTATION: Final = 0x0112
_ON_ITS_SIDE: Final = range(5, 9)
"""EXIF orientations of which width and height change places."""
#: What Pillow raises about damaged headers and EXIF.
_DAMAGED: Final = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    Image.DecompressionBombError,
)


class PointPair(NamedTuple):
    """Two points (x, y) in pixels; the first is the nearer one. ``where`` is the row that says so,
    as errors name it.
    """

    near: tuple[float, float]
    far: tuple[float, float]
    where: str


def holds_pairs(place: Path) -> bool:
    """Whether ``place`` is a file of point pairs rather than a folder or a picture."""
    return place.suffix.lower() in FORMS and place.is_file()


def read_point_pairs(path: Path, images: Path | None = None) -> dict[Path, list[PointPair]]:
    """The pairs of every picture, in the order of the file.

    Raises:
        BadInput: unreadable, a row that is not of a known form, or a picture that is not there;
            the message names the row.

    """
    try:
        text = read_regular(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{path}: expected text in UTF-8, got byte 0x{error.object[error.start]:02x} at "
            f"{error.start}; save it as UTF-8"
        ) from error
    except OSError as error:
        raise BadInput(f"{path}: {error}") from error
    rows = {".csv": _csv, ".json": _json, ".jsonl": _json_lines}[path.suffix.lower()](path, text)
    pairs: dict[Path, list[PointPair]] = {}
    for name, pair in rows:
        pairs.setdefault((images or path.parent) / name, []).append(pair)
    if not pairs:
        raise BadInput(f"{path}: expected pairs of points, found none")
    _refuse_shares(path, [pair for found in pairs.values() for pair in found])
    absent = [image for image in pairs if not _is_file(image, pairs[image][0].where)]
    if absent:
        raise BadInput(
            f"{pairs[absent[0]][0].where}: expected a picture, {absent[0]} is no file, like "
            f"{len(absent)} of {len(pairs)} pictures; {_remedy(absent[0], images)}"
        )
    return pairs


def check_points(pairs: Mapping[Path, Sequence[PointPair]]) -> None:
    """Refuses points beyond any of the pictures, of which only headers are read: before hours of
    work. Pictures that cannot be read are passed over; whoever measures them says why.

    Raises:
        BadInput: as :func:`check_inside`.

    """
    for image, found in pairs.items():
        size = _size_of_header(image)
        if size is None or not _beyond(found, *size):
            continue
        try:
            opened = open_image(read_file(image), name=str(image))  # a header is not all
        except (ToolFailure, OSError):
            continue
        check_inside(found, image, opened.facts.width, opened.facts.height)


def check_inside(pairs: Sequence[PointPair], image: Path, width: int, height: int) -> None:
    """Refuses points beyond ``image`` of ``width`` x ``height`` pixels.

    Raises:
        BadInput: the message names the first such row and counts the others.

    """
    wrong = _beyond(pairs, width, height)
    if not wrong:
        return
    where, name, (x, y) = wrong[0]
    rows = len({row for row, _, _ in wrong})
    others = f", as in {rows - 1} more of {len(pairs)} rows of this picture" if rows > 1 else ""
    raise BadInput(
        f"{where}: expected points inside {image.name}, x from 0 to below {width} and y from 0 to "
        f"below {height}, got {name} ({x:g}, {y:g}){others}; correct the row, or see whether x and "
        "y are swapped or the picture has another size than the one that was annotated"
    )


def _beyond(
    pairs: Sequence[PointPair], width: int, height: int
) -> list[tuple[str, str, tuple[float, float]]]:
    """Row, name and place of every point beyond a picture."""
    return [
        (pair.where, name, point)
        for pair in pairs
        for name, point in (("near", pair.near), ("far", pair.far))
        if not (0 <= point[0] < width and 0 <= point[1] < height)
    ]


def _size_of_header(image: Path) -> tuple[int, int] | None:
    """Width and height of the upright picture, None where they cannot be read.

    A PNG may have its EXIF behind the pixels; Pillow would read all of them to find it, and so it
    is not asked for.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of many pixels: none is decoded
        try:
            with Image.open(image) as opened:
                width, height = opened.size
                if opened.format == "PNG" and "exif" not in opened.info:
                    return width, height
                turned = opened.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
        except _DAMAGED:
            return None
    return (height, width) if turned else (width, height)


def _refuse_shares(path: Path, pairs: Sequence[PointPair]) -> None:
    """One pair may lie in the corner of a picture, and between pixels; all of a file do not."""
    between = None
    for pair in pairs:
        for value in (*pair.near, *pair.far):
            if not 0 <= value <= 1:
                return
            if between is None and 0 < value < 1:
                between = (pair.where, value)
    if between is not None:
        raise BadInput(
            f"{between[0]}: expected pixels, got {between[1]:g}, and no coordinate of {path.name} "
            "above 1: these are fractions of the picture; multiply x by its width and y by its "
            "height"
        )


def _is_file(image: Path, where: str) -> bool:
    try:
        return image.is_file()
    except OSError as error:  # a name that no file can have
        raise BadInput(
            f"{where}: expected the name of a picture, got {image.name[:60]!r}... of "
            f"{len(image.name)} characters: {error.strerror}; correct the name"
        ) from error


def _remedy(absent: Path, images: Path | None) -> str:
    beside = absent.parent.iterdir() if absent.parent.is_dir() else ()
    for path in beside:
        if path.name.lower() == absent.name.lower() and path.is_file():
            return f"correct the name, {path.name} is"
    if images:
        return f"--images {images} has no such file: name the folder that the names begin in"
    return "pass --images with their folder"


def _csv(path: Path, text: str) -> Iterator[tuple[str, PointPair]]:
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    try:
        names = [name.strip().lower() for name in reader.fieldnames or []]
        reader.fieldnames = names
        if not {"image", *COLUMNS} <= set(names):
            got = ",".join(names)
            hint = "; separate them by commas" if ";" in got or "\t" in got else ""
            raise BadInput(
                f"{path}: expected the columns image,{','.join(COLUMNS)}, got "
                f"{got[:200] or 'nothing'}{hint}"
            )
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise BadInput(f"{path}: expected every column once, got {', '.join(twice)} twice")
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            beyond = len(row.get(None, []))  # csv's key for the rest
            given = sum(row[name] is not None for name in names) + beyond
            if beyond or any(row[name] is None for name in ("image", *COLUMNS)):
                raise BadInput(f"{where}: expected {len(names)} values as in line 1, got {given}")
            near_x, near_y, far_x, far_y = (_number(row[n], f"{where}: {n}") for n in COLUMNS)
            name = _name(row["image"].rstrip(), where)
            yield name, _pair((near_x, near_y), (far_x, far_y), where)
    except csv.Error as error:
        raise BadInput(
            f"{path}, after line {reader.line_num}: expected CSV, got {error}"
        ) from error


def _json(path: Path, text: str) -> Iterator[tuple[str, PointPair]]:
    document = parse_json(text, str(path))
    if isinstance(document, list):
        for number, row in enumerate(document):
            yield _near_and_far(row, f"{path}[{number}]", ".")
        return
    if not isinstance(document, dict):
        raise BadInput(f"{path}: expected a list of pairs or an object by picture")
    for name, rows in document.items():
        for number, row in enumerate(rows if isinstance(rows, list) else [rows]):
            yield name, _da_2k(row, f"{path}: {name}[{number}]")


def _json_lines(path: Path, text: str) -> Iterator[tuple[str, PointPair]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield _near_and_far(parse_json(line, where), where, ": ")


def _near_and_far(row: Any, where: str, field: str) -> tuple[str, PointPair]:
    """The pair of an object; ``field`` stands between ``where`` and a field's name."""
    if not isinstance(row, dict) or not {"image", "near", "far"} <= set(row):
        raise BadInput(f"{where}: expected image, near and far, got {str(row)[:80]}")
    near = _point(row["near"], f"{where}{field}near")
    far = _point(row["far"], f"{where}{field}far")
    return _name(row["image"], where), _pair(near, far, where)


def _da_2k(row: Any, where: str) -> PointPair:
    closer = row.get("closer_point") if isinstance(row, dict) else None
    if closer not in ("point1", "point2") or not {"point1", "point2"} <= set(row):
        raise BadInput(
            f"{where}: expected point1, point2 and closer_point (point1 or point2), got "
            f"{str(row)[:80]}"
        )
    points = {}
    for name in ("point1", "point2"):
        y, x = _point(row[name], f"{where}.{name}")  # DA-2K writes the row first
        points[name] = (x, y)
    other = "point2" if closer == "point1" else "point1"
    return _pair(points[closer], points[other], where)


def _pair(near: tuple[float, float], far: tuple[float, float], where: str) -> PointPair:
    pixel = (math.floor(near[0]), math.floor(near[1]))
    if pixel == (math.floor(far[0]), math.floor(far[1])):
        raise BadInput(
            f"{where}: expected points in two pixels, got both in pixel {pixel}; correct the row, "
            "or turn fractions of the picture into pixels"
        )
    return PointPair(near, far, where)


def _point(value: Any, where: str) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise BadInput(f"{where}: expected two numbers, got {str(value)[:80]}")
    return _number(value[0], where), _number(value[1], where)


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise BadInput(f"{where}: expected the name of a picture, got {str(value)[:80]!r}")
    return value


def _number(value: Any, where: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise BadInput(f"{where}: expected a number, got {str(value)[:80]!r}")
    return number
