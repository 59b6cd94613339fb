"""Files of cached targets: safetensors, written atomically, named by their content.

A file holds targets by their content keys and, in its metadata, the changes of samples and the
samples without a target, with reasons. Files never change, so several folders may hold the same
file, as hard links if possible. Each is compared with its name when it is read; a mismatch is set
aside, and its targets are computed again. Not here: content keys
(:mod:`pearl_train.objectives.target_cache`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
import torch
from safetensors.torch import load, save
from torch import Tensor

from pearl_data.shards.files import WholeFile
from pearl_data.terminal import say
from pearl_data.trajectory import canonical_json
from pearl_tools.errors import BadInput, UsageError
from pearl_tools.strict_json import decode_json
from pearl_train.run.undisturbed import undisturbed
from pearl_train.views.tally import Outcome

_KEY_BYTES = 32
_TOLD = "told"


class _Told(msgspec.Struct, frozen=True):
    """The metadata of a file; outcomes by the content key in hex."""

    made_from: dict[str, Any] = {}
    outcomes: dict[str, Outcome] = {}


class _Head(msgspec.Struct, frozen=True):
    """The metadata of a safetensors header."""

    metadata: dict[str, str] = msgspec.field(name="__metadata__", default_factory=dict)


class Stored(NamedTuple):
    """What a file holds: ``targets`` (n, H) in float32 under ``keys``, and what became of samples
    of which there is something to tell.
    """

    keys: list[bytes]
    targets: Tensor
    outcomes: dict[bytes, Outcome]


def target_files(folder: Path) -> list[Path]:
    """The files of targets in ``folder``, in the order of their names."""
    return sorted(folder.glob("targets-*.safetensors"))


def read_targets(path: Path) -> Stored | str:
    """The content of ``path``, or its fault as text: its bytes do not match its name.

    Raises ``BadInput`` for an unreadable file, ``FileNotFoundError`` for a missing one.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    if path.name != (named := _name(content)):
        return f"expected the content that matches its name, got that of {named}"
    try:
        tensors = load(content)
        keys, targets = tensors["names"], tensors["targets"]
        end = 8 + int.from_bytes(content[:8], "little")
        told = decode_json(content[8:end], _Head).metadata.get(_TOLD, "{}")
        outcomes = decode_json(told, _Told).outcomes
        found = {bytes.fromhex(key): outcome for key, outcome in outcomes.items()}
    except Exception as error:  # noqa: BLE001  # any error of a parser on foreign bytes
        return f"expected cached targets, got {type(error).__name__}: {error}"
    if not bool(torch.isfinite(targets).all()):
        return "expected finite cached targets, got NaN or infinity"
    return Stored([key.tobytes() for key in keys.numpy()], targets, found)


def set_aside(path: Path, wrong: str) -> None:
    """Rename the damaged file ``path``, so that it is not read again, and report it."""
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
        kept = f"it is kept as {aside.name}"
    except FileNotFoundError:  # another process has renamed and reported it
        return
    except OSError as error:
        kept = f"it stays where it is ({error.strerror})"
    say(f"{path}: {wrong}; {kept}, and its targets are computed again", err=True)


def write_targets(
    folder: Path,
    keys: Sequence[bytes],
    targets: Tensor,
    outcomes: Mapping[bytes, Outcome],
    made_from: Mapping[str, Any],
) -> Path:
    """Write ``targets`` (n, H), n >= 0, as one file of ``folder``; ``BadInput`` if a value is not
    finite.
    """
    if not bool(torch.isfinite(targets).all()):
        raise BadInput(f"{folder}: expected finite cached targets, got NaN or infinity")
    names = torch.tensor([list(key) for key in keys], dtype=torch.uint8).reshape(-1, _KEY_BYTES)
    found = {key.hex(): outcome for key, outcome in outcomes.items()}
    told = canonical_json({"made_from": dict(made_from), "outcomes": found})
    content = save(
        {"names": names, "targets": targets.detach().float().cpu().contiguous()},
        metadata={_TOLD: told.decode()},  # one entry: safetensors writes several in any order
    )
    path = folder / _name(content)
    _write(path, content)
    return path


def share_file(path: Path, folder: Path) -> None:
    """Have the file ``path`` in ``folder``, too: as a link, or a copy where there can be none."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, folder / path.name)
    except FileExistsError:
        return
    except OSError:  # another file system, or one without links
        _write(folder / path.name, path.read_bytes())


def shared_folder(path: Path, parts: Mapping[str, Any]) -> Path:
    """The folder below ``path`` for targets whose bits follow from ``parts``; ``UsageError`` where
    ``path`` is none.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(
            f"objective.target.cache: expected a folder, got {path}, which is a file; name a "
            "folder, which may be new"
        )
    return path / hashlib.sha256(canonical_json(parts)).hexdigest()[:16]


def _name(content: bytes) -> str:
    return f"targets-{hashlib.sha256(content).hexdigest()[:24]}.safetensors"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # two processes may write the same content at once: each under a name of its own
    with undisturbed(), WholeFile(path, apart=uuid4().hex[:8]) as file:
        file.write(content)
        file.commit()
