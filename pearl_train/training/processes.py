"""Devices and processes, by Accelerate: one CPU, one GPU, or many under torchrun (DDP, FSDP2)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

from pearl_tools.errors import PearlError, UsageError
from pearl_train.settings.config import Config

T = TypeVar("T")


def accelerator_for(config: Config) -> Any:
    """The Accelerator for ``config``: its device and way of sharing the work.

    The backbone enters autocast itself. Raises ``UsageError`` for FSDP2 without GPUs, which
    Accelerate does not do, and for processes that cannot find each other.
    """
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    launched, gpu = "LOCAL_RANK" in os.environ, torch.cuda.is_available()
    if launched and config.parallel == "fsdp2" and not gpu:
        raise UsageError(
            'parallel: expected "ddp" where there is no GPU, got "fsdp2", which shards over GPUs'
        )
    # which weights a step leaves out depends on the objective and the family (vision heads, loss
    # dropout), so DDP has to look
    handler = DistributedDataParallelKwargs(find_unused_parameters=True)
    try:
        return Accelerator(
            cpu=not gpu,
            mixed_precision="no",
            fsdp_plugin=sharding() if launched and config.parallel == "fsdp2" else None,
            kwargs_handlers=[handler],
            step_scheduler_with_optimizer=False,
        )
    except torch.distributed.DistNetworkError as error:
        address, port = os.environ.get("MASTER_ADDR", "?"), os.environ.get("MASTER_PORT", "?")
        if "EADDRINUSE" in str(error):
            told = f"MASTER_PORT: expected a free port, got {port}, which another program uses"
        else:
            reason = " ".join(str(error).split())[:200]
            told = f"MASTER_ADDR {address}, MASTER_PORT {port}: processes cannot connect: {reason}"
        raise UsageError(
            f"{told}; start with torchrun --standalone, which selects a free port"
        ) from error


def unsharded(config: Config, accelerator: Any) -> str | None:
    """What to say where ``config`` shards and there is nothing to shard over."""
    if config.parallel != "fsdp2" or accelerator.num_processes > 1:
        return None
    return (
        'parallel = "fsdp2" shards over the processes that torchrun or accelerate launch starts; '
        "this run is one process and holds the whole model"
    )


def sharding() -> Any:
    """How FSDP2 shards: layer by layer, from weights that every process has loaded."""
    from accelerate.utils import FullyShardedDataParallelPlugin

    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        reshard_after_forward=True,
        cpu_ram_efficient_loading=False,
        state_dict_type="FULL_STATE_DICT",
    )


def prepare(
    accelerator: Any, trainee: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[nn.Module, Any]:
    """The trainee on its device, wrapped by DDP or sharded, and its optimizer."""
    if accelerator.is_fsdp2:
        present = {type(module).__name__ for module in trainee.modules()}
        told = {
            name
            for module in trainee.modules()
            for name in getattr(module, "_no_split_modules", None) or ()
        }
        accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap = sorted(told & present)
    return accelerator.prepare(trainee, optimizer)  # type: ignore[no-any-return]


def first_process(work: Callable[[], T]) -> T | None:
    """``work`` done by the first process alone, its value there; its ``PearlError`` for all."""
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    state = PartialState()
    if state.num_processes == 1:
        return work()
    value, failure = None, None
    if state.is_main_process:
        try:
            value = work()
        except PearlError as error:
            failure = error
    told = [(type(failure).__name__, str(failure)) if failure else None]
    broadcast_object_list(told)
    if failure:
        raise failure
    if told[0]:
        raise PearlError(told[0][1])
    return value


def said_by_first(accelerator: Any, value: T) -> T:
    """What the first process has as ``value``, in all of them."""
    if accelerator.num_processes == 1:
        return value
    from accelerate.utils import broadcast_object_list

    told = [value]
    broadcast_object_list(told)
    return told[0]


def from_all(accelerator: Any, value: T) -> list[T]:
    """Every process's ``value``, in the order of processes."""
    if accelerator.num_processes == 1:
        return [value]
    from accelerate.utils import gather_object

    found: list[T] = gather_object([value])
    return found


def leave() -> None:
    """Leave the other processes, where there are any, once nothing more is to be said to them.

    Without, a thread of gloo may still let go of the last message while Python comes to its end,
    which aborts the process: "terminate called without an active exception" (pytorch/pytorch
    #179291, #190489).
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def deterministic() -> Iterator[None]:
    """Only algorithms that give the same bits twice, while the block runs. Meant for CPU."""
    options: Any = torch.utils.deterministic
    before, fill = torch.are_deterministic_algorithms_enabled(), options.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    options.fill_uninitialized_memory = False  # costs time and hides nothing here
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        options.fill_uninitialized_memory = fill
