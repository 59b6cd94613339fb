"""Export of a run's trained model to a folder for plain transformers.

Whole, with adapters merged, or an adapter alone for peft. Either has hashes of its files beside it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pearl_data.shards.permissions import obey_umask
from pearl_tools.errors import UsageError
from pearl_train.asking.trained import EXPORTED, find
from pearl_train.errors import writing
from pearl_train.model.backbone import Backbone
from pearl_train.model.export import check_reloads
from pearl_train.model.generation import decoding
from pearl_train.model.manifest import check_manifest, read_manifest, write_manifest
from pearl_train.report.card import adapter_card, exported_card
from pearl_train.run.folder import RunFolder
from pearl_train.settings.config import Config
from pearl_train.settings.load import resolved_toml
from pearl_train.training.at_checkpoint import LAST, backbone_at, chosen, network_at
from pearl_train.training.checkpoint import Checkpoint

ADAPTER = "training.toml"
"""File with an exported adapter's configuration; an adapter alone cannot be asked."""


def export_run(run: Path, to: Path, checkpoint: str = LAST) -> Path:
    """Network, processor, card, curves and choices of the run ``run`` in the new ``to``.

    ``checkpoint`` (``last``, ``best`` or a step) selects the weights; default: those of its end.
    The folder is complete or absent. Raises ``UsageError`` if ``run`` is not a finished run,
    or has no such checkpoint, or ``to`` holds anything; ``BadInput`` for a model whose files are
    not those that the run wrote.
    """
    to, partial = _places(to)
    with _whole_or_absent(to, partial):
        _export(run, to, partial, checkpoint)
    return to


def _export(run: Path, to: Path, partial: Path, checkpoint: str) -> None:
    folder = RunFolder(run)
    config = folder.read_config()
    with network_at(str(run), checkpoint) as at:
        place = find(str(run), at=at)
        model = Path(place.config.model.id)
        check_manifest(model)
        vocabulary = _vocabulary(model)
        shutil.copytree(model, partial)
    if folder.curves.is_file():
        shutil.copyfile(folder.curves, partial / folder.curves.name)
    text = exported_card(folder, to.name, EXPORTED, place.step)
    (partial / folder.card.name).write_text(text, encoding="utf-8")
    (partial / EXPORTED).write_text(resolved_toml(config), encoding="utf-8")
    check_reloads(partial, vocabulary)
    write_manifest(partial, read_manifest(partial))
    check_manifest(partial)  # the copy equals the trained model
    obey_umask(partial)  # the run may be older than its weights' modes


def export_adapter(run: Path, to: Path, checkpoint: str = LAST) -> Path:
    """The adapter of the run ``run`` alone, with processor, card and choices, in the new ``to``.

    ``peft.PeftModel.from_pretrained`` loads it onto the base that the run trained, once that has
    rows for the tokens that the trainer added; the card says how. Raises ``UsageError`` where
    ``run`` trained no adapter or has no such checkpoint, or ``to`` holds anything.
    """
    to, partial = _places(to)
    folder = RunFolder(run)
    config = folder.read_config()
    if config.model.lora is None:
        raise UsageError(
            f"--adapter: expected a run with adapters (model.lora), got {run}, which trained all "
            "weights; remove the option"
        )
    backbone = backbone_at(found := _checkpoint(folder, checkpoint), config)
    step = None if found.step == config.optim.steps else found.step
    with _whole_or_absent(to, partial):
        _write_adapter(backbone, config, partial)
        text = adapter_card(folder, to.name, ADAPTER, partial, step)
        (partial / folder.card.name).write_text(text, encoding="utf-8")
        (partial / ADAPTER).write_text(resolved_toml(config), encoding="utf-8")
        write_manifest(partial)
        obey_umask(partial)
    return to


def _write_adapter(backbone: Backbone, config: Config, partial: Path) -> None:
    """Adapter, processor and generation config."""
    network: Any = backbone.network
    for options in network.peft_config.values():
        options.base_model_name_or_path, options.revision = config.model.id, config.model.revision
    # rows of our tokens are saved by themselves; the matrices that hold them are the base's
    network.save_pretrained(partial, save_embedding_layers=False)
    backbone.processor.save_pretrained(partial)
    most = config.evaluate.longest_reply(config.objective.name)
    decoding(backbone.processor, backbone.tokens, max_new_tokens=most).save_pretrained(partial)


def _places(to: Path) -> tuple[Path, Path]:
    """``to``, and the temporary folder beside it that is renamed to it."""
    to = to.resolve()  # "." has no name that a folder beside it could be called after
    if to.exists() and any(to.iterdir()):
        raise UsageError(f"--to {to}: expected a new or empty folder, got one with files")
    partial = to.with_name(f".{to.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    return to, partial


@contextmanager
def _whole_or_absent(to: Path, partial: Path) -> Iterator[None]:
    """Rename ``partial`` to ``to`` after the block, or remove it on an error."""
    try:
        with writing(to):
            yield
            if to.exists():
                to.rmdir()
            partial.rename(to)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _checkpoint(folder: RunFolder, checkpoint: str) -> Checkpoint:
    """The checkpoint that ``checkpoint`` names; ``last`` is the one at the end of the run."""
    wanted = str(folder.read_config().optim.steps) if checkpoint == LAST else checkpoint
    return chosen(folder, wanted)


def _vocabulary(folder: Path) -> int:
    """How many tokens the processor in ``folder`` knows."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]  # theirs
    return len(processor.tokenizer)
