"""Checkpoints on disk; each is complete or absent.

A checkpoint is a folder ``step-000100``. It is written under a temporary name beside its place,
every file and the folder are made durable, ``manifest.json`` with the hash of each file comes last,
then one rename. So a folder without a manifest, or with a file that does not match it, is damaged:
it is skipped and reported. Tensors are safetensors, all else JSON; nothing is
ever unpickled. Not here: what is in them (:mod:`pearl_train.training.state`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from safetensors.torch import load_file, save_file
from torch import Tensor

from pearl_data.shards.files import file_sha256, sync_folder
from pearl_data.shards.permissions import obey_umask
from pearl_tools.errors import BadInput, listed
from pearl_tools.strict_json import decode_json
from pearl_tools.types import Record
from pearl_train.errors import writing

MANIFEST = "manifest.json"
STATE = "state.json"
_NAME = re.compile(r"step-(\d{6,})")


class CheckpointManifest(Record, frozen=True, kw_only=True):
    """What a checkpoint is made of. ``validation`` is its loss there, where it was measured."""

    step: int
    validation: float | None
    sha256: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What goes into a checkpoint.

    ``tensors`` by file (``weights`` becomes ``weights.safetensors``) and name; ``state`` is JSON.
    """

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]
    validation: float | None = None


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint that was found whole."""

    path: Path
    manifest: CheckpointManifest

    @property
    def step(self) -> int:
        """Updates done when it was written."""
        return self.manifest.step

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of one file, in memory of their own; none if there is no such file."""
        path = self.path / f"{name}.safetensors"
        if path.name not in self.manifest.sha256:
            return {}
        return {key: tensor.clone() for key, tensor in load_file(path).items()}

    def state(self) -> dict[str, Any]:
        """The JSON part."""
        return dict(json.loads((self.path / STATE).read_bytes()))


def write_checkpoint(
    folder: Path, snapshot: Snapshot, beside: Callable[[Path], None] | None = None
) -> Path:
    """Write ``snapshot`` into ``folder`` as ``step-N``; ``beside`` may add files of its own.

    A damaged folder of the same name is replaced; an intact one is kept, unless it lacks the
    ``validation`` of this one. Raises ``CannotWrite`` naming the file that a full disk, or another,
    refuses; then ``folder`` is unchanged.
    """
    path = folder / f"step-{snapshot.step:06d}"
    if path.exists():
        found = whole(path)
        if isinstance(found, Checkpoint) and found.manifest.validation == snapshot.validation:
            return path
    temporary = folder / f".{path.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with writing(temporary):
            temporary.mkdir(parents=True)
        for name, tensors in snapshot.tensors.items():
            if tensors:
                plain = {key: tensor.detach().contiguous() for key, tensor in tensors.items()}
                with writing(path / f"{name}.safetensors"):
                    save_file(plain, temporary / f"{name}.safetensors")
        with writing(path / STATE):
            (temporary / STATE).write_text(json.dumps(snapshot.state, indent=1), encoding="utf-8")
        with writing(path):
            if beside:
                beside(temporary)
            obey_umask(temporary)
            _write_manifest(temporary, snapshot)
            if path.exists():
                _remove(path)
            temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(folder)
    return path


def whole(path: Path) -> Checkpoint | str:
    """The checkpoint at ``path``, every byte as it was written, or why it is not one."""
    try:
        manifest = decode_json((path / MANIFEST).read_bytes(), CheckpointManifest)
    except OSError:
        return f"no {MANIFEST}: it was never finished"
    except msgspec.DecodeError as error:
        return f"{MANIFEST} is damaged: {error}"
    for name, digest in manifest.sha256.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if file_sha256(file) != digest:
            return f"{name} has other bytes than were written"
    return Checkpoint(path=path, manifest=manifest)


def newest_whole(folder: Path, tell: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint in ``folder``; each torn one on the way is told by name."""
    for path in sorted(_named(folder), key=_step_of, reverse=True):
        found = whole(path)
        if isinstance(found, Checkpoint):
            return found
        tell(f"checkpoint {path} is passed over: {found}")
    return None


def sweep(folder: Path) -> None:
    """Remove what interrupted writing or removing left behind."""
    for path in folder.glob(".step-*"):
        shutil.rmtree(path, ignore_errors=True)


def prune(folder: Path, keep_last: int, *, keep_best: bool) -> None:
    """Remove all but the ``keep_last`` newest checkpoints and the one with the best validation."""
    paths = sorted(_named(folder), key=_step_of)
    kept = set(paths[-keep_last:])
    if keep_best and (best := best_checkpoint(folder)):
        kept.add(best)
    for path in paths:
        if path not in kept:
            _remove(path)


def best_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the lowest validation loss; the earlier of two equal ones."""
    scored = [
        (manifest.validation, manifest.step, path)
        for path, manifest in manifests(folder).items()
        if manifest.validation is not None
    ]
    return min(scored)[2] if scored else None


def manifests(folder: Path) -> dict[Path, CheckpointManifest]:
    """The checkpoints in ``folder`` that say what they are, the oldest first; whether their files
    are as they were written is for :func:`whole` to say.
    """
    found = {}
    for path in sorted(_named(folder), key=_step_of):
        try:
            manifest = decode_json((path / MANIFEST).read_bytes(), CheckpointManifest)
        except (OSError, msgspec.DecodeError):
            continue
        found[path] = manifest
    return found


def expect_names(where: Path, expected: set[str], found: set[str]) -> None:
    """Raises ``BadInput`` that names tensors which one side has and the other lacks."""
    if expected == found:
        return
    missing, extra = sorted(expected - found), sorted(found - expected)
    parts = [
        f"{len(names)} {word}, such as {names[0]}"
        for names, word in ((missing, "missing"), (extra, "unknown"))
        if names
    ]
    raise BadInput(
        f"{where}: expected the weights of the run's own model, got {' and '.join(parts)}; "
        "the model or the toolkit changed since it was written"
    )


def expect_shapes(
    where: Path, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor]
) -> None:
    """Raises ``BadInput`` that names the first tensor of another shape than ``expected``."""
    wrong = [name for name, shape in expected.items() if tuple(found[name].shape) != shape]
    if wrong:
        name = wrong[0]
        raise BadInput(
            f"{where}: expected weights in the shapes of the run's own model, got others for "
            f"{listed(wrong)} (the first {tuple(found[name].shape)}, expected {expected[name]}); "
            "the model or the toolkit changed since it was written: resume with that version of "
            "it, or train anew with another --out"
        )


def _write_manifest(folder: Path, snapshot: Snapshot) -> None:
    """Make every file durable, then add the manifest that lists them."""
    digests = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        _sync_file(file)
        digests[file.relative_to(folder).as_posix()] = file_sha256(file)
    manifest = CheckpointManifest(
        step=snapshot.step, validation=snapshot.validation, sha256=digests
    )
    target = folder / MANIFEST
    target.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    _sync_file(target)
    for below in [path for path in folder.rglob("*") if path.is_dir()]:
        sync_folder(below)
    sync_folder(folder)


def _sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _named(folder: Path) -> list[Path]:
    return [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]


def _step_of(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def _remove(path: Path) -> None:
    """Take ``path`` out of sight in one rename, then delete it."""
    hidden = path.with_name(f".{path.name}.old")
    shutil.rmtree(hidden, ignore_errors=True)
    path.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)
