"""From files, ``--set`` and flags to one configuration, or every fault of them at once.

Later layers win key by key: configuration files in the order given, then ``--set``, then flags.
The verdict is that of the JSON Schema of the configuration's types. TOML has no null, so the text
``none`` stands for it wherever a choice may be absent (``optim.clip = "none"``).
Left out: which options exclude each other, which each objective's plan knows.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from pearl_tools.errors import UsageError, short_repr
from pearl_train.settings.config import Config
from pearl_train.settings.faults import (
    Fault,
    Key,
    nullable_keys,
    range_faults,
    schema_faults,
    table_keys,
)


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
    faults += [*layers.faults, *schema_faults(layers)]
    config = None if faults else msgspec.convert(_whole_numbers(layers.document), Config)
    if config:
        faults += range_faults(config, layers)
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
    package = Path(__file__).parents[1]
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
        if dotted in table_keys() and not isinstance(value, Mapping) and value != "none":
            given = f'"{value}"' if isinstance(value, str) else short_repr(value)
            hint = f"for example {dotted}.{table_keys()[dotted]} = ..."
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
        absent = value == "none" and dotted in nullable_keys()
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


def _told(faults: Sequence[Fault]) -> str:
    """All faults as one message."""
    if len(faults) == 1:
        return str(faults[0])
    return f"{len(faults)} faults in the configuration:" + "".join(f"\n  {f}" for f in faults)


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
