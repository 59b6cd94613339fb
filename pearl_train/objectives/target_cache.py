"""Frozen-base targets on disk: computed in one pass before the first step, then only read.

What the base makes of a trajectory never changes, so with a cache no trajectory picture is encoded
while training. A target's name is a hash of all that decides it: the sample's key, the hash of its
record (which holds those of its pictures' pixels), the base's weights, the processor with its
template, and the options of target, data and model that shape the view. Files are safetensors that
appear whole under a name of their content, so that processes and runs can share a folder; but for a
killed process, no stop loses a target that was made.

Left out: which samples to compute, and making batches of them (the loader's work).
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
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from pearl_data.shards.files import WholeFile
from pearl_data.trajectory import canonical_json
from pearl_tools.errors import BadInput, listed
from pearl_train.model.backbone import Backbone
from pearl_train.objectives.target import embed_rows
from pearl_train.run.undisturbed import undisturbed
from pearl_train.settings.config import Config
from pearl_train.views.batch import Batch

FORMAT = 1
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
        "target": msgspec.to_builtins(config.objective.target) | {"ema_decay": None},
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

    ``records`` gives the hash of each sample's record.
    """

    def __init__(self, folder: Path, identity: Identity, records: RecordHashes) -> None:
        self.folder = folder
        self.identity = identity
        self.records = records
        self._places: dict[bytes, tuple[Path, int]] = {}
        self._tensors: dict[Path, Tensor] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take note of files that came since, from other processes."""
        for path in sorted(self.folder.glob("targets-*.safetensors")):
            if path in self._tensors:
                continue
            try:
                with safe_open(path, "pt") as file:
                    names, targets = file.get_tensor("names"), file.get_tensor("targets")
            except Exception as error:
                raise BadInput(
                    f"{path}: expected cached targets, got {error}; delete it, and it is made anew"
                ) from error
            if not bool(torch.isfinite(targets).all()):
                raise BadInput(
                    f"{path}: expected finite cached targets, got NaN or infinity; delete it, and "
                    "it is made anew"
                )
            self._tensors[path] = targets
            for row, name in enumerate(names.numpy()):
                self._places[name.tobytes()] = (path, row)

    def name(self, key: str) -> bytes:
        """The content key of the target of sample ``key``."""
        told = f"{self.identity.sha256} {key} {self.records[key]}"
        return hashlib.sha256(told.encode()).digest()

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of ``keys`` that have no target yet."""
        return [key for key in keys if self.name(key) not in self._places]

    def __call__(self, batch: Batch) -> Tensor:
        """h_R (B, H) in float32, where the batch is; ``BadInput`` naming what is missing."""
        if not batch.keys:  # a stand-in batch, of which nothing counts
            return torch.zeros(0, 1, device=batch.context.ids.device)
        if lacking := self.missing(batch.keys):
            raise BadInput(
                f"{self.folder}: expected a target for every sample, got none for "
                f"{', '.join(lacking[:3])} ({len(lacking)} of {len(batch.keys)}); samples whose "
                "trajectory does not fit data.max_tokens have none and must be left out"
            )
        rows = [self._tensors[path][row] for path, row in map(self._place, batch.keys)]
        return torch.stack(rows).to(batch.context.ids.device)

    def add(self, keys: Sequence[str], targets: Tensor) -> Path:
        """Write ``targets`` (n, H) of the samples ``keys`` as one file."""
        names = b"".join(self.name(key) for key in keys)
        content = save(
            {
                "names": torch.frombuffer(bytearray(names), dtype=torch.uint8).reshape(-1, 32),
                "targets": targets.detach().float().cpu().contiguous(),
            },
            metadata={"made_from": canonical_json(self.identity.made_from).decode()},
        )
        digest = hashlib.sha256(content).hexdigest()[:24]
        path = self.folder / f"targets-{digest}.safetensors"
        self.folder.mkdir(parents=True, exist_ok=True)
        with undisturbed(), WholeFile(path) as file:
            file.write(content)
            file.commit()
        self.refresh()
        return path

    def _place(self, key: str) -> tuple[Path, int]:
        return self._places[self.name(key)]


@torch.no_grad()
def fill(
    cache: TargetCache,
    backbone: Backbone,
    batches: Iterable[Batch],
    config: Config,
    *,
    tell: Callable[[int], None] | None = None,
    per_file: int = 4096,
    most_s: float = 300,
) -> int:
    """Compute the targets of ``batches``, which hold the view R, with the base's weights.

    The number of targets made. Call it before the first update, and when resuming before the
    checkpoint is restored: with full fine-tuning only then is the network still the base.
    ``tell`` is given the number done after each batch, also one of which nothing counts. They are
    written as files of ``per_file`` targets, or of what ``most_s`` seconds made; what is made when
    anything ends the work, such as an exception of ``tell`` or Ctrl-C, is written then. Raises
    ``BadInput`` naming samples whose target is not finite, with what makes it so; none of their
    batch is kept.
    """
    done = 0
    made: list[tuple[Sequence[str], Tensor]] = []  # appended to by one operation, or not at all
    written_s = time.monotonic()

    def write() -> None:
        if made:
            keys = [key for some, _ in made for key in some]
            cache.add(keys, torch.cat([targets for _, targets in made]))
            made.clear()

    try:
        with backbone.base_weights():
            for batch in batches:
                if batch.keys:
                    rows = batch.to(backbone.device)
                    targets = embed_rows(backbone, rows, config.objective.target).cpu()
                    _refuse_broken(batch, targets)
                    made.append((batch.keys, targets))
                    done += len(batch.keys)
                waiting = sum(len(keys) for keys, _ in made)
                if waiting >= per_file or time.monotonic() - written_s > most_s:
                    write()
                    written_s = time.monotonic()
                if tell:
                    tell(done)
    finally:
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
