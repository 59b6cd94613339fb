"""What is compared: objectives by name, with changes of ``[objective]`` if wanted."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

import msgspec

from pearl_tools.errors import UsageError
from pearl_train.settings.config import OBJECTIVES

_NAME = re.compile(r"[a-z]+(\+[a-z_.]+=[A-Za-z0-9_.-]+)*")


class Variant(NamedTuple):
    """One row: its name and the choices (``key=value``) that make it."""

    name: str
    sets: tuple[str, ...]


def parse_variants(text: str) -> list[Variant]:
    """``sft,lvr,sft+view=trajectory`` as variants; keys after ``+`` are those of ``[objective]``.

    >>> parse_variants("sft,sft+pause_tokens=4")[1].sets
    ('objective.name=sft', 'objective.pause_tokens=4')
    """
    variants = []
    for name in [part.strip() for part in text.split(",") if part.strip()]:
        objective, *changes = name.split("+")
        if objective not in OBJECTIVES or not _NAME.fullmatch(name):
            raise UsageError(
                f"--objectives: expected some of {', '.join(OBJECTIVES)}, each with changes if "
                f"wanted (sft+view=trajectory), got {name!r}"
            )
        sets = [f"objective.name={objective}", *(f"objective.{change}" for change in changes)]
        variants.append(Variant(name, tuple(sets)))
    names = Counter(variant.name for variant in variants)
    if not variants or max(names.values()) > 1:
        raise UsageError(f"--objectives: expected different objectives, got {text!r}")
    return variants


def differences(known: Any, wanted: Any, at: str = "") -> list[str]:
    """The dotted keys in which two configurations differ."""
    if isinstance(known, msgspec.Struct) and type(known) is type(wanted):
        return [
            found
            for name in known.__struct_fields__
            for found in differences(getattr(known, name), getattr(wanted, name), f"{at}.{name}")
        ]
    return [] if known == wanted else [at.removeprefix(".")]
