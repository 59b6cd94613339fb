"""Converts annotation files of other tools to COCO: LabelMe, Pascal VOC, CVAT, VIA, Label Studio
and CreateML, a file or a folder of them.

A shape that is neither a box nor a polygon gets no box; no question then counts or denies its kind
in the picture. Not supported: video tracks, and YOLO labels, which lack names and sizes.
"""

from __future__ import annotations

import errno
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast
from xml.etree import ElementTree as ET

import msgspec

from pearl_data.sources.foreign import Foreign, recognise, refuse_foreign
from pearl_tools.errors import BadInput
from pearl_tools.files import open_regular, read_regular
from pearl_tools.strict_json import parse_json

_HEAD_BYTES: Final = 1 << 20
#: A larger file of one picture, or of another tool's project, is not converted.
_MOST_BYTES: Final = 32 << 20
#: Usual start of a COCO file; a file that matches is passed on unread.
_COCO_BEGINS = re.compile(rb'\s*\{\s*"(?:info|images|annotations|categories|licenses)"')
_SUFFIXES = (".json", ".xml")
#: Attribute names that VIA users give to the kind of a thing.
_KIND_NAMES = ("label", "class", "name", "category", "type", "object")
_UPLOAD = re.compile(r"(?:.*/)?data/upload/(?:\d+/)?(?:[0-9a-f]{8}-)?(?P<name>[^/]+)\Z")


class Shape(NamedTuple):
    """A thing: its kind, the corners of its box in pixels (None: no box), its attributes."""

    label: str
    box: tuple[float, float, float, float] | None
    attributes: dict[str, Any] = {}


class Picture(NamedTuple):
    """A picture: its name in the tool's file, its size if stated, its marked things."""

    name: str
    size: tuple[Any, Any]
    shapes: list[Shape]


def open_as_coco(path: Path) -> BinaryIO:
    """The annotations at ``path`` as a stream of COCO JSON. A COCO file is passed on unchanged, a
    file of another tool, or a folder of such files, is converted.

    Raises ``OSError`` if a file cannot be opened, :class:`BadInput` if it cannot be converted.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
        if not files:
            got = "expected annotation files (.json or .xml) in the folder, got none"
            raise OSError(errno.EISDIR, got, str(path))
        return _as_coco(picture for file in files for picture in _pictures_of(file))
    with open_regular(path) as stream:
        head = stream.read(_HEAD_BYTES)
        if len(head) == _HEAD_BYTES and not _COCO_BEGINS.match(head):
            head += stream.read(_MOST_BYTES)
    return open_regular(path) if _kind(head) is None else _as_coco(_pictures_of(path))


def _kind(data: bytes) -> Foreign | None:
    found = recognise(data)
    return found if found is not None and found.name in _CONVERTERS else None


def _pictures_of(path: Path) -> Iterable[Picture]:
    data = read_regular(path)
    found = _kind(data)
    if found is None:
        refuse_foreign(data, path, "coco")
        raise BadInput(f"{path}: expected annotations of a known tool, got an unknown format")
    try:
        if found.name.endswith("XML"):
            if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
                raise BadInput(
                    f"{path}: expected XML without DOCTYPE or entity declarations, got some"
                )
            value: Any = ET.fromstring(data)  # noqa: S314 - without entities, see above
        else:
            value = parse_json(data, str(path))
        return list(_CONVERTERS[found.name](value))
    except (ET.ParseError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise BadInput(f"{path}: expected {found.name}, got an invalid one: {reason}") from error


def _as_coco(pictures: Iterable[Picture]) -> BinaryIO:
    """The COCO file of ``pictures``, a temporary file that exists while it is open."""
    categories: dict[str, int] = {}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, picture in enumerate(pictures, start=1):
        width, height = picture.size
        size = {"width": width, "height": height} if width and height else {}
        images.append({"id": number, "file_name": picture.name, **size})
        for shape in picture.shapes:
            item: dict[str, Any] = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": categories.setdefault(shape.label, len(categories) + 1),
                "attributes": shape.attributes,
                "bbox": None,
            }
            if shape.box is not None:
                x0, y0, x1, y1 = shape.box
                item["bbox"] = [x0, y0, x1 - x0, y1 - y0]
            annotations.append(item)
    named = [{"id": number, "name": name} for name, number in categories.items()]
    document = {"images": images, "annotations": annotations, "categories": named}
    stream = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
    stream.write(msgspec.json.encode(document))
    stream.seek(0)
    return stream


def _around(points: Iterable[Iterable[float]]) -> tuple[float, float, float, float]:
    xs, ys = zip(*((float(x), float(y)) for x, y in points), strict=True)
    return (min(xs), min(ys), max(xs), max(ys))


def _labelme(value: dict[str, Any]) -> Iterator[Picture]:
    shapes = []
    for shape in value["shapes"]:
        points, kind = shape["points"], shape.get("shape_type", "polygon")
        box = None
        if kind in ("rectangle", "polygon", "rotation") and len(points) > 1:
            box = _around(points)
        elif kind == "circle":
            (x, y), (u, v) = points
            radius = ((x - u) ** 2 + (y - v) ** 2) ** 0.5
            box = (x - radius, y - radius, x + radius, y + radius)
        shapes.append(Shape(shape["label"], box, shape.get("attributes") or {}))
    size = (value.get("imageWidth"), value.get("imageHeight"))
    yield Picture(value["imagePath"], size, shapes)


def _voc(root: ET.Element) -> Iterator[Picture]:
    """Read Pascal VOC; its corners are pixels counted from 1, both inside the box."""
    shapes = []
    for item in root.iter("object"):
        edges = [item.findtext(f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")]
        box = None
        if all(edges):
            x0, y0, x1, y1 = (float(edge) for edge in edges if edge)
            box = (max(0.0, x0 - 1), max(0.0, y0 - 1), x1, y1)
        shapes.append(Shape(_text(item, "name"), box))
    size = tuple(int(float(root.findtext(f"size/{side}") or 0)) for side in ("width", "height"))
    yield Picture(_text(root, "filename"), (size[0], size[1]), shapes)


def _text(element: ET.Element, name: str) -> str:
    text = (element.findtext(name) or "").strip()
    if not text:
        raise KeyError(name)
    return text


def _cvat(root: ET.Element) -> Iterator[Picture]:
    if root.find("track") is not None:
        raise ValueError("video tracks; export them as 'CVAT for images'")
    for image in root.iter("image"):
        shapes = []
        for shape in image:
            if shape.get("label") is None:
                continue
            box = None
            if shape.tag == "box" and not float(shape.get("rotation", 0)):
                edges = [float(shape.attrib[e]) for e in ("xtl", "ytl", "xbr", "ybr")]
                box = _around([edges[:2], edges[2:]])
            elif shape.tag == "polygon":
                pairs = shape.attrib["points"].split(";")
                box = _around(map(float, pair.split(",")) for pair in pairs)
            attributes = {each.get("name", ""): each.text for each in shape.iter("attribute")}
            shapes.append(Shape(shape.attrib["label"], box, attributes))
        size = (int(image.attrib["width"]), int(image.attrib["height"]))
        yield Picture(image.attrib["name"], size, shapes)


def _via(value: dict[str, Any]) -> Iterator[Picture]:
    files = value.get("_via_img_metadata", value)
    for file in files.values():
        regions = file["regions"]
        shapes = []
        for region in regions.values() if isinstance(regions, dict) else regions:
            shape, said = region["shape_attributes"], dict(region["region_attributes"])
            named = [name for name in said if name.strip().casefold() in _KIND_NAMES]
            key = named[0] if named else next(iter(said)) if len(said) == 1 else None
            if key is None or not isinstance(said[key], str):
                got = json.dumps(said)[:80]
                raise ValueError(f"{got}: which of these is the kind? call it 'label'")
            shapes.append(Shape(said.pop(key), _via_box(shape), said))
        yield Picture(file["filename"], (None, None), shapes)


def _via_box(shape: dict[str, Any]) -> tuple[float, float, float, float] | None:
    kind = shape["name"]
    if kind == "rect":
        x, y = shape["x"], shape["y"]
        return (x, y, x + shape["width"], y + shape["height"])
    if kind == "polygon":
        pairs = zip(shape["all_points_x"], shape["all_points_y"], strict=True)
        return _around(pairs)
    if kind in ("circle", "ellipse"):
        rx, ry = shape.get("rx", shape.get("r")), shape.get("ry", shape.get("r"))
        return (shape["cx"] - rx, shape["cy"] - ry, shape["cx"] + rx, shape["cy"] + ry)
    return None


def _label_studio(value: Any) -> Iterator[Picture]:
    """Read Label Studio; boxes are percentages. Only the first annotator's boxes are used."""
    for task in value if isinstance(value, list) else [value]:
        name = next(v for v in task["data"].values() if isinstance(v, str))
        upload = _UPLOAD.match(name)
        kept = [each for each in task["annotations"] if not each.get("was_cancelled")]
        shapes, size = [], (None, None)
        for result in kept[0]["result"] if kept else []:
            said = result["value"]
            labels: list[str] = next((v for k, v in said.items() if k.endswith("labels")), [])
            if not labels:
                continue  # a choice or a text about the picture
            size = width, height = result["original_width"], result["original_height"]
            percent = None
            if "points" in said:
                percent = _around(said["points"])
            elif "width" in said and "height" in said and not said.get("rotation"):
                x, y = said["x"], said["y"]
                percent = (x, y, x + said["width"], y + said["height"])
            sides = (width, height, width, height)
            box = percent and tuple(p * s / 100 for p, s in zip(percent, sides, strict=True))
            shapes += [Shape(label, cast("Any", box)) for label in labels]
        yield Picture(upload["name"] if upload else name, size, shapes)


def _create_ml(value: list[dict[str, Any]]) -> Iterator[Picture]:
    """Read CreateML; boxes are centre and size."""
    for image in value:
        shapes = []
        for each in image["annotations"]:
            x, y, w, h = (each["coordinates"][key] for key in ("x", "y", "width", "height"))
            shapes.append(Shape(each["label"], (x - w / 2, y - h / 2, x + w / 2, y + h / 2)))
        yield Picture(image["image"], (None, None), shapes)


_CONVERTERS: Final[dict[str, Callable[[Any], Iterator[Picture]]]] = {
    "a LabelMe file": _labelme,
    "Pascal VOC XML": _voc,
    "CVAT XML": _cvat,
    "a VIA project": _via,
    "a VIA file": _via,
    "a Label Studio export": _label_studio,
    "a CreateML file": _create_ml,
}
