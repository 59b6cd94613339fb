"""From files, ``--set`` and flags to one configuration, or every fault of them at once.

Later layers win key by key: configuration files in the order given, then ``--set``, then flags.
The verdict is that of the JSON Schema of the configuration's types. TOML has no null, so the text
``none`` stands for it wherever a choice may be absent (``optim.clip = "none"``).
Left out: which options exclude each other, which each objective's plan knows.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import tomli_w

from pearl_tools.errors import UsageError, short_repr
from pearl_train.config import Config

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

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        where = f"{self.where} ({self.origin})" if self.where else self.origin
        return f"{where}: expected {self.expected}, got {self.got}{hint}"


def load_config(
    files: Sequence[str | Path] = (),
    sets: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration that the layers make together.

    ``files`` are TOML files or names of presets (``nano``), later ones win; ``sets`` are
    ``key=value`` with a dotted key and a TOML value or a bare text; ``flags`` are dotted keys with
    the values of command-line flags, where None was not given. With no file, the preset ``nano``
    is the base if the model is ``nano``. Raises ``UsageError`` that lists every fault found.

    >>> load_config(["nano"], ["optim.lr=1e-4"], {"objective.name": "sft"}).optim.lr
    0.0001
    """
    faults: list[Fault] = []
    layers = _Layers()
    given = [(str(file), _file_table(file, faults)) for file in files]
    pairs = [pair for text in sets if (pair := _set_pair(text, faults))]
    named = {key: value for key, value in (flags or {}).items() if value is not None}
    if not files:
        models = [value for key, value in pairs if key == ("model", "id")]
        models += [value for key, value in named.items() if key == "model.id"]
        if (models or ["nano"])[-1] == "nano":
            given.append(("preset nano", _file_table("nano", faults)))
    for origin, table in given:
        layers.add((), table, origin)
    for key, value in pairs:
        layers.add(key, value, "--set")
    for dotted, value in named.items():
        layers.add(tuple(dotted.split(".")), value, "command line")
    faults += [*layers.faults, *_schema_faults(layers)]
    config = None if faults else msgspec.convert(_whole_numbers(layers.document), Config)
    if config:
        faults += _range_faults(config, layers)
    if faults or not config:
        raise UsageError(_told(faults))
    return config


def read_resolved(path: Path) -> Config:
    """The configuration of a run, from the ``config.toml`` in its folder."""
    return load_config([path])


def resolved_toml(config: Config) -> str:
    """Every choice of ``config`` as TOML that :func:`read_resolved` reads back the same."""
    table = _without_null(msgspec.to_builtins(config))
    head = f"# Every choice of this run, as resolved by pearl-train {version('pearl-toolkit')}.\n\n"
    return head + tomli_w.dumps(table)


def preset_path(name: str) -> Path | None:
    """The file of the preset ``name``, or None if there is none of this name."""
    path = _preset_folder() / f"{name}.toml"
    return path if path.is_file() else None


def presets() -> list[str]:
    """The names of the presets that come with the trainer."""
    return sorted(path.stem for path in _preset_folder().glob("*.toml"))


def _preset_folder() -> Path:
    """``configs/``: beside the package in a checkout, inside it once installed from a wheel."""
    package = Path(__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


class _Layers:
    """The merged document, and who gave each of its keys."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {}
        self.origins: dict[Key, str] = {}
        self.faults: list[Fault] = []

    def add(self, key: Key, value: Any, origin: str) -> None:
        """Set ``key`` to ``value``; tables are merged, anything else replaces what was there."""
        if isinstance(value, Mapping) and value:
            for name, item in value.items():
                self.add((*key, name), item, origin)
            return
        if not key:
            return
        dotted = ".".join(map(str, key))
        if dotted in _tables() and not isinstance(value, Mapping) and value != "none":
            given = f'"{value}"' if isinstance(value, str) else short_repr(value)
            hint = f"for example {dotted}.{_tables()[dotted]} = ..."
            fault = Fault(where=dotted, origin=origin, expected="a table", got=given, hint=hint)
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
        absent = value == "none" and dotted in _nullable()
        table[name] = None if absent else (dict(value) if isinstance(value, Mapping) else value)

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


def _file_table(file: str | Path, faults: list[Fault]) -> dict[str, Any]:
    """The TOML table in a file or preset; what is wrong with it goes to ``faults``."""
    path = Path(file)
    if not path.is_file():
        path = preset_path(str(file)) or path
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = f"presets: {', '.join(presets())}"
        expected = "a TOML file or the name of a preset"
        faults.append(
            Fault(where="", origin=str(file), expected=expected, got=str(error.strerror), hint=hint)
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(Fault(where="", origin=str(file), expected="TOML", got=str(error)))
    return {}


def _set_pair(text: str, faults: list[Fault]) -> tuple[Key, Any] | None:
    """``optim.lr=1e-4`` as a key and a value; a value that is no TOML is taken as a text."""
    dotted, sign, written = text.partition("=")
    parts = tuple(part.strip() for part in dotted.split("."))
    if not sign or not all(parts):
        hint = "for example --set optim.lr=1e-4"
        faults.append(
            Fault(where="", origin="--set", expected="key=value", got=short_repr(text), hint=hint)
        )
        return None
    try:
        return parts, tomllib.loads(f"value = {written.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return parts, written.strip()


@cache
def _schema() -> dict[str, Any]:
    """The schema of ``Config`` with its references filled in and its nulls left out."""
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
def _nullable() -> frozenset[str]:
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
def _all_keys() -> tuple[str, ...]:
    """Every dotted key of the configuration."""

    def keys(node: dict[str, Any], at: str) -> Iterator[str]:
        for name, below in node.get("properties", {}).items():
            yield at + name
            yield from keys(below, f"{at}{name}.")

    return tuple(keys(_schema(), ""))


@cache
def _tables() -> dict[str, str]:
    """The dotted keys that hold tables, each with one key of it."""
    keys = _all_keys()
    return {key.rpartition(".")[0]: key.rpartition(".")[2] for key in reversed(keys) if "." in key}


def _schema_faults(layers: _Layers) -> list[Fault]:
    """Every violation of the schema, in our words."""
    document = _present(layers.document)
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
                        where=_dotted(at),
                        origin=layers.origin(at),
                        expected="a known key",
                        got=short_repr(layers.value(at)),
                        hint=_nearest(at),
                    )
                )
        elif error.kind.name != "falseSchema":  # an item too many is told by maxItems
            given = layers.value(key)
            faults.append(
                Fault(
                    where=_dotted(key),
                    origin=layers.origin(key),
                    expected=_expected(error.kind.name, facts),
                    got=f'"{given}"' if isinstance(given, str) else short_repr(given),
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


def _range_faults(config: Config, layers: _Layers) -> Iterator[Fault]:
    """What the schema cannot say of single values."""
    for place, beta in enumerate(config.optim.betas):
        if not 0 <= beta < 1:
            key = ("optim", "betas")
            yield Fault(
                where=f"optim.betas[{place}]",
                origin=layers.origin(key),
                expected="at least 0 and less than 1",
                got=str(beta),
            )


def _nearest(key: Key) -> str:
    """A known key close to ``key``: of its own table first, then of any."""
    dotted, name = _dotted(key), str(key[-1])
    table = dotted.rpartition(".")[0]
    beside = {
        known.rpartition(".")[2]: known
        for known in _all_keys()
        if known.rpartition(".")[0] == table
    }
    known_as = {**beside, "lambda": "objective.weight"}
    if close := get_close_matches(name, known_as, n=1):
        return f"did you mean {known_as[close[0]]}?"
    elsewhere = [known for known in _all_keys() if known.rpartition(".")[2] == name]
    if elsewhere or (elsewhere := get_close_matches(dotted, _all_keys(), n=1, cutoff=0.75)):
        return f"did you mean {' or '.join(elsewhere)}?"
    return f"{table or 'the file'} holds {', '.join(beside)}" if beside else "leave it out"


def _told(faults: Sequence[Fault]) -> str:
    """All faults as one message."""
    if len(faults) == 1:
        return str(faults[0])
    return f"{len(faults)} faults in the configuration:" + "".join(f"\n  {f}" for f in faults)


def _dotted(key: Key) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return text.removeprefix(".")


def _present(value: Any) -> Any:
    """``value`` without the keys whose value is None."""
    if isinstance(value, dict):
        return {key: _present(item) for key, item in value.items() if item is not None}
    return value


def _without_null(value: Any) -> Any:
    """``value`` with None as the text ``none``."""
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items()}
    return "none" if value is None else value


def _whole_numbers(value: Any) -> Any:
    """``value`` with 1.0 as 1, which JSON Schema holds to be the same."""
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
