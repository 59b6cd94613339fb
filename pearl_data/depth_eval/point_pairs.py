"""Files of annotated point pairs: the nearer and the farther of two points of a picture.

- CSV with the columns `image,near_x,near_y,far_x,far_y`, and others, which are ignored;
- JSON, a list of `{"image": "a.jpg", "near": [x, y], "far": [x, y]}`;
- JSON lines (`.jsonl`) of these objects;
- JSON as DA-2K publishes it (arXiv 2406.09414): `{"a.jpg": [{"point1": [y, x], "point2": [y, x],
  "closer_point": "point1"}]}`.

Points are pixels of the upright picture from its top left corner. File names are relative to the
file of pairs, or to a given folder.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from pearl_data.depth_eval.calibration import as_float
from pearl_tools.errors import BadInput, ToolFailure
from pearl_tools.files import read_regular
from pearl_tools.media import open_image, read_file
from pearl_tools.strict_json import parse_json

COLUMNS: Final = ("near_x", "near_y", "far_x", "far_y")
FORMS: Final = (".csv", ".json", ".jsonl")
_Coordinate = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
_Point = tuple[_Coordinate, _Coordinate]
T = TypeVar("T")


class _Row(msgspec.Struct):
    image: Annotated[str, msgspec.Meta(min_length=1)]
    near: _Point
    far: _Point


class _Da2k(msgspec.Struct):
    point1: _Point
    point2: _Point
    closer_point: Literal["point1", "point2"]


class PointPair(NamedTuple):
    """Two points (x, y) in pixels, the nearer first; ``where`` is their row, for errors."""

    near: tuple[float, float]
    far: tuple[float, float]
    where: str


def holds_pairs(place: Path) -> bool:
    """True if ``place`` is a file of point pairs, not a folder or a picture."""
    return place.suffix.lower() in FORMS and place.is_file()


def read_point_pairs(path: Path, images: Path | None = None) -> dict[Path, list[PointPair]]:
    """The pairs of every picture, in the order of the file.

    Raises:
        BadInput: unreadable, an invalid row, fractions instead of pixels, or a missing picture; the
            message names the row.

    """
    try:
        text = read_regular(path).decode("utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise BadInput(f"{path}: expected text in UTF-8, got {error}") from error
    rows = {".csv": _csv, ".json": _json, ".jsonl": _json_lines}[path.suffix.lower()](path, text)
    pairs: dict[Path, list[PointPair]] = {}
    for name, pair in rows:
        pairs.setdefault((images or path.parent) / name, []).append(pair)
    if not pairs:
        raise BadInput(f"{path}: expected pairs of points, got none")
    _refuse_fractions([pair for found in pairs.values() for pair in found])
    # unlike Path.is_file, it bears names of any length
    absent = [image for image in pairs if not os.path.isfile(image)]  # noqa: PTH113
    if absent:
        raise BadInput(
            f"{pairs[absent[0]][0].where}: expected a picture, got no file {str(absent[0])[-99:]}, "
            f"as for {len(absent)} of {len(pairs)} pictures; correct the name, or pass --images"
        )
    return pairs


def check_points(pairs: Mapping[Path, Sequence[PointPair]]) -> None:
    """Check that all points lie in their pictures; measuring reports unreadable pictures.

    Raises:
        BadInput: the message names the first row outside and counts them.

    """
    for image, found in pairs.items():
        with suppress(ToolFailure, OSError):
            size = open_image(read_file(image), name=str(image)).facts
            wrong = [
                f"{pair.where}: expected points inside {image.name}, x from 0 to below "
                f"{size.width} and y from 0 to below {size.height}, got ({x:g}, {y:g})"
                for pair in found
                for x, y in (pair.near, pair.far)
                if not (0 <= x < size.width and 0 <= y < size.height)
            ]
            if wrong:
                raise BadInput(
                    f"{wrong[0]} ({len(wrong)} outside); check the order of x and y, and the size "
                    "of the picture"
                )


def _refuse_fractions(pairs: Sequence[PointPair]) -> None:
    """Fractions of width and height, read as pixels, would all lie in one corner."""
    values = [(value, pair.where) for pair in pairs for value in (*pair.near, *pair.far)]
    between = [(value, where) for value, where in values if 0 < value < 1]
    if between and all(0 <= value <= 1 for value, _ in values):
        value, where = between[0]
        raise BadInput(
            f"{where}: expected pixels, got {value:g}, and no coordinate of the file above 1; "
            "multiply x by the picture's width and y by its height"
        )


def _csv(path: Path, text: str) -> Iterator[tuple[str, PointPair]]:
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    try:
        names = [name.strip().lower() for name in reader.fieldnames or []]
        reader.fieldnames = names
        if not {"image", *COLUMNS} <= set(names) or len(set(names)) < len(names):
            raise BadInput(
                f"{path}: expected the columns image,{','.join(COLUMNS)} once each, separated by "
                f"commas, got {','.join(names)[:200] or 'none'}"
            )
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():  # csv's marks of too many and too few
                got = len([value for value in row.values() if value is not None])
                raise BadInput(f"{where}: expected {len(names)} values as in line 1, got {got}")
            points = [as_float(row[name]) for name in COLUMNS]
            values = {"image": row["image"].rstrip(), "near": points[:2], "far": points[2:]}
            yield _pair(_convert(values, _Row, where), where)
    except csv.Error as error:
        after = f"{path}, after line {reader.line_num}"
        raise BadInput(f"{after}: expected CSV, got {error}") from error


def _json(path: Path, text: str) -> Iterator[tuple[str, PointPair]]:
    document = parse_json(text, str(path))
    if isinstance(document, list):
        for number, row in enumerate(document):
            where = f"{path}[{number}]"
            yield _pair(_convert(row, _Row, where), where)
        return
    for image, rows in _convert(document, dict[str, Any], str(path)).items():
        for number, row in enumerate(rows if isinstance(rows, list) else [rows]):
            where = f"{path}: {image}[{number}]"
            found = _convert(row, _Da2k, where)
            near, far = found.point1[::-1], found.point2[::-1]  # the file has the row first
            near, far = (near, far) if found.closer_point == "point1" else (far, near)
            yield _pair(_Row(image=image, near=near, far=far), where)


def _json_lines(path: Path, text: str) -> Iterator[tuple[str, PointPair]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield _pair(_convert(parse_json(line, where), _Row, where), where)


def _convert(value: Any, kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        fields = getattr(kind, "__struct_fields__", ("a list of pairs or an object by picture",))
        got = str(value)[:120]
        raise BadInput(f"{where}: expected {', '.join(fields)}, got {got} ({error})") from error


def _pair(row: _Row, where: str) -> tuple[str, PointPair]:
    near, far = ((math.floor(x), math.floor(y)) for x, y in (row.near, row.far))
    if near == far:
        raise BadInput(
            f"{where}: expected points in two pixels, got both in pixel {near}; give pixels, not "
            "fractions of the picture"
        )
    return row.image, PointPair(row.near, row.far, where)
