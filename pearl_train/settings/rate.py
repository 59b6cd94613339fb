"""The default learning rate, by the kind of training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from pearl_train.settings.config import ModelConfig

SMALL = 512
"""Networks narrower than this are trained at the rate of ``nano``, which is 192 wide."""


class Rate(NamedTuple):
    """A learning rate, and the kind of training that it suits."""

    lr: float
    kind: str


def usual_rate(model: ModelConfig) -> Rate:
    """The rate for ``model``, by its kind; of a folder, the width of its network is read.

    >>> usual_rate(ModelConfig(id="Qwen/Qwen2.5-VL-3B-Instruct"))
    Rate(lr=1e-05, kind='full fine-tuning of a pretrained model')
    """
    if model.id == "nano" or 0 < _width(Path(model.id).expanduser()) < SMALL:
        return Rate(1e-3, "a small network")
    if model.lora is not None:  # arXiv 2604.08065; others take ten times that for adapters
        return Rate(1e-5, "adapters on a pretrained model, as in the paper")
    # as LLaMA-Factory's example for Qwen2.5-VL
    return Rate(1e-5, "full fine-tuning of a pretrained model")


def _width(folder: Path) -> int:
    """The hidden size of the language model in ``folder``, 0 if it does not say."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        text = config.get("text_config", config)
        return int(text["hidden_size"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return 0
