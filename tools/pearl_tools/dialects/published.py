"""The dialects of published croppers and zoomers, one record each.

Tool names, arguments and units are those that their authors document; what their executors do
differently from what they document (padding, guessing units, wrapping indices) is not imitated.
"""

from __future__ import annotations

import json

from pearl_tools.dialects.box_calls import box_dialect
from pearl_tools.dialects.dialect import BrokenCall, ParsedCall
from pearl_tools.dialects.images import always_original, by_position, by_source
from pearl_tools.dialects.reading import (
    each_block,
    parse_tool_calls,
    read_object,
    tagged,
    write_tool_call,
)

_LABEL = {"label": {"type": "string"}}

#: arXiv 2505.15966. Its executor pads 10 % a side and treats a box as normalised only if all four
#: values are below 1; the prompt says normalised, so here it always is.
PIXEL_REASONER = box_dialect(
    name="pixel_reasoner",
    description="<tool_call> crop_image_normalized(bbox_2d in 0..1, target_image from 1)",
    tool="crop_image_normalized",
    becomes="crop",
    speaks_for=("crop",),
    box="bbox_2d",
    unit="fraction",
    image=by_position("target_image", 1),
    index_base=1,
    parse=parse_tool_calls,
    wrap=write_tool_call,
)

#: arXiv 2505.14362: pixels of the original image, whatever was zoomed before.
DEEP_EYES = box_dialect(
    name="deep_eyes",
    description="<tool_call> image_zoom_in_tool(bbox_2d in pixels of the original, label)",
    tool="image_zoom_in_tool",
    becomes="crop",
    speaks_for=("crop", "zoom"),
    box="bbox_2d",
    unit="pixel",
    image=always_original(),
    index_base=0,
    parse=parse_tool_calls,
    wrap=write_tool_call,
    optional=_LABEL,
)

#: Qwen-Agent's tool for Qwen3-VL: relative coordinates 0 to 1000, pictures counted from 0.
QWEN = box_dialect(
    name="qwen",
    description="<tool_call> image_zoom_in_tool(bbox_2d in 0..1000, label, img_idx from 0)",
    tool="image_zoom_in_tool",
    becomes="zoom",
    speaks_for=("crop", "zoom"),
    box="bbox_2d",
    unit="per_mille",
    image=by_position("img_idx", 0),
    index_base=0,
    parse=parse_tool_calls,
    wrap=lambda tool, arguments: write_tool_call(tool, {**arguments, "label": "region"}),
    optional=_LABEL,
)


def _parse_grounding(text: str) -> list[ParsedCall | BrokenCall]:
    def read(block: str) -> ParsedCall:
        return ParsedCall(name="grounding", arguments=read_object(block), raw=block)

    return each_block(tagged(text, "grounding"), read)


#: arXiv 2509.07969. Its data are Python literals and its code evaluates them; ours are parsed.
MINI_O3 = box_dialect(
    name="mini_o3",
    description="<grounding>{bbox_2d in 0..1, source: original_image | observation_i}",
    tool="grounding",
    becomes="crop",
    speaks_for=("crop", "zoom"),
    box="bbox_2d",
    unit="fraction",
    image=by_source("source"),
    index_base=1,
    parse=_parse_grounding,
    wrap=lambda _, arguments: f"<grounding>{json.dumps(arguments)}</grounding>",
)
