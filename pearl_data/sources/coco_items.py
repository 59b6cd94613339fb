"""One item of a COCO file as a small record: ids become text, null counts as absent.

Fields that are not used are not checked (NaN as an area is accepted). Not here: checks that need
the whole file, such as references between ids.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections import Counter
from typing import Any, Final

import msgspec

from pearl_data.sources.attributes import Attributes
from pearl_data.sources.facts import fold
from pearl_data.sources.kinds import BROADER, NARROWER, id_text
from pearl_tools.errors import ToolError, tool_error

#: The fields read from the items of each list, compared folded; others are not decoded.
_READ: Final = {
    "images": (
        "id", "file_name", "coco_url", "path", "image_path", "width", "height", "license",
        "not_exhaustive_category_ids", "neg_category_ids",
    ),
    "annotations": (
        "id", "image_id", "category_id", "bbox", "area", "attributes", "description", "depth_rank",
        "keypoints", "segments_info", "extra", "tags", "flags",
    ),
    "categories": ("id", "name", "keypoints", "isthing", "synonyms", *BROADER, *NARROWER),
    "licenses": ("id", "name", "url"),
}  # fmt: skip
#: Folded names of flags that make a box a group, or one that does not count.
_GROUP: Final = frozenset({
    "iscrowd", "crowd", "isgroupof", "groupof", "isgroup", "ignore", "isignore", "ignored",
    "difficult", "isdepiction", "depiction", "isfake", "fake", "isreflected", "isreflection",
    "reflection", "dontcare", "ignoreregion", "ignoredregion", "isignored",
})  # fmt: skip
#: A longer side is wrong.
_LONGEST_SIDE: Final = 2**31
_FALSE: Final = ("", "0", "0.0", "false", "no", "none", "null", "n")
_STRING = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"(\s*:)?', re.DOTALL)


class ImageEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item of ``images``; an absent ``width`` or ``height`` is None. ``path`` is the picture's
    path below ``--images``, ``file`` identifies the file; ``fault`` is the error if there is none.
    """

    position: int
    id: str
    name: str | None = None
    width: int | None = None
    height: int | None = None
    licence: str | None = None
    partial: list[str] = []
    absent: list[str] | None = None
    path: str | None = None
    file: str | None = None
    fault: ToolError | None = None


class Annotation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item of ``annotations``. ``bbox`` is as written, or four finite floats if ``numbers``.
    ``category`` is None if the id is invalid; ``fault`` is the error that makes the item unusable.
    """

    position: int
    image: str
    category: str | None = None
    id: int | float | str | None = None
    bbox: Any = None
    numbers: bool = False
    area: float | None = None
    group: bool = False
    attributes: dict[str, str] = {}
    description: str | None = None
    rank: float | None = None
    keypoints: list[float] | None = None
    fault: ToolError | None = None


def read_item(text: bytes, where: str, index: int) -> tuple[dict[str, Any], ToolError | None]:
    """(fields that are used, error or None) of item ``index`` of the list ``where``.

    Errors: invalid JSON, another encoding, a duplicate key, not an object. If the item repeats a
    key, ``image_id`` is a list of all pictures that it may belong to.
    """
    path = f"{where}[{index}]"
    fault: ToolError | None = None
    try:
        parts = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        fields = {
            name: msgspec.json.decode(part)
            for key, part in parts.items()
            if (name := _read_as(key, where)) is not None
        }
        if where == "annotations" and not fields.get("bbox") and "segmentation" in parts:
            fields["segmentation"] = msgspec.json.decode(parts["segmentation"])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        fields, fault = _leniently(text, where, path, str(error))
    keys = [key for key, colon in _STRING.findall(text) if colon]
    if fault is None and (len(set(keys)) < len(keys) or b"\\" in text):
        twice: list[tuple[str, Any]] = []
        _loads(text, twice)
        if twice:
            names = Counter(key for key, _ in twice)
            got = f"{names.most_common(1)[0][0]!r} twice in one object"
            fault = tool_error("parse.duplicate_key", path, "every key once", got)
            images = [v for key, v in twice if _read_as(key, where) == "image_id"]
            fields["image_id"] = _writable(images)[0] or fields.get("image_id")
    return fields, fault


def _leniently(
    text: bytes, where: str, path: str, problem: str
) -> tuple[dict[str, Any], ToolError | None]:
    """:func:`read_item` for a text that the strict reader refuses: NaN counts as absent, and bytes
    that are not UTF-8 are an error only in a field that is used.
    """
    try:
        value = _loads(text, [])
    except (ValueError, RecursionError):
        fault = tool_error("parse.not_json", path, "a JSON object", problem)
        return {"text": text.decode("utf-8", "replace")}, fault
    if not isinstance(value, dict):
        value = _writable(value)[0]
        return {"value": value}, tool_error("schema.type", path, "a JSON object", value)
    fields = {name: v for k, v in value.items() if (name := _read_as(k, where)) is not None}
    fields, broken = _writable(fields)
    return fields, tool_error("parse.not_json", path, "UTF-8", problem) if broken else None


def _writable(value: Any) -> tuple[Any, bool]:
    """A JSON value without lone surrogates and infinities, and True if it had broken characters."""
    written = json.dumps(value, ensure_ascii=False)
    clean = written.encode("utf-8", "replace").decode()  # a lone surrogate becomes ?
    broken = clean != written or "\ufffd" in clean
    return json.loads(clean, parse_constant=lambda _: None), broken


def _loads(text: bytes, twice: list[tuple[str, Any]]) -> Any:
    """The JSON value in ``text``, NaN and infinities as null; ``twice`` gets the pairs of objects
    with a key given twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice.extend(pairs)
        return found

    plain = text.decode("utf-8", "replace")
    return json.loads(plain, object_pairs_hook=once, parse_constant=lambda _: None)


def record_of(fields: dict[str, Any]) -> dict[str, Any]:
    """``fields`` as a record that can be written anywhere: integers beyond 64 bits as text."""
    record: dict[str, Any] = json.loads(
        json.dumps(fields), parse_int=lambda digits: int(digits) if len(digits) < 19 else digits
    )
    return record


@functools.lru_cache(1000)
def _read_as(key: str, where: str) -> str | None:
    """The name under which ``key`` of an item of ``where`` is read, or None."""
    folded = fold(key)
    if where == "annotations" and folded in _GROUP:
        return folded
    return next((name for name in _READ[where] if fold(name) == folded), None)


def read_image(
    position: int, fields: dict[str, Any], fault: ToolError | None
) -> ImageEntry | ToolError:
    """The entry, or the error for one without an id."""
    key = id_text(fields.get("id"))
    if key is None:
        return fault or _no_id(f"images[{position}].id", fields.get("id"))
    named = (fields.get(field) for field in ("file_name", "coco_url", "path", "image_path"))
    name = next((name for name in named if name), None)
    if name is not None and not isinstance(name, str):
        path = f"images[{position}].file_name"
        fault = fault or tool_error("schema.type", path, "the name of a picture as text", name)
    partial = fields.get("not_exhaustive_category_ids")
    absent = fields.get("neg_category_ids")
    return ImageEntry(
        position=position,
        id=key,
        name=name if isinstance(name, str) else None,
        width=_size(fields.get("width")),
        height=_size(fields.get("height")),
        licence=id_text(fields.get("license")),
        partial=[k for i in partial if (k := id_text(i))] if isinstance(partial, list) else [],
        absent=[k for i in absent if (k := id_text(i))] if isinstance(absent, list) else None,
        fault=fault,
    )


def read_annotation(
    position: int, fields: dict[str, Any], fault: ToolError | None, attributes: Attributes
) -> list[Annotation] | ToolError:
    """The annotation, once for each picture that it may belong to; without any, the error."""
    given = fields.get("image_id")
    images = {id_text(image): None for image in (given if isinstance(given, list) else [given])}
    images.pop(None, None)
    if not images:
        return fault or _no_id(f"annotations[{position}].image_id", given)
    if isinstance(fields.get("segments_info"), list):
        path, expected = f"annotations[{position}].segments_info", "one thing an annotation"
        hint = "convert it: panoptic2detection_coco_format.py of cocodataset/panopticapi"
        got = "the segments of a panoptic file"
        fault = fault or tool_error("schema.unknown_field", path, expected, got, hint)
    bbox = fields.get("bbox") or _extent(fields.get("segmentation")) or fields.get("bbox")
    box = [number(v) for v in bbox] if isinstance(bbox, list) else []
    numbers = len(box) == 4 and None not in box
    own, described, points = (fields.get(k) for k in ("id", "description", "keypoints"))
    points = [number(v) for v in points] if isinstance(points, list) else []
    known = fields.get("attributes")
    flags = [value for name, value in fields.items() if name in _GROUP]
    for held in (known, fields.get("extra"), fields.get("flags")):  # some exporters put flags there
        if isinstance(held, dict):
            flags += [value for name, value in held.items() if fold(name) in _GROUP]
    for words in (known, fields.get("tags"), fields.get("flags")):
        if isinstance(words, list):
            flags += [1 for word in words if isinstance(word, str) and fold(word) in _GROUP]
    if isinstance(own, bool) or (isinstance(own, int) and abs(own) >= 2**63):
        own = None
    annotation = Annotation(
        position=position,
        image=next(iter(images)) or "",
        category=None if fault else id_text(fields.get("category_id")),
        id=own if isinstance(own, int | float | str) else None,
        bbox=box if numbers else record_of({"bbox": bbox})["bbox"],
        numbers=numbers,
        area=number(fields.get("area")),
        group=any(f and str(f).strip().casefold() not in _FALSE for f in flags),
        attributes={} if fault else attributes.words(known),
        description=described.strip() or None if isinstance(described, str) else None,
        rank=number(fields.get("depth_rank")),
        keypoints=points if points and None not in points else None,
        fault=fault,
    )
    others = [image for image in images if image and image != annotation.image]
    return [annotation, *(msgspec.structs.replace(annotation, image=image) for image in others)]


def _extent(polygons: Any) -> list[float] | None:
    """[x, y, width, height] of the points [x0, y0, x1, y1, ...] of polygons; None without any."""
    if not isinstance(polygons, list):
        return None
    rings = [ring for ring in polygons if isinstance(ring, list)] or [polygons]
    numbers = [[number(value) for value in ring] for ring in rings]
    plain = [[value for value in ring if value is not None] for ring in numbers]
    if plain != numbers or any(len(ring) % 2 for ring in plain) or sum(map(len, plain)) < 6:
        return None
    xs, ys = ([v for ring in plain for v in ring[start::2]] for start in (0, 1))
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def read_category(position: int, fields: dict[str, Any]) -> ToolError | None:
    """The error that makes a category unusable, or None."""
    path = f"categories[{position}]"
    if id_text(fields.get("id")) is None:
        return _no_id(f"{path}.id", fields.get("id"))
    name = fields.get("name")
    if isinstance(name, str) and fold(name):
        return None
    code = (
        "schema.type" if name is not None and not isinstance(name, str) else "schema.missing_field"
    )
    return tool_error(code, f"{path}.name", "a name", name)


def number(value: Any) -> float | None:
    """``value``, a number or its text, as a finite number; else None."""
    if type(value) is not float and type(value) is not int and not isinstance(value, str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _size(value: Any) -> int | None:
    """A side in pixels; None for an unknown size, which some tools write as 0 or -1."""
    side = number(value)
    return None if side is None or side <= 0 else round(min(side, _LONGEST_SIDE))


def _no_id(path: str, got: Any) -> ToolError:
    code = "schema.missing_field" if got is None else "schema.type"
    return tool_error(code, path, "a number or a text", got)
