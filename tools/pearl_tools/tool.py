"""What a tool is made of: its face to the model, its checks, its work, its words.

A tool is a frozen record of functions, not a class to inherit from: ``check`` turns arguments into
the pixels that will be taken (or raises a coded failure), ``execute`` makes pixels, ``describe``
says what they show. The executor owns the order, the cache and every error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jsonschema_rs

from pearl_tools.depth import DepthModel
from pearl_tools.geometry import Naming
from pearl_tools.pixels import Pixels
from pearl_tools.settings import ExecutorSettings
from pearl_tools.types import Effective, MediaFacts, MediaRecord, Medium, MediumKind, ToolSpec


@dataclass(frozen=True, kw_only=True)
class CheckedCall:
    """A call that passed parse, schema, reference and geometry: what is taken from which medium."""

    medium: Medium
    effective: Effective


class Workplace(Protocol):
    """What a tool may use while it works."""

    def depth_model(self) -> DepthModel:
        """The depth model, loaded at its first use."""
        ...


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One entry of the registry; ``check`` and ``describe`` are pure, ``execute`` makes pixels."""

    spec: ToolSpec
    validator: jsonschema_rs.Draft202012Validator
    returns_kind: MediumKind
    check: Callable[[dict[str, Any], MediaFacts, ExecutorSettings, Naming], Effective]
    execute: Callable[[Sequence[CheckedCall], Workplace], list[Pixels]]
    describe: Callable[[CheckedCall, MediaRecord], str]
    check_combination: Callable[[dict[str, Any], Naming], None] | None = None
    libraries: tuple[str, ...] = ()
    uses_depth_model: bool = False


IMAGE_ARGUMENT = {
    "type": "string",
    "pattern": "^[a-z][0-9]+$",
    "description": "Id of the picture, e.g. i0 for the first one or o1 for the first result.",
}

BOX_ARGUMENT = {
    "type": "array",
    "items": {"type": "number"},
    "minItems": 4,
    "maxItems": 4,
    "description": (
        "Region [x0, y0, x1, y1] as fractions 0 to 1 of that picture's width and height: left, "
        "top, right, bottom. [0, 0, 1, 1] is the whole picture."
    ),
}
