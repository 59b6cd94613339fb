"""From files, ``--set`` and flags to one configuration, or every fault of them at once.

Later layers win key by key: configuration files in the order given, then ``--set``, then flags,
then what makes a row of a comparison. The verdict is that of the JSON Schema of the configuration's
types; what passes it is judged together even where something else does not, so that nobody mends
one fault to be told of the next. TOML has no null, so the text ``none`` stands for it wherever a
choice may be absent (``optim.clip = "none"``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import tomli_w

from pearl_tools.errors import UsageError
from pearl_train.settings.conditions import idle_faults
from pearl_train.settings.config import OBJECTIVES, Config, ObjectiveName
from pearl_train.settings.faults import (
    Fault,
    Key,
    conflict_faults,
    range_faults,
    schema_faults,
)
from pearl_train.settings.layers import Layers, set_pair
from pearl_train.settings.rate import usual_rate
from pearl_train.settings.reads import meant_for, unread_faults

ROW = "--objectives"


class Judged(NamedTuple):
    """A configuration and its faults; faulty values are removed from it. ``idle`` are the shared
    choices that this row of a comparison does not use. ``rate`` is the kind of training that the
    default learning rate suits, empty if the rate was chosen.
    """

    config: Config
    faults: list[Fault]
    idle: list[Fault]
    rate: str = ""


def load_config(
    files: Sequence[str | Path] = (),
    sets: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    *,
    row: Sequence[str] = (),
    among: Collection[ObjectiveName] = (),
) -> Config:
    """The configuration that the layers make together.

    ``files`` are TOML files or names of presets (``nano``), later ones win; ``sets`` are
    ``key=value`` with a dotted key and a TOML value or a bare text; ``flags`` are dotted keys with
    the values of command-line flags, where None was not given. With no file, the preset ``nano``
    is the base if the model is ``nano``. A learning rate that no layer gives follows from the model
    (:mod:`pearl_train.settings.rate`). In a comparison ``row`` are the ``key=value`` of one row,
    and ``among`` the objectives that the other layers may be meant for; without, they are meant for
    the chosen one. Raises ``UsageError`` that lists every fault found.

    >>> load_config(["nano"], ["optim.lr=1e-4"], {"objective.name": "sft"}).optim.lr
    0.0001
    """
    config, faults, _, _ = judge(files, sets, flags, row=row, among=among)
    if faults:
        raise UsageError(told(faults))
    return config


def judge(
    files: Sequence[str | Path] = (),
    sets: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    *,
    row: Sequence[str] = (),
    among: Collection[ObjectiveName] = (),
) -> Judged:
    """What :func:`load_config` makes of the same, with its faults as a list."""
    faults: list[Fault] = []
    layers = Layers()
    given = [(str(file), _file_table(file, faults)) for file in files]
    whole = not faults
    pairs = [pair for text in sets if (pair := set_pair(text, faults, "--set"))]
    named = {key: value for key, value in (flags or {}).items() if value is not None}
    if not files:
        models = [value for key, value in pairs if key == ("model", "id")]
        models += [value for key, value in named.items() if key == "model.id"]
        if (models or ["nano"])[-1] == "nano":
            given.append(("preset nano", _file_table("nano", faults)))
    for origin, table in given:
        layers.files.append(origin)
        layers.add((), table, origin)
    for key, value in pairs:
        layers.add(key, value, "--set")
    for path, value in named.items():
        layers.add(tuple(path.split(".")), value, "command line")
    for pair in [pair for text in row if (pair := set_pair(text, faults, ROW))]:
        layers.add(*pair, ROW)
    faults += [*layers.faults, *schema_faults(layers)]
    wrong = [key for fault in faults for key in fault.rests_on]
    config = msgspec.convert(_whole_numbers(layers.without(wrong)), Config)
    rate = ""
    if layers.document.get("optim", {}).get("lr") is None:
        lr, rate = usual_rate(config.model)
        config = msgspec.structs.replace(config, optim=msgspec.structs.replace(config.optim, lr=lr))
    faults += range_faults(config, layers)
    idle: list[Fault] = []
    if whole:  # a file that cannot be read may say something else
        own, idle = _idle(config, layers, given, shared=bool(among))
        together = [*conflict_faults(config, layers), *_unread(config, layers, given, among), *own]
        told_of = [one for one in together if not _overlap(one.rests_on, wrong)]
        faults += _first_of_each(told_of)
        idle = [one for one in idle if not _overlap(one.rests_on, wrong)]
    return Judged(config, faults, idle, rate)


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


def _file_table(file: str | Path, faults: list[Fault]) -> dict[str, Any]:
    """The TOML table in a file or preset; what is wrong with it goes to ``faults``."""
    path = Path(file)
    if not path.is_file():
        path = preset_path(str(file)) or path
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        hint = f"presets: {', '.join(presets())}"
        expected = "a TOML file or the name of a preset"
        faults.append(
            Fault(where="", origin=str(file), expected=expected, got=str(error.strerror), hint=hint)
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(Fault(where="", origin=str(file), expected="TOML", got=str(error)))
    return {}


def told(faults: Sequence[Fault]) -> str:
    """All faults as one message; those that several rows of a comparison share once."""
    lines = list(dict.fromkeys(map(str, faults)))
    if len(lines) == 1:
        return lines[0]
    return f"{len(lines)} faults in the configuration:" + "".join(f"\n  {line}" for line in lines)


def _unread(
    config: Config,
    layers: Layers,
    files: Sequence[tuple[str, Mapping[str, Any]]],
    among: Collection[ObjectiveName],
) -> Iterator[Fault]:
    """Choices that nothing reads, layer by layer: a file may be meant for another objective."""
    chosen = config.objective.name
    meant = {origin: meant_for(table) for origin, table in files}
    for origin in dict.fromkeys(layers.origins.values()):
        own: set[ObjectiveName] = {chosen}
        if origin != ROW:
            own |= set(among)
        maker = meant.get(origin)
        own |= {name for name in OBJECTIVES if maker in {"", name}}
        yield from unread_faults(config, layers, layers.standing(origin), own)


def _idle(
    config: Config,
    layers: Layers,
    files: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    shared: bool,
) -> tuple[list[Fault], list[Fault]]:
    """Choices that another choice leaves unread: those to tell, and, if the layers are ``shared``
    by the rows of a comparison, those of the shared layers, which another row may read.
    """
    resolved = {origin for origin, table in files if meant_for(table) == ""}
    own: list[Fault] = []
    others: list[Fault] = []
    for origin in dict.fromkeys(layers.origins.values()):
        if origin not in resolved:
            found = idle_faults(config, layers, layers.standing(origin))
            (others if shared and origin != ROW else own).extend(found)
    return own, others


def _first_of_each(faults: Sequence[Fault]) -> list[Fault]:
    """One fault for each key: what excludes a choice says more than that it is not read."""
    found: dict[Key, Fault] = {}
    for fault in faults:
        found.setdefault(fault.rests_on[0], fault)
    return list(found.values())


def _overlap(some: Sequence[Key], others: Sequence[Key]) -> bool:
    """Whether a key of ``some`` is one of ``others``, lies in it or holds it."""
    return any(a[: len(b)] == b[: len(a)] for a in some for b in others)


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
