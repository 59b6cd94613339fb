"""What files, ``--set`` and flags give, merged key by key, and who gave what.

TOML has no null, so the text ``none`` stands for it wherever a choice may be absent.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, time
from itertools import takewhile
from typing import Any

from pearl_tools.errors import short_repr
from pearl_train.settings.faults import Fault, Key, nullable_keys, shown, table_keys


class Layers:
    """The merged document, and who gave each of its keys."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {}
        self.origins: dict[Key, str] = {}
        self.faults: list[Fault] = []
        self.files: list[str] = []

    def add(self, key: Key, value: Any, origin: str) -> None:
        """Set ``key`` to ``value``; tables are merged, anything else replaces what was there."""
        if isinstance(value, Mapping) and value:
            for name, item in value.items():
                self.add((*key, name), item, origin)
            return
        if not key:
            return
        dotted = ".".join(map(str, key))
        if dotted in table_keys() and not isinstance(value, Mapping) and value != "none":
            hint = f"for example {dotted}.{table_keys()[dotted]} = ..."
            fault = Fault(
                where=dotted,
                origin=origin,
                expected="a table",
                got=shown(value),
                hint=hint,
                rests_on=(key,),
            )
            self.faults.append(fault)
            return  # the other keys of the table can still be judged
        self.origins[key] = origin
        table = self.document
        for part in key[:-1]:
            below = table.get(str(part))
            if not isinstance(below, dict):
                below = table[str(part)] = {}
            table = below
        name = str(key[-1])
        if isinstance(value, Mapping) and isinstance(table.get(name), dict):
            return  # an empty table says only that there is one
        absent = value == "none" and dotted in nullable_keys()
        table[name] = None if absent else _without_dates(value)

    def origin(self, key: Key) -> str:
        """Who gave ``key``, or something in it, or the table around it."""
        for known, origin in reversed(self.origins.items()):
            if known[: len(key)] == key:
                return origin
        return self.origin(key[:-1]) if key else "configuration"

    def value(self, key: Key) -> Any:
        """What was given for ``key``."""
        found: Any = self.document
        for part in key:
            found = found[part]
        return found

    def is_varied(self, key: Key, by: Key) -> bool:
        """Whether a file gave ``key`` and a later layer ``by``: the file is run as a variant."""
        order = list(dict.fromkeys(self.origins.values()))
        mine, its = self._giver(key), self._giver(by)
        if mine not in self.files or its is None:
            return False
        return order.index(its) > order.index(str(mine))

    def _giver(self, key: Key) -> str | None:
        """Who gave ``key`` or something in it, last."""
        givers = [origin for known, origin in self.origins.items() if known[: len(key)] == key]
        return givers[-1] if givers else None

    def standing(self, origin: str) -> list[Key]:
        """The keys that ``origin`` gave and no later layer took back, tables left out."""
        return [
            key
            for key, by in self.origins.items()
            if by == origin and not isinstance(self._found(key), Mapping | _Missing)
        ]

    def without(self, keys: Sequence[Key]) -> dict[str, Any]:
        """A copy of the document that lacks ``keys``; of a list that has a fault, all of it."""
        kept = copy.deepcopy(self.document)
        for key in keys:
            names = [str(part) for part in takewhile(lambda part: isinstance(part, str), key)]
            table: Any = kept
            for name in names[:-1]:
                table = table.get(name) if isinstance(table, dict) else None
            if names and isinstance(table, dict):
                table.pop(names[-1], None)
        return kept

    def _found(self, key: Key) -> Any:
        """What the document holds at ``key``; a :class:`_Missing` where it holds nothing."""
        found: Any = self.document
        for part in key:
            if not isinstance(found, Mapping) or part not in found:
                return _Missing()
            found = found[str(part)]
        return found


class _Missing:
    """Stands for what is not there, which None does not: it is a choice."""


def set_pair(text: str, faults: list[Fault], origin: str) -> tuple[Key, Any] | None:
    """``optim.lr=1e-4`` as a key and a value; a value that is no TOML is taken as a text."""
    dotted, sign, written = text.partition("=")
    parts = tuple(part.strip() for part in dotted.split("."))
    if not sign or not all(parts):
        hint = "for example --set optim.lr=1e-4"
        faults.append(
            Fault(where="", origin=origin, expected="key=value", got=short_repr(text), hint=hint)
        )
        return None
    try:
        return parts, tomllib.loads(f"value = {written.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return parts, written.strip()


def _without_dates(value: Any) -> Any:
    """``value`` with TOML's dates and times as texts: no choice is one, and JSON has none."""
    if isinstance(value, Mapping):
        return {key: _without_dates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_dates(item) for item in value]
    return value.isoformat() if isinstance(value, date | time) else value
