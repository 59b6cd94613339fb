"""What is compared: objectives by name, with changes of ``[objective]`` if wanted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from pearl_tools.errors import UsageError
from pearl_train.settings.config import OBJECTIVES, Config, ObjectiveName
from pearl_train.settings.faults import Fault, Key
from pearl_train.settings.load import ROW, Judged, judge, told
from pearl_train.settings.reads import readers

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
    variants, faults = _parsed(text)
    if faults:
        raise UsageError(told(faults))
    return variants


def chosen_variants(
    text: str,
    files: Sequence[str] = (),
    sets: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> list[Variant]:
    """The variants of ``text``, each sound together with the choices that all share.

    ``files``, ``sets``, ``flags``: as for :func:`pearl_train.settings.load.load_config`; every
    choice must be read by one of the objectives compared. Raises ``UsageError`` with the faults of
    names, shared choices and rows together.
    """
    variants, faults = _parsed(text)
    compared = [name for name in OBJECTIVES if any(_objective(v) == name for v in variants)]
    among = OBJECTIVES if faults else compared  # an objective misspelt may be the one that reads it
    judged = [
        judge(files, sets, flags, row=row, among=among)
        for row in [variant.sets for variant in variants] or [()]
    ]
    faults += [fault for one in judged for fault in one.faults]
    faults += _read_by_none(judged)
    if faults:
        raise UsageError(told(faults))
    return variants


def _read_by_none(judged: Sequence[Judged]) -> Iterator[Fault]:
    """Shared choices that one row's other choices leave unread, and that no other row reads."""
    for fault in {fault.rests_on[0]: fault for one in judged for fault in one.idle}.values():
        key = fault.rests_on[0]
        if not any(_reads(one, key) for one in judged):
            yield fault


def _reads(judged: Judged, key: Key) -> bool:
    """Whether the row reads the option at ``key``: its objective does, and its other choices."""
    of_objective = len(key) > 1 and key[0] == "objective"
    if of_objective and judged.config.objective.name not in readers(str(key[1])):
        return False
    return key not in {fault.rests_on[0] for fault in judged.idle}


def _parsed(text: str) -> tuple[list[Variant], list[Fault]]:
    """What of ``text`` is a variant, and what is none."""
    variants, faults = [], []
    for name in [part.strip() for part in text.split(",") if part.strip()]:
        objective, *changes = name.split("+")
        if objective not in OBJECTIVES or not _NAME.fullmatch(name):
            expected = (
                f"some of {', '.join(OBJECTIVES)}, each with changes if wanted "
                "(sft+view=trajectory)"
            )
            faults.append(Fault(where="", origin=ROW, expected=expected, got=repr(name)))
            continue
        sets = [f"objective.name={objective}", *(f"objective.{change}" for change in changes)]
        variants.append(Variant(name, tuple(sets)))
    names = Counter(variant.name for variant in variants)
    if not (variants or faults) or max(names.values(), default=1) > 1:
        expected = "different objectives, one at least"
        faults.append(Fault(where="", origin=ROW, expected=expected, got=repr(text)))
    return variants, faults


def _objective(variant: Variant) -> ObjectiveName:
    name = variant.name.partition("+")[0]
    return next(known for known in OBJECTIVES if known == name)


#: Choices that may change when a run is resumed: they state where something lies, or when to stop,
#: and do not affect training.
MAY_CHANGE = frozenset({"objective.target.cache", "data.max_dropped_share"})


def other_choices(known: Config, wanted: Config) -> list[str]:
    """The dotted keys in which two configurations would train another model."""
    return [key for key in differences(known, wanted) if key not in MAY_CHANGE]


def differences(known: Any, wanted: Any, at: str = "") -> list[str]:
    """The dotted keys in which two configurations differ."""
    if isinstance(known, msgspec.Struct) and type(known) is type(wanted):
        return [
            found
            for name in known.__struct_fields__
            for found in differences(getattr(known, name), getattr(wanted, name), f"{at}.{name}")
        ]
    return [] if known == wanted else [at.removeprefix(".")]
