"""The network and the optimizer as plain named tensors, whatever wraps or shards them.

Through ``torch.distributed.checkpoint.state_dict``: the names are those of the bare network and the
tensors are full, so what one process, DDP or FSDP2 wrote loads under any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

#: Weights below a module of this name are kept although no gradient reaches them.
TEACHER = "teacher"


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """What an update changes.

    ``moments`` are the optimizer's tensors as ``parameter/exp_avg``; ``groups`` its other options
    with the names of each group's parameters.
    """

    weights: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    groups: list[dict[str, Any]]


def kept_names(trainee: nn.Module) -> frozenset[str]:
    """The names of what must be saved: trained weights, teachers and persistent buffers.

    Frozen weights come from the base model and are not copied into every checkpoint. To be asked
    of the bare trainee, before anything wraps it.
    """
    persistent = trainee.state_dict().keys()
    frozen = {
        name
        for name, parameter in trainee.named_parameters(remove_duplicate=False)
        if not parameter.requires_grad and TEACHER not in name.split(".")
    }
    named = {name for name, _ in trainee.named_parameters()}  # tied weights under one name
    named |= {name for name, _ in trainee.named_buffers()}
    return frozenset(named & persistent - frozen)


def frozen_fingerprint(trainee: nn.Module) -> str:
    """A hash over names, shapes and a few values of every frozen weight: another base is noticed.

    To be asked of the bare trainee before training.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(trainee.named_parameters()):
        if not parameter.requires_grad and TEACHER not in name.split("."):
            some = parameter.detach().flatten()[:8].float().cpu().tolist()
            digest.update(f"{name} {tuple(parameter.shape)} {some}\n".encode())
    return digest.hexdigest()


def capture(
    model: nn.Module, optimizer: torch.optim.Optimizer, kept: frozenset[str]
) -> TrainingState:
    """The state of a (wrapped) model and its optimizer; every process must call it.

    With several processes only the first gets the tensors.
    """
    teacher = any(TEACHER in name.split(".") for name in kept)
    options = StateDictOptions(
        full_state_dict=True, cpu_offload=True, ignore_frozen_params=not teacher
    )
    weights = get_model_state_dict(model, options=options)
    found: dict[str, Any] = dict(get_optimizer_state_dict(model, optimizer, options=options))
    moments = {
        f"{name}/{part}": value
        for name, parts in found.get("state", {}).items()
        for part, value in parts.items()
    }
    groups = [dict(group) for group in found.get("param_groups", [])]
    return TrainingState(
        weights={name: cast("Tensor", weights[name]) for name in sorted(kept) if name in weights},
        moments=moments,
        groups=groups,
    )


def restore(model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
    """Give a (wrapped) model and its optimizer the ``state``; every process must call it.

    A parameter that had no moments gets none, so that its first update is a first update.
    """
    options = StateDictOptions(full_state_dict=True, strict=False)
    set_model_state_dict(model, dict(state.weights), options=options)
    moments: dict[str, dict[str, Tensor]] = {}
    for key, value in state.moments.items():
        name, _, part = key.rpartition("/")
        moments.setdefault(name, {})[part] = value
    found: dict[str, Any] = {"state": moments, "param_groups": [dict(g) for g in state.groups]}
    set_optimizer_state_dict(model, optimizer, found, options=options)
    for group in optimizer.param_groups:
        group["betas"] = tuple(group["betas"])  # JSON and torch give a list
    ordered = [name for group in state.groups for name in group["params"]]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for name, parameter in zip(ordered, parameters, strict=True):
        if name not in moments:
            optimizer.state.pop(parameter, None)
