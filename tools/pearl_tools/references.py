"""The reference stage: which medium a call is about, and what its result will be called."""

from __future__ import annotations

from pearl_tools.errors import fail, listed
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
    path = naming.path("image")
    medium = media.get(name)
    if medium is None:
        known = ", ".join(naming.medium(each) for each in media)
        expected = f"one of {known}" if known else "a medium, but there is none"
        raise fail("reference.unknown_medium", path, expected, name, "use the id of a medium")
    facts = medium.facts
    if facts.kind not in PICTURE_KINDS:
        pictures = [
            naming.medium(m.facts.id) for m in media.values() if m.facts.kind in PICTURE_KINDS
        ]
        raise fail(
            "reference.wrong_kind",
            path,
            f"a picture ({listed(pictures, 8)})",
            f"{naming.medium(name)}, a {facts.kind}",
            f"{naming.tool or tool} works on pictures; for a {facts.kind}, name the picture it is "
            "of" + (f" ({naming.medium(facts.parent)})" if facts.parent else ""),
        )
    return medium
