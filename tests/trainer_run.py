"""Runs of the real trainer, alone or under torchrun; a module so that torchrun can start it.

trainer_run.py DATA MODEL OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from pearl_train.settings.config import Config
from pearl_train.settings.load import load_config
from pearl_train.training.loop import train
from pearl_train.training.processes import leave

#: Where the target comes from, in turn: computed on the way, or cached before the first step.
SOURCES = ("online", "frozen-base")
STEPS, HALF = 4, 2


def real_config(model: Path, source: str) -> Config:
    """Three samples a step: of two processes one has one, the other two; one takes them in two
    micro-batches. The panel needs more of them at step 0.
    """
    chosen = {
        "objective.target.source": source,
        "optim.steps": STEPS,
        "optim.batch": 3,
        "optim.micro_batch": 2,
        "log.every": 1,
        "log.panel_every": 2,
        "log.tensorboard": "false",
        "checkpoint.every": HALF,
        "checkpoint.keep_last": 9,
        "data.max_tokens": 2048,
    }
    sets = [f"{name}={value}" for name, value in chosen.items()]
    return load_config([], sets, {"model.id": str(model)})


def real_runs(data: Path, model: Path, out: Path) -> None:
    """One run for each of ``SOURCES``, in a folder of its name."""
    for source in SOURCES:
        train(real_config(model, source), data, out / source, progress=False)


if __name__ == "__main__":
    torch.set_num_threads(1)
    real_runs(*map(Path, sys.argv[1:4]))
    leave()
