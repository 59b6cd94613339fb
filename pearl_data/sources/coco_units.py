"""Check that the boxes of an annotation file are [x, y, width, height] in pixels.

The check needs the whole file: a single box of fractions or corners looks valid. Not here: checks
of a single box (:mod:`.coco`).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from pearl_tools.errors import BadInput

#: Another unit is certain if at least this share of the boxes fits it, and at most that fits ours.
_NEARLY_ALL, _TOO_FEW = 0.95, 0.9
#: An order that is read off the places of boxes alone fits nearly every one, of so many or more.
_ALL, _SOME, _MANY = 0.98, 10, 20
_UNITS = """
    SELECT count(*), count(width),
        total(max(abs(x), abs(y), w, h) <= 1),
        total(width > 0 AND x >= -1 AND y >= -1 AND x + w <= width + 1 AND y + h <= height + 1),
        total(width > 0 AND x >= -1 AND y >= -1 AND w > x AND h > y AND w <= width + 1
            AND h <= height + 1),
        total(abs(area - w * h) <= 0.02 * area),
        total(abs(area - (w - x) * (h - y)) <= 0.02 * area),
        total(width > 0 AND min(x - w / 2, y - h / 2) >= -1 AND x + w / 2 <= width + 1
            AND y + h / 2 <= height + 1),
        total(width > 0 AND x >= -1 AND y >= -1 AND y + h <= width + 1 AND x + w <= height + 1),
        total(min(x, y) >= 0 AND max(x + w, y + h) <= 100 AND min(width, height) >= 300),
        total(abs(area - w * h * width * height / 10000) <= 0.02 * area)
    FROM annotation JOIN image ON image.key = annotation.image WHERE w > 0 AND h > 0
"""


def check_units(db: sqlite3.Connection, path: Path) -> None:
    """Raise ``BadInput`` if the file's boxes are not [x, y, width, height] in pixels."""
    (boxes, known, fractions, fit, corners, area_fits, area_corners, centred, swapped, percent,
     area_percent) = db.execute(_UNITS).fetchone()  # fmt: skip
    got = ""
    if boxes and fractions >= _NEARLY_ALL * boxes:
        got = f"fractions: {fractions:.0f} of {boxes} boxes lie within 0..1"
        hint = "multiply x and width by the picture's width, y and height by its height"
    elif (
        boxes
        and area_fits < boxes / 2
        and (
            (corners >= _NEARLY_ALL * known and fit <= _TOO_FEW * known and known)
            or area_corners >= _NEARLY_ALL * boxes
        )
    ):
        got = (
            f"corners [x0, y0, x1, y1]: read so, {corners:.0f} of {known} boxes lie in their "
            f"pictures and {area_corners:.0f} have the area that the file says; read as "
            f"[x, y, width, height], {fit:.0f} and {area_fits:.0f}"
        )
        hint = "write x1 - x0 and y1 - y0 as width and height"
    elif percent >= _NEARLY_ALL * boxes > 0 and (
        area_percent >= _NEARLY_ALL * boxes or boxes >= _MANY
    ):
        got = (
            f"percent: {percent:.0f} of {boxes} boxes lie within 0..100 of much larger pictures, "
            f"and {area_percent:.0f} have the area that the file says only if read so"
        )
        hint = "multiply x and width by the picture's width / 100, y and height by its height / 100"
    elif known >= _SOME and fit <= _TOO_FEW * known:
        ours = f"; read as [x, y, width, height], {fit:.0f}"
        if centred >= _ALL * known:
            got = f"centres [cx, cy, width, height]: read so, {centred:.0f} of {known} boxes lie"
            got += f" in their pictures{ours}"
            hint = "write cx - width / 2 and cy - height / 2 as x and y"
        elif swapped >= _ALL * known:
            got = f"[y, x, height, width]: read so, {swapped:.0f} of {known} boxes lie in their"
            got += f" pictures{ours}"
            hint = "write x before y and width before height, of boxes or, if these are swapped, of"
            hint += " images[]"
        elif fit < known / 2:
            got = (
                f"another unit or other pictures: {fit:.0f} of {known} boxes lie in their pictures"
            )
            hint = "write the boxes in pixels of the pictures, and give those that were annotated"
    if got:
        raise BadInput(
            f"{path}: annotations[].bbox: expected [x, y, width, height] in pixels, got "
            f"{got} [geometry.wrong_unit]; {hint}"
        )
