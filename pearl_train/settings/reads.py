"""Which options of ``[objective]`` each objective reads: the one table of it.

An option that the chosen objective does not read changes nothing, so giving it is a mistake to be
told. Two ways of giving it are none: a comparison shares its choices between objectives
(``pearl-train compare``), and a file made for one objective (a preset, or any file that says so by
``objective.name``) may be run as its control with ``--objective``. Leaving out a term that an
objective has not is no mistake either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from pearl_train.settings.config import Config, ObjectiveConfig, ObjectiveName
from pearl_train.settings.faults import Fault, Given, Key, dotted, shown

READS: Mapping[ObjectiveName, frozenset[str]] = {
    "sft": frozenset({"view", "pause_tokens"}),
    "tools": frozenset(),
    "lvr": frozenset({"lvr"}),
    "pearl": frozenset(
        {
            "view",
            "weight",
            "warmup",
            "pred_tokens",
            "pred",
            "pred_position",
            "distance",
            "loss_dropout",
            "variance_hinge",
            "sigreg",
            "stop_gradient",
            "target",
            "nextlat",
        }
    ),
}
"""Names of options, a table standing for all that is in it. ``name`` itself is read by all."""


def readers(option: str) -> list[ObjectiveName]:
    """The objectives that read ``option``, a key of ``[objective]``.

    >>> readers("view")
    ['sft', 'pearl']
    """
    return [name for name, options in READS.items() if option in options]


def unread_faults(
    config: Config, given: Given, keys: Iterable[Key], among: Collection[ObjectiveName]
) -> Iterator[Fault]:
    """Choices among ``keys``, other than the default, that no objective in ``among`` reads."""
    for key in keys:
        if len(key) < 2 or key[0] != "objective" or key[1] == "name":
            continue
        by = readers(str(key[1]))
        if set(by) & set(among) or is_plain(config, key) or says_off(config, key):
            continue
        chosen = f"objective {', '.join(sorted(among))}"
        yield Fault(
            where=dotted(key),
            origin=given.origin(key),
            expected=f"an option that {chosen} reads",
            got=shown(given.value(key)),
            hint=f"{' and '.join(by)} read{'s' if len(by) == 1 else ''} it: leave it out, or "
            f"choose --objective {by[0]}",
            rests_on=(key, ("objective", "name")),
        )


def meant_for(table: Mapping[str, Any]) -> str | None:
    """The objective that a file's choices were made for, None where it does not say.

    A file that gives every option is the resolved configuration of a run: it says what came of the
    choices, not which were made, so it counts as made for all ("").
    """
    section = table.get("objective")
    if not isinstance(section, Mapping):
        return None
    if section.keys() >= set(ObjectiveConfig.__struct_fields__):
        return ""
    name = section.get("name")
    return name if isinstance(name, str) else None


def is_plain(config: Config, key: Key) -> bool:
    """Whether the option at ``key`` is what it is by default, which may always be given."""
    return bool(at(config, key) == at(Config(), key))


#: Terms of the loss, and what leaves each out, as do choices under which it is not read.
_OFF: Mapping[Key, Any] = {("objective", "weight"): 0, ("objective", "nextlat"): None}


def says_off(config: Config, key: Key) -> bool:
    """Whether the option at ``key`` leaves a term of the loss out: where none is, that holds."""
    return key in _OFF and bool(at(config, key) == _OFF[key])


def at(options: Any, key: Key) -> Any:
    """The option at ``key``; None below a table that is absent."""
    for part in key:
        options = getattr(options, str(part), None)
    return options
