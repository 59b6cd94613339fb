"""Export of a trained network as a folder that plain transformers loads, without peft or us.

LoRA is merged and trained rows are written into their matrices, in float32: bfloat16 has 8 bits of
precision, which rounds most of a small update away. The processor holds the pixel limit, the
generation config the decoding of replies, ``pearl.sha256`` the hashes of all files. Not here:
checkpoints to resume from (:mod:`pearl_train.training.checkpoint`).
"""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import torch

from pearl_data.shards.permissions import obey_umask
from pearl_tools.errors import BadInput, UsageError
from pearl_train.errors import writing
from pearl_train.model.backbone import Backbone
from pearl_train.model.generation import decoding
from pearl_train.model.load import check_finite
from pearl_train.model.manifest import write_manifest


def export_model(
    backbone: Backbone,
    folder: Path,
    max_new_tokens: int | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write network and processor to the new ``folder``, for ``from_pretrained``.

    The backbone stays as it is; with LoRA a float32 copy of the weights is held while merging.
    ``dtype`` converts the weights (bfloat16 halves the folder, and rounds what was learned). The
    generation config is that of :mod:`pearl_train.model.generation`, with ``max_new_tokens``. The
    folder is complete or absent. Raises ``UsageError`` if it exists and is not empty,
    ``BadInput`` for weights that are not finite, ``CannotWrite`` if the disk is full.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--to {folder}: expected a new or empty folder, found something there")
    network = merged(backbone, dtype)
    check_finite(network, str(folder), "training diverged: train anew with a lower optim.lr")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with writing(folder):
            _write(network, backbone, partial, max_new_tokens)
            if folder.exists():
                folder.rmdir()
            partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder


def _write(network: Any, backbone: Backbone, partial: Path, max_new_tokens: int | None) -> None:
    base = network.generation_config
    try:
        network.generation_config = decoding(
            backbone.processor, backbone.tokens, max_new_tokens=max_new_tokens
        )
        network.save_pretrained(partial)
    finally:
        network.generation_config = base
    backbone.processor.save_pretrained(partial)
    check_reloads(partial, len(backbone.processor.tokenizer))
    write_manifest(partial)
    obey_umask(partial)


def merged(backbone: Backbone, dtype: torch.dtype | None = None) -> Any:
    """The transformers model with adapters merged in float32: a copy, on the CPU, if there are
    any to merge.
    """
    network: Any = backbone.network
    if hasattr(network, "peft_config"):
        network = copy.deepcopy(network).to("cpu", torch.float32).merge_and_unload()
        network.requires_grad_(requires_grad=True)
    if dtype is not None and network.dtype != dtype:
        network = copy.deepcopy(network).to(dtype)
    return network


def check_reloads(folder: Path, vocabulary: int) -> None:
    """Raises ``BadInput`` unless ``folder`` gives back a processor that sees and has our tokens."""
    from transformers import AutoProcessor

    auto: Any = AutoProcessor
    processor = auto.from_pretrained(folder)
    if not hasattr(processor, "image_processor"):
        raise BadInput(
            f"{folder}: expected a processor with an image_processor after reload, got "
            f"{type(processor).__name__}; the processor's class name is unknown to transformers"
        )
    if len(processor.tokenizer) != vocabulary:
        raise BadInput(
            f"{folder}: expected {vocabulary} tokens after reload, got {len(processor.tokenizer)}"
        )
