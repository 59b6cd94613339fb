"""Selection of the questions on an annotated picture: their families, order and number.

Questions need a tool; an option adds those that do not (things large enough to see, controls).
Answers come from the annotation, or by option from the depth map. Every picture with a usable thing
gets a question, if need be one that is not balanced.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from pearl_data.sources.asking import Asking, Family, Turns
from pearl_data.sources.base import QuestionSettings
from pearl_data.sources.comparing import nearer, nearer_by_tool, nearer_details, relations
from pearl_data.sources.facts import Facts
from pearl_data.sources.looking import (
    any_identity,
    any_presence,
    counts,
    details,
    identities,
    parts,
    presences,
    wholes,
)
from pearl_data.sources.vocabulary import Vocabulary
from pearl_data.trajectory import Task


def ask(
    facts: Facts,
    vocabulary: Vocabulary,
    settings: QuestionSettings,
    turns: Turns,
    rng: random.Random,
) -> list[Task]:
    """Questions on one picture, families in turn, at most ``settings.per_image``."""
    families: list[Family] = []
    if settings.can_look:
        families += [details, identities, parts, counts, presences, wholes]
    if settings.can_measure_depth:
        families.append(nearer)
        if settings.depth_truth == "tool":
            families.append(nearer_by_tool)
    if settings.can_look and settings.can_measure_depth:
        families.append(nearer_details)
    families.append(relations)
    asking = Asking(facts, vocabulary, settings, turns, rng)
    asked = _in_turn(asking, families, settings.per_image)
    if not asked and settings.can_look:
        asked = _in_turn(asking, [any_identity, any_presence], 1)
    return asked


def _in_turn(asking: Asking, families: list[Family], most: int) -> list[Task]:
    """Up to ``most`` questions, one of each family in turn."""
    streams = [family(asking) for family in families]
    asked: list[Task] = []
    while streams and len(asked) < most:
        for stream in list(streams):
            if len(asked) == most:
                break
            task = next(stream, None)
            if task is None:
                streams.remove(stream)
            else:
                asked.append(task)
    return asked


def advice(facts: Facts, vocabulary: Vocabulary, settings: QuestionSettings) -> str:
    """The options that would give questions on a picture without any, each with its reason; advice
    on the annotation if no option helps.
    """
    looking = [*settings.tools, "crop"]
    changes: dict[str, dict[str, Any]] = {
        "its things are large enough to see; to ask also what needs no tool: --needs-tool any": {
            "needs_tool": "any"
        },
        "the order in depth is not annotated; to ask for what the map says: --depth-truth tool": {
            "depth_truth": "tool"
        },
        "to ask about single things, enable crop or zoom in --tools": {"tools": looking},
        "enable crop or zoom in --tools, and --needs-tool any": {
            "tools": looking,
            "needs_tool": "any",
        },
    }
    helping: list[str] = []
    for words, change in changes.items():
        if helping and "tools" in change:
            break
        changed = msgspec.structs.replace(settings, **change)
        if changed != settings and ask(facts, vocabulary, changed, Turns(0), random.Random(0)):
            helping.append(words)
    return "; or ".join(helping) or "add boxes of named kinds that are not crowds"
