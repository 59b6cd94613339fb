"""How dialects point at a picture: by position, by a name with a number, or not at all.

Positions are checked against the valid range; nothing wraps round (Python's negative indices have
made published executors crop the last image for ``0`` and the third last for ``-3``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pearl_tools.dialects.dialect import ordered_ids
from pearl_tools.errors import ToolFailure, fail
from pearl_tools.geometry import OWN_NAMING
from pearl_tools.types import MediaMap


@dataclass(frozen=True, kw_only=True)
class ImageReference:
    """A way to refer to a picture: the argument's name (None: no argument) and its schema.

    ``read`` and ``write`` turn its value into the id of a medium and back; ``example`` is a value.
    """

    argument: str | None
    example: Any
    schema: dict[str, Any]
    read: Callable[[Any, MediaMap], str]
    write: Callable[[str, MediaMap], Any]

    def words(self, name: str, media: MediaMap) -> str:
        """The caller's name for the medium ``name``: ``img_2``, ``target_image 2``."""
        try:
            value = self.write(name, media)
        except (ToolFailure, ValueError):  # an unknown medium, or one that cannot be named
            return "a picture that cannot be named"
        if value is None:
            return "the first picture"
        return value if isinstance(value, str) else f"{self.argument} {value}"


def by_position(argument: str, base: int, prefix: str = "") -> ImageReference:
    """The n-th picture of the conversation, counted from ``base``; ``img_1`` with a prefix."""

    def read(value: Any, media: MediaMap) -> str:
        ids = ordered_ids(media)
        number = int(value.removeprefix(prefix)) if prefix else int(value)  # 0.0 is an integer too
        return _pick(ids, number, base, argument, prefix)

    def write(name: str, media: MediaMap) -> Any:
        number = ordered_ids(media).index(name) + base
        return f"{prefix}{number}" if prefix else number

    schema: dict[str, Any] = (
        {"type": "string", "pattern": f"^{re.escape(prefix)}-?[0-9]{{1,9}}$"}
        if prefix
        else {"type": "integer"}
    )
    return ImageReference(
        argument=argument,
        example=f"{prefix}{base}" if prefix else base,
        schema=schema,
        read=read,
        write=write,
    )


def by_source(argument: str) -> ImageReference:
    """``original_image``, or ``observation_i`` counted from 1, as Mini-o3 writes."""

    def read(value: Any, media: MediaMap) -> str:
        if value == "original_image":
            return first_root(media)
        number = int(value.removeprefix("observation_"))
        return _pick(_results(media), number, 1, argument, "observation_")

    def write(name: str, media: MediaMap) -> Any:
        if name == first_root(media):
            return "original_image"
        if name not in _results(media):
            raise _unsayable(name, "the first picture and observations")
        return f"observation_{_results(media).index(name) + 1}"

    schema = {"type": "string", "pattern": "^(original_image|observation_-?[0-9]{1,9})$"}
    return ImageReference(
        argument=argument, example="original_image", schema=schema, read=read, write=write
    )


def always_original() -> ImageReference:
    """Calls name no picture: they are about the first one, as DeepEyes' executor has it."""

    def write(name: str, media: MediaMap) -> Any:
        if name != first_root(media):
            raise _unsayable(name, "the first picture only")

    return ImageReference(
        argument=None, example=None, schema={}, read=lambda _, media: first_root(media), write=write
    )


def first_root(media: MediaMap) -> str:
    """The id of the first picture that no tool made; raises where there is none."""
    roots = [name for name in ordered_ids(media) if media[name].facts.parent is None]
    if not roots:
        raise fail("reference.unknown_medium", "", "a picture", "no picture at all")
    return roots[0]


def _results(media: MediaMap) -> list[str]:
    return [name for name in ordered_ids(media) if media[name].facts.parent is not None]


def _pick(ids: list[str], number: int, base: int, argument: str, prefix: str) -> str:
    if not base <= number < base + len(ids):
        last = base + len(ids) - 1
        expected = f"{prefix}{base} to {prefix}{last}" if ids else f"no {prefix}* yet"
        hint = f"{prefix}{base} is the first one; indices do not wrap round"
        path = f"arguments.{argument}"
        got = f"{prefix}{number}"
        raise fail("reference.index_out_of_range", path, expected, got, hint)
    return ids[number - base]


def _unsayable(name: str, can: str) -> Exception:
    path = OWN_NAMING.path("image")
    return fail("reference.unknown_medium", path, f"what this dialect can name: {can}", name)
