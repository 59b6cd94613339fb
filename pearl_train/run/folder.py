"""The folder of a run: its files, one run per folder.

RUN/
  config.toml       every choice, resolved
  data.json         what was read: path, hash of its manifest, samples
  without.json      samples that take no part, with the reason; of a row of a comparison
  environment.json  versions and devices, one entry per session
  metrics.jsonl     losses and panels; the same for the same seed
  timings.jsonl     rates and waits; never the same twice
  tensorboard/      both, for TensorBoard
  wandb.json        which run this is on W&B, and what it was given; if asked for
  curves.png        the losses as a picture
  targets/          h_R of every sample, if the base is frozen
  checkpoints/      to resume from
  model/            the trained network with its processor, for plain transformers
  README.md         the model card
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pearl_data.shards.files import file_sha256, write_whole
from pearl_data.shards.manifest import MANIFEST
from pearl_tools.errors import BadInput, UsageError
from pearl_tools.strict_json import decode_json
from pearl_tools.types import Record
from pearl_train.run.data import expect_dataset
from pearl_train.settings.config import Config
from pearl_train.settings.load import read_resolved, resolved_toml

OF_VALIDATION = "validation, "
"""Begins the names of what happened to samples of the validation split."""
NOT_COMMON = "not trained on: another row of the comparison cannot take it"
"""The reason in :attr:`DataFacts.left_out` for the samples in ``without.json``."""


class DataFacts(Record, frozen=True, kw_only=True):
    """What a run reads. ``manifest_sha256`` names its bytes: the manifest hashes every shard."""

    path: str
    manifest_sha256: str
    split: str
    samples: int
    validation_samples: int = 0
    left_out: dict[str, int] = {}

    def with_left_out(self, counts: Mapping[str, int]) -> DataFacts:
        """The same with new counts of samples dropped or changed, by subject and reason."""
        known = {**self.left_out, **counts}
        return msgspec.structs.replace(self, left_out=dict(sorted(known.items())))


class RunFolder:
    """The places in the folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.data = path / "data.json"
        self.without = path / "without.json"
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.timings = path / "timings.jsonl"
        self.tensorboard = path / "tensorboard"
        self.wandb = path / "wandb.json"
        self.curves = path / "curves.png"
        self.checkpoints = path / "checkpoints"
        self.targets = path / "targets"
        self.model = path / "model"
        self.card = path / "README.md"

    def must_be_free(self) -> None:
        """Raises ``UsageError`` where the folder holds a run, or anything else."""
        if self.config.is_file():
            raise UsageError(
                f"--out {self.path}: expected a new folder, got one that holds a run; resume with "
                f"pearl-train run --resume {self.path}, or choose another folder"
            )
        found = set(self.path.iterdir()) if self.path.is_dir() else set()
        if self.path.is_file() or found - {self.targets}:  # targets are made before a run begins
            raise UsageError(
                f"--out {self.path}: expected a new or an empty folder, got one with other files; "
                "name another folder"
            )

    def create(
        self, config: Config, data: DataFacts, without: Mapping[str, str] | None = None
    ) -> None:
        """Begin a run: write its data, then its choices. ``without`` are
        dropped samples, by key, with the reason.
        """
        self.must_be_free()
        self.path.mkdir(parents=True, exist_ok=True)
        self.checkpoints.mkdir(exist_ok=True)
        write_json(self.data, data)
        if without:
            write_json(self.without, dict(sorted(without.items())))
        write_whole(self.config, resolved_toml(config).encode())

    def read_config(self) -> Config:
        """The choices of the run; raises ``UsageError`` where there is no run."""
        if not self.config.is_file():
            raise UsageError(
                f"{self.path}: expected the folder of a run, got "
                f"{'no config.toml in it' if self.path.is_dir() else 'no such folder'}"
            )
        return read_resolved(self.config)

    def read_data(self) -> DataFacts:
        """What the run reads; raises ``BadInput`` where that is not to be understood."""
        return read_json(self.data, DataFacts)

    def read_without(self) -> dict[str, str]:
        """The dropped samples, by key, with the reason."""
        return read_json(self.without, dict[str, str]) if self.without.is_file() else {}

    def note_left_out(self, counts: Mapping[str, int]) -> None:
        """Write the numbers of samples dropped or changed so far, by subject and reason."""
        known = self.read_data()
        if (now := known.with_left_out(counts)) != known:
            write_json(self.data, now)


def trained_on(folder: RunFolder, manifest_sha256: str, split: str | None) -> bool:
    """Whether the run learned questions of this split (None: of all) of these data."""
    known = folder.read_data()
    return known.manifest_sha256 == manifest_sha256 and split in (None, known.split)


def data_sha256(path: Path) -> str:
    """The hash that names the bytes of a dataset folder, or of a bare tar; raises ``UsageError``
    for anything else.
    """
    expect_dataset(path)
    return file_sha256(path if path.is_file() else path / MANIFEST)


def same_data(folder: RunFolder, path: Path) -> None:
    """Raises ``UsageError`` unless ``path`` holds the bytes that the run began with."""
    known, found = folder.read_data().manifest_sha256, data_sha256(path)
    if known != found:
        raise UsageError(
            f"{path}: expected the data that {folder.path} began with (manifest {known[:12]}), got "
            f"other data ({found[:12]}); give --data the folder with the same manifest"
        )


def write_json(path: Path, value: Any) -> None:
    """``value`` as indented JSON, whole or not at all."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


T = TypeVar("T")


def read_json(path: Path, kind: type[T]) -> T:
    """The JSON document at ``path`` as a ``kind``; raises ``BadInput`` naming what is wrong."""
    try:
        return decode_json(path.read_bytes(), kind)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        named = getattr(kind, "__name__", str(kind))
        raise BadInput(f"{path}: expected {named} as JSON, got {error}") from error
