"""The trained model of a run as a folder of its own: for plain transformers, for other people."""

from __future__ import annotations

import shutil
from pathlib import Path

from pearl_data.shards.permissions import obey_umask
from pearl_tools.errors import UsageError
from pearl_train.asking.trained import EXPORTED, find
from pearl_train.model.export import check_reloads
from pearl_train.report.card import exported_card
from pearl_train.run.folder import RunFolder
from pearl_train.settings.load import resolved_toml
from pearl_train.training.at_checkpoint import LAST, network_at


def export_run(run: Path, to: Path, checkpoint: str = LAST) -> Path:
    """Network, processor, card, curves and choices of the run ``run`` in the new ``to``.

    ``checkpoint`` (``last``, ``best`` or a step) says which weights: by default those of its end.
    The folder appears whole or not at all. Raises ``UsageError`` where ``run`` is no finished run,
    or has no such checkpoint, or ``to`` holds anything.
    """
    to = to.resolve()  # "." has no name that a folder beside it could be called after
    if to.exists() and any(to.iterdir()):
        raise UsageError(f"--to {to}: expected a new or empty folder, found something there")
    folder = RunFolder(run)
    config = folder.read_config()
    partial = to.with_name(f".{to.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with network_at(str(run), checkpoint) as at:
        place = find(str(run), at=at)
        model = Path(place.config.model.id)
        vocabulary = _vocabulary(model)
        shutil.copytree(model, partial)
    if folder.curves.is_file():
        shutil.copyfile(folder.curves, partial / folder.curves.name)
    text = exported_card(folder, to.name, EXPORTED, place.step)
    (partial / folder.card.name).write_text(text, encoding="utf-8")
    obey_umask(partial)  # the run may be older than its weights' modes
    (partial / EXPORTED).write_text(resolved_toml(config), encoding="utf-8")
    check_reloads(partial, vocabulary)
    if to.exists():
        to.rmdir()
    partial.rename(to)
    return to


def _vocabulary(folder: Path) -> int:
    """How many tokens the processor in ``folder`` knows."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]  # theirs
    return len(processor.tokenizer)
