"""Dialects whose one tool looks at a box: how all the published croppers and zoomers are built.

The unit is part of the dialect. Values that cannot be in it are refused before anything is
converted; the rest is an honest crop.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs

from pearl_tools.arguments import check_schema, parse_arguments
from pearl_tools.dialects.dialect import BrokenCall, Dialect, ParsedCall
from pearl_tools.dialects.images import ImageReference
from pearl_tools.errors import fail
from pearl_tools.geometry import (
    Naming,
    Unit,
    check_unit,
    fraction_to_px,
    from_fraction,
    px_to_fraction,
    to_fraction,
)
from pearl_tools.types import Coordinates, MediaFacts, MediaMap, ToolCall

_BOX = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}


def box_dialect(
    *,
    name: str,
    description: str,
    tool: str,
    becomes: str,
    speaks_for: tuple[str, ...],
    box: str,
    unit: Unit,
    image: ImageReference,
    index_base: int,
    parse: Callable[[str], list[ParsedCall | BrokenCall]],
    wrap: Callable[[str, dict[str, Any]], str],
    optional: dict[str, Any] | None = None,
    prepare: Callable[[dict[str, Any]], dict[str, Any]] = lambda arguments: arguments,
) -> Dialect:
    """A dialect with one box tool, called ``tool`` by its models and ``becomes`` by us.

    ``speaks_for`` are tools of ours that can be written as a call of it; ``box`` is its argument
    with a box in ``unit``, ``image`` how it points at a picture; ``optional`` arguments (labels)
    are accepted and ignored; ``prepare`` brings odd spellings into the schema's form.
    """
    properties: dict[str, Any] = {box: _BOX, **(optional or {})}
    names = {"bbox": box}
    if image.argument:
        properties[image.argument] = image.schema
        names["image"] = image.argument
    schema = {
        "type": "object",
        "properties": properties,
        "required": [box, *([image.argument] if image.argument else [])],
        "additionalProperties": False,
    }
    validator = jsonschema_rs.Draft202012Validator(schema)
    naming = Naming(unit=unit, names=names, tool=tool)
    example_box = [int(v * 1000) if unit != "fraction" else v for v in (0.1, 0.2, 0.6, 0.7)]
    example_arguments = {
        box: example_box,
        **({image.argument: image.example} if image.argument else {}),
    }

    def translate(parsed: ParsedCall, media: MediaMap) -> tuple[str, dict[str, Any] | str]:
        if parsed.name.lower() != tool.lower():
            raise fail("schema.unknown_tool", "name", tool, parsed.name, f"{name} has one tool")
        arguments = prepare(parse_arguments(parsed.arguments, json.dumps(example_arguments)))
        check_schema(validator, arguments, properties)
        target = image.read(arguments.get(image.argument or ""), media)
        size = (media[target].facts.width, media[target].facts.height)
        values = [float(v) for v in arguments[box]]
        if unit != "fraction":
            check_unit(values, naming, "bbox", size)
        return becomes, {"image": target, "bbox": to_fraction(values, unit, *size)}

    def write(call: ToolCall, media: MediaMap) -> str:
        if call.tool not in speaks_for:
            can = " or ".join(speaks_for)
            raise fail("schema.unknown_tool", "tool", f"{can}, which {name} can say", call.tool)
        arguments = parse_arguments(call.arguments)
        if "bbox" not in arguments or arguments.get("image") not in media:
            expected = "`bbox` of a known `image`"
            raise fail("schema.combination", "arguments", expected, ", ".join(arguments))
        source = media[arguments["image"]].facts
        written: dict[str, Any] = {box: _numbers(arguments["bbox"], unit, source)}
        pointer = image.write(arguments["image"], media)
        if image.argument:
            written[image.argument] = pointer
        return wrap(tool, written)

    return Dialect(
        name=name,
        description=description,
        coordinates=Coordinates(unit=unit, index_base=1 if index_base else 0),
        naming=naming,
        parse=parse,
        translate=translate,
        write=write,
        example=wrap(tool, example_arguments).replace("\n", ""),
        words=image.words,
    )


def _numbers(bbox: list[float], unit: Unit, source: MediaFacts) -> list[float]:
    """A box in ``unit``: whole pixels where the unit is pixels and the box lies inside."""
    size = (source.width, source.height)
    inside = all(0 <= v <= 1 for v in bbox)
    if unit == "pixel" and inside:
        bbox = list(px_to_fraction(fraction_to_px(bbox, *size), *size))
    values = from_fraction(bbox, unit, *size)
    if unit == "fraction":
        return values
    return [int(near) if abs(v - (near := round(v))) < 1e-9 * max(1, near) else v for v in values]
