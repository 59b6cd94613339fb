"""One process of a toy run, alone or under torchrun; a module so that torchrun can start it.

    processes_run.py OUT ddp|fsdp2 STOP [--resume]

Accelerate shards on GPUs only; to see FSDP2 at work on a CPU, its state is told that it may.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from toy_run import Toy, toy_batches, toy_config, toy_ingredients

from pearl_train.run.folder import RunFolder
from pearl_train.run.result import RunResult
from pearl_train.settings.config import Config
from pearl_train.training.collapse import Panel
from pearl_train.training.processes import accelerator_for, leave, sharding
from pearl_train.training.session import fit
from pearl_train.views.batch import Batch
from pearl_train.views.tally import Account, Tally

STEPS = 12


def shared_config() -> Config:
    """Seven samples a step, three at a time: the shares of two processes are unequal, and in the
    last micro-batch one of them is empty.
    """
    return toy_config(optim={"batch": 7, "micro_batch": 3}, checkpoint={"keep_last": 9})


def shared_run(
    out: Path, parallel: str = "ddp", stop: int = STEPS, *, resume: bool = False
) -> RunResult | None:
    """Train the toy without dropout, which is drawn by rank; None if it was left at ``stop``."""
    config = shared_config()
    accelerator = accelerator_for(config)
    if parallel == "fsdp2":
        let_shard(accelerator)
    batches = toy_batches(config, accelerator.process_index, accelerator.num_processes)

    tally = Tally()

    def until(start: int) -> Iterator[list[Batch]]:
        for number, micro in enumerate(batches(start), start):
            if number == stop:
                raise Left
            for key in [key for batch in micro for key in batch.keys]:
                tally.change(key, f"met in step {number}")
            yield micro

    toy, panel = Toy(dropout=0.0), Panel(config.objective)
    counted = Account({"": tally})
    parts = toy_ingredients(config, trainee=toy, batches=until, panel=panel, left_out=counted)
    folder = RunFolder(out)
    try:
        return fit(parts, config, folder, resume=resume, progress=False, accelerator=accelerator)
    except Left:
        return None


class Left(Exception):
    """The run is to be left here."""


def let_shard(accelerator: Any) -> None:
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    AcceleratorState._shared_state["fsdp_plugin"] = sharding()
    for state in (AcceleratorState, PartialState):
        state._shared_state["distributed_type"] = DistributedType.FSDP
    assert accelerator.is_fsdp2


if __name__ == "__main__":
    torch.set_num_threads(1)
    shared_run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), resume="--resume" in sys.argv)
    leave()
