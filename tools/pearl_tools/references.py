"""The reference stage: which medium a call is about, and what its result will be called."""

from __future__ import annotations

from pearl_tools.errors import fail
from pearl_tools.geometry import Naming
from pearl_tools.types import PICTURE_KINDS, MediaMap, Medium


def next_id(media: MediaMap) -> str:
    """The id of the next result: ``o1`` where there is none yet."""
    number = 1 + sum(name.startswith("o") for name in media)
    while f"o{number}" in media:
        number += 1
    return f"o{number}"


def find_picture(name: str, media: MediaMap, tool: str, naming: Naming) -> Medium:
    """The medium called ``name``, which must be a picture; raises ``reference.*``."""
    pictures = [m.facts.id for m in media.values() if m.facts.kind in PICTURE_KINDS]
    path = naming.path("image")
    if name not in media:
        expected = "one of " + ", ".join(media) if media else "a medium, but there is none"
        raise fail("reference.unknown_medium", path, expected, name, "use the id of a medium")
    medium = media[name]
    if medium.facts.kind not in PICTURE_KINDS:
        raise fail(
            "reference.wrong_kind",
            path,
            f"a picture ({', '.join(pictures)})",
            f"{name}, a {medium.facts.kind}",
            f"{tool} works on pictures; for a {medium.facts.kind}, name the picture it is of"
            + (f" ({medium.facts.parent})" if medium.facts.parent else ""),
        )
    return medium
