"""Frozen-base targets on disk: computed in one pass before the first step, then only read.

What the base makes of a trajectory never changes, so with a cache no trajectory picture is encoded
while training. A target's name is a hash of all that decides it: the sample's key, the hash of its
record (which holds those of its pictures' pixels), the base's weights, the processor with its
template, and the options of target, data and model that shape the view. Changes of a sample
(made smaller, or dropped) are kept with the targets. Processes and runs can share a folder;
unless a process is killed, no stop loses a computed target.

A run reads targets from its own folder alone, so that nothing outside changes them when it is
resumed; from a folder that runs share, it takes the files it lacks, and gives those it makes.

Not here: which samples to compute, and making batches of them (the loader's work), and what a file
looks like (:mod:`pearl_train.objectives.target_files`).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import torch
from torch import Tensor

from pearl_data.terminated import taking_time
from pearl_data.trajectory import canonical_json
from pearl_tools.errors import BadInput, listed
from pearl_train.model.backbone import Backbone
from pearl_train.objectives.target import embed_rows
from pearl_train.objectives.target_files import (
    read_targets,
    set_aside,
    share_file,
    target_files,
    write_targets,
)
from pearl_train.settings.config import Config
from pearl_train.views.batch import Batch
from pearl_train.views.tally import Outcome, Tally

FORMAT = 3
_SAMPLED_VALUES = 4096
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Identity(NamedTuple):
    """What all targets of a run have in common: a hash, and in words what went into it."""

    sha256: str
    made_from: Mapping[str, Any]


class RecordHashes(Protocol):
    """The sha256 of a sample's record by its key."""

    def __getitem__(self, key: str, /) -> str: ...


def target_identity(backbone: Backbone, config: Config) -> Identity:
    """The identity of targets made by ``backbone``, before training, under ``config``.

    Weights count by their bits, those of adapters and of the tokens that we add do not: they take
    no part in the view R of the base.
    """
    data, model = config.data, config.model
    made_from = {
        "format": FORMAT,
        "weights": base_fingerprint(backbone),
        "processor": processor_fingerprint(backbone.processor),
        "target": msgspec.to_builtins(config.objective.target) | {"ema_decay": None, "cache": None},
        "data": {
            "system": data.system,
            "answers": data.answers,
            "max_tokens": data.max_tokens,
            "too_long": data.too_long,
        },
        "model": {"dtype": model.dtype, "max_pixels": model.max_pixels},
    }
    return Identity(hashlib.sha256(canonical_json(made_from)).hexdigest(), made_from)


def base_fingerprint(backbone: Backbone) -> str:
    """A hash of the base's weights by name: exact sums of their bits and a sample of them.

    The same with and without LoRA. The LM head is left out: no target passes it.
    """
    plain = backbone.plain
    names = {id(module): name for name, module in plain.named_modules()}
    embedding = f"{names[id(plain.get_input_embeddings())]}.weight"
    head = f"{names.get(id(plain.get_output_embeddings()), '')}.weight"
    base = {
        re.sub(r"(\.token_adapter)?\.base_layer\b", "", name): weight
        for name, weight in plain.state_dict().items()
        if not re.search(r"\.(lora_|trainable_tokens_)", name)
    }
    digest = hashlib.sha256()
    for name, weight in sorted(base.items()):
        if name == head:
            continue
        tensor = weight
        if name == embedding:
            kept = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
            kept[torch.tensor(backbone.tokens.all)] = False
            tensor = weight[kept]
        bits = tensor.contiguous().view(-1)
        bits = bits.view(_INTEGERS[bits.element_size()])
        total = int(bits.sum(dtype=torch.int64))
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {total} ".encode())
        sampled = bits[:: max(len(bits) // _SAMPLED_VALUES, 1)].cpu()
        digest.update(sampled.numpy().tobytes())
    return digest.hexdigest()


def processor_fingerprint(processor: Any) -> str:
    """A hash of the processor's settings, its chat template, and the words of its tokenizer."""
    settings = {
        name: part.to_dict()
        for name in ("image_processor", "video_processor")
        if (part := getattr(processor, name, None)) is not None
    }
    tokenizer = processor.tokenizer
    told = json.dumps(
        [
            type(processor).__name__,
            settings,
            processor.chat_template,
            tokenizer.backend_tokenizer.to_str(),
        ],
        sort_keys=True,
        default=str,
    )
    return hashlib.sha256(told.encode()).hexdigest()


class TargetCache:
    """The targets under ``folder`` that belong to ``identity``; call it with a batch.

    ``records`` gives the hash of each sample's record. ``shared`` is a folder of the same targets,
    to which files that are made go as well, and from which :meth:`borrow` takes them.
    """

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        records: RecordHashes,
        *,
        shared: Path | None = None,
    ) -> None:
        self.folder, self.shared = folder, shared
        self.identity = identity
        self.records = records
        self._places: dict[bytes, tuple[Path, int]] = {}
        self._outcomes: dict[bytes, tuple[Path, Outcome]] = {}
        self._tensors: dict[Path, Tensor] = {}
        self.refresh()

    def refresh(self) -> None:
        """Add new files of other processes; a damaged one is set aside,
        so that its targets are missing.

        If two hold the same target, the first by name counts.
        """
        for path in target_files(self.folder):
            if path in self._tensors:
                continue
            try:
                found = read_targets(path)
            except FileNotFoundError:  # set aside by another process
                continue
            if isinstance(found, str):
                set_aside(path, found)
                continue
            self._tensors[path] = found.targets
            for row, key in enumerate(found.keys):
                self._places[key] = min(self._places.get(key, (path, row)), (path, row))
            self._outcomes |= {key: (path, told) for key, told in found.outcomes.items()}

    def name(self, key: str) -> bytes:
        """The content key of the target of sample ``key``."""
        told = f"{self.identity.sha256} {key} {self.records[key]}"
        return hashlib.sha256(told.encode()).digest()

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of ``keys`` that have no target yet, and are not known to have none."""
        return [key for key in keys if self._file(self.name(key)) is None]

    def outcomes(self, keys: Iterable[str]) -> dict[str, Outcome]:
        """What became of those of ``keys`` of which there is something to tell."""
        named = {key: self._outcomes.get(self.name(key)) for key in keys}
        return {key: found[1] for key, found in named.items() if found}

    def borrow(self, keys: Iterable[str]) -> None:
        """Take what is missing of ``keys`` from the shared folder, as far as it is there."""
        if self.shared is None or not (missing := self.missing(keys)):
            return
        there = TargetCache(self.shared, self.identity, self.records)
        for path in sorted({p for key in missing if (p := there._file(self.name(key)))}):
            share_file(path, self.folder)
        self.refresh()

    def __call__(self, batch: Batch) -> Tensor:
        """h_R (B, H) in float32, where the batch is; ``BadInput`` naming what is missing."""
        if not batch.keys:  # a stand-in batch, of which nothing counts
            return torch.zeros(0, 1, device=batch.context.ids.device)
        places = [self._places.get(self.name(key)) for key in batch.keys]
        if lacking := [key for key, place in zip(batch.keys, places, strict=True) if not place]:
            raise BadInput(
                f"{self.folder}: expected a target for every sample, got none for "
                f"{', '.join(lacking[:3])} ({len(lacking)} of {len(batch.keys)}); samples whose "
                "trajectory does not fit data.max_tokens have none and must be left out"
            )
        rows = [self._tensors[place[0]][place[1]] for place in places if place]
        return torch.stack(rows).to(batch.context.ids.device)

    def add(
        self, keys: Sequence[str], targets: Tensor, outcomes: Mapping[str, Outcome] | None = None
    ) -> Path:
        """Write ``targets`` (n, H) of the samples ``keys`` as one file, with what became of these
        and of samples without a target.
        """
        told = {self.name(key): outcome for key, outcome in sorted((outcomes or {}).items())}
        names = [self.name(key) for key in keys]
        path = write_targets(self.folder, names, targets, told, self.identity.made_from)
        if self.shared is not None:
            share_file(path, self.shared)
        self.refresh()
        return path

    def _file(self, name: bytes) -> Path | None:
        """The file with the target ``name``, or with the reason why there is none."""
        if place := self._places.get(name):
            return place[0]
        path, told = self._outcomes.get(name, (None, Outcome()))
        return path if told.reason else None


@torch.no_grad()
def fill(
    cache: TargetCache,
    backbone: Backbone,
    batches: Iterable[Batch],
    config: Config,
    *,
    tally: Tally | None = None,
    tell: Callable[[int], None] | None = None,
    per_file: int = 4096,
    most_s: float = 300,
) -> int:
    """Compute the targets of ``batches``, which hold the view R, with the base's weights.

    The number of targets made. Call it before the first update, and when resuming before the
    checkpoint is restored: with full fine-tuning only then is the network still the base. A target
    that is there already is not made again. ``tally`` counts what becomes of samples while
    ``batches`` are drawn; it is kept with the targets, and so are samples that have none.
    ``tell`` is given the number done after each batch, also one of which nothing counts. They are
    written as files of ``per_file`` targets, or of what ``most_s`` seconds made; what is made when
    anything ends the work, such as an exception of ``tell`` or Ctrl-C, is written then. Raises
    ``BadInput`` naming samples whose target is not finite, with what makes it so; none of their
    batch is kept.
    """
    done = 0
    counted = Tally() if tally is None else tally
    made: list[tuple[Sequence[str], Tensor]] = []  # appended to by one operation, or not at all
    written_s = time.monotonic()

    def write() -> None:
        keys = [key for some, _ in made for key in some]
        told = counted.outcomes()
        lost = cache.missing(key for key, outcome in told.items() if outcome.reason)
        if keys or lost:
            there = {key: told[key] for key in (*keys, *lost) if key in told}
            targets = torch.cat([some for _, some in made]) if made else torch.zeros(0, 0)
            cache.add(keys, targets, there)
            made.clear()

    try:
        with backbone.base_weights():
            for batch in batches:
                if fresh := cache.missing(batch.keys):
                    rows = batch.to(backbone.device)
                    targets = embed_rows(backbone, rows, config.objective.target).cpu()
                    _refuse_broken(batch, targets)
                    made.append((fresh, targets[[key in fresh for key in batch.keys]]))
                    done += len(fresh)
                waiting = sum(len(keys) for keys, _ in made)
                if waiting >= per_file or time.monotonic() - written_s > most_s:
                    write()
                    written_s = time.monotonic()
                if tell:
                    tell(done)
    finally:
        with taking_time():
            write()
    return done


def _refuse_broken(batch: Batch, targets: Tensor) -> None:
    """Raises ``BadInput`` for the samples of ``batch`` whose ``targets`` (n, H) are no numbers."""
    rows = (~torch.isfinite(targets).all(dim=-1)).nonzero().flatten().tolist()
    if not rows:
        return
    named = listed([f"{batch.keys[row]} in {batch.shards[row]}" for row in rows])
    pixels = all(
        bool(torch.isfinite(tensor).all())
        for tensor in batch.images.values()
        if tensor.is_floating_point()
    )
    remedy = (
        "the pixels are numbers, so the network before training makes none of them: run "
        'pearl-train doctor, which traces where, or set model.dtype = "float32"'
        if pixels
        else "pixels of the batch are no numbers: look for a zero in image_std, or a "
        "rescale_factor that is no number, in the model's processor files"
    )
    raise BadInput(f"expected finite targets h_R, got NaN or infinity for {named}; {remedy}")
