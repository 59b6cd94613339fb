"""What can be wrong with a configuration, in words: against the JSON Schema of its types.

Each fault names its key, who gave it, what was expected and what came; an unknown key is answered
with the nearest known one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, Protocol

import jsonschema_rs
import msgspec

from pearl_tools.errors import short_repr
from pearl_train.settings.config import Config
from pearl_train.settings.conflicts import conflicts
from pearl_train.settings.elsewhere import ELSEWHERE, ours

Key = tuple[str | int, ...]

_NAMES = {"object": "a table", "array": "a list", "string": "a text", "number": "a number",
          "integer": "a whole number", "boolean": "true or false"}  # fmt: skip
_LIMITS = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most",
           "exclusiveMaximum": "less than"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing wrong with the choices given: where, who gave it, what is right, what to do."""

    where: str
    origin: str
    expected: str
    got: str
    hint: str = ""
    rests_on: tuple[Key, ...] = ()
    """The keys whose values make the fault; the first is the one that it names."""

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        where = f"{self.where} ({self.origin})" if self.where else self.origin
        return f"{where}: expected {self.expected}, got {self.got}{hint}"


class Given(Protocol):
    """A merged document that knows who gave what."""

    document: dict[str, Any]

    def origin(self, key: Key) -> str:
        """Who gave ``key``."""

    def value(self, key: Key) -> Any:
        """What was given for ``key``."""

    def is_varied(self, key: Key, by: Key) -> bool:
        """Whether a file gave ``key`` and a later layer ``by``."""


@cache
def _schema() -> dict[str, Any]:
    """The schema of ``Config`` with its references resolved and its nulls removed."""
    schema = msgspec.json.schema(Config)

    def filled(node: Any) -> Any:
        if isinstance(node, list):
            return [filled(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return filled(schema["$defs"][node["$ref"].rpartition("/")[2]])
        some = [option for option in node.get("anyOf", ()) if option != {"type": "null"}]
        if some:
            return filled(some[0])
        return {name: filled(item) for name, item in node.items() if name != "default"}

    return dict(filled({"$ref": schema["$ref"]}))


@cache
def nullable_keys() -> frozenset[str]:
    """The dotted keys that may be absent."""

    def keys(kind: type[msgspec.Struct], at: str) -> Iterator[str]:
        for field in msgspec.structs.fields(kind):
            parts = getattr(field.type, "__args__", (field.type,))
            if type(None) in parts:
                yield at + field.name
            for part in parts:
                if isinstance(part, type) and issubclass(part, msgspec.Struct):
                    yield from keys(part, f"{at}{field.name}.")

    return frozenset(keys(Config, ""))


@cache
def known_keys() -> tuple[str, ...]:
    """Every dotted key of the configuration."""

    def keys(node: dict[str, Any], at: str) -> Iterator[str]:
        for name, below in node.get("properties", {}).items():
            yield at + name
            yield from keys(below, f"{at}{name}.")

    return tuple(keys(_schema(), ""))


@cache
def table_keys() -> dict[str, str]:
    """The dotted keys that hold tables, each with one key of it."""
    keys = known_keys()
    return {key.rpartition(".")[0]: key.rpartition(".")[2] for key in reversed(keys) if "." in key}


def schema_faults(given: Given) -> list[Fault]:
    """Every violation of the schema, in our words."""
    document = _present(given.document)
    if jsonschema_rs.is_valid(_schema(), document):
        return []
    faults = []
    for error in jsonschema_rs.Draft202012Validator(_schema()).iter_errors(document):
        key = tuple(error.instance_path)
        facts = error.kind.as_dict()
        if error.kind.name == "additionalProperties":
            for name in facts["unexpected"]:
                at = (*key, name)
                faults.append(
                    Fault(
                        where=dotted(at),
                        origin=given.origin(at),
                        expected="a known key",
                        got=shown(given.value(at)),
                        hint=nearest(at),
                        rests_on=(at,),
                    )
                )
        elif error.kind.name != "falseSchema":  # an item too many is told by maxItems
            value = given.value(key)
            faults.append(
                Fault(
                    where=dotted(key),
                    origin=given.origin(key),
                    expected=_expected(error.kind.name, facts),
                    got=shown(value),
                    rests_on=(key,),
                )
            )
    return faults


def _expected(keyword: str, facts: Mapping[str, Any]) -> str:
    """What a schema keyword demands, in plain words."""
    match keyword:
        case "type":
            return " or ".join(_NAMES[name] for name in facts["types"])
        case "enum":
            return "one of " + ", ".join(facts["options"])
        case "minItems" | "maxItems":
            return f"{'at least' if keyword == 'minItems' else 'at most'} {facts['limit']} items"
        case _ if keyword in _LIMITS:
            return f"{_LIMITS[keyword]} {facts['limit']}"
        case _:
            return f"what the schema says under {keyword}"


def conflict_faults(config: Config, given: Given) -> Iterator[Fault]:
    """What goes wrong only together."""
    for conflict in conflicts(config):
        keys = tuple(tuple(key.split(".")) for key in conflict.keys)
        yield Fault(
            where=conflict.keys[0],
            origin=given.origin(keys[0]),
            expected=conflict.expected,
            got=conflict.got,
            hint=conflict.hint,
            rests_on=keys,
        )


def range_faults(config: Config, given: Given) -> Iterator[Fault]:
    """What the schema cannot say of single values."""
    for place, beta in enumerate(config.optim.betas):
        if not 0 <= beta < 1:
            key = ("optim", "betas")
            yield Fault(
                where=f"optim.betas[{place}]",
                origin=given.origin(key),
                expected="at least 0 and less than 1",
                got=str(beta),
                rests_on=(key,),
            )


def nearest(key: Key) -> str:
    """The known key that ``key`` may mean: by another trainer's name, or by a similar one, of its
    own table first, then of any.
    """
    path, name = dotted(key), str(key[-1])
    table = path.rpartition(".")[0]
    beside = {
        known.rpartition(".")[2]: known
        for known in known_keys()
        if known.rpartition(".")[0] == table
    }
    if known := ours(name):
        return f"did you mean {known}?"
    if close := get_close_matches(name, beside, n=1):
        return f"did you mean {beside[close[0]]}?"
    elsewhere = [known for known in known_keys() if known.rpartition(".")[2] == name]
    if elsewhere or (elsewhere := get_close_matches(path, known_keys(), n=1, cutoff=0.75)):
        return f"did you mean {' or '.join(elsewhere)}?"
    if close := get_close_matches(name.lower(), ELSEWHERE, n=1, cutoff=0.85):
        return f"did you mean {ELSEWHERE[close[0]]}?"
    leaves = {known.rpartition(".")[2]: known for known in known_keys()}
    if close := get_close_matches(name, leaves, n=1, cutoff=0.75):
        return f"did you mean {leaves[close[0]]}?"
    return f"{table or 'the file'} holds {', '.join(beside)}" if beside else "leave it out"


def dotted(key: Key) -> str:
    """``key`` as people write it.

    >>> dotted(("optim", "betas", 1))
    'optim.betas[1]'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return text.removeprefix(".")


def shown(value: Any) -> str:
    """A given value in a message, as TOML has it.

    >>> [shown(value) for value in ("fast", True, None, 3)]
    ['"fast"', 'true', '"none"', '3']
    """
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return '"none"'
    return f'"{value}"' if isinstance(value, str) else short_repr(value)


def _present(value: Any) -> Any:
    """``value`` without the keys whose value is None."""
    if isinstance(value, dict):
        return {key: _present(item) for key, item in value.items() if item is not None}
    return value
