"""What is trained: the network, what an objective keeps beside it, and the objective as a forward.

DDP and FSDP wrap a :class:`Trainee`, so every use of a weight lies inside its ``forward``.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from pearl_data.randomness import derived_seed
from pearl_train.model.backbone import Backbone
from pearl_train.model.frozen_rows import FrozenRows, freeze_rows
from pearl_train.objectives import OBJECTIVE_TABLE, needs
from pearl_train.objectives.base import Moment, Terms
from pearl_train.objectives.nextlat import Dynamics
from pearl_train.settings.config import Config, ObjectiveConfig
from pearl_train.settings.conflicts import refuse_conflicts
from pearl_train.views.batch import Batch


class Trainee(nn.Module):
    """A backbone with its objective.

    ``parts`` holds what is trained or kept besides the network (``nextlat``, ``teacher``); all of
    it is in ``state_dict``.
    """

    def __init__(
        self,
        backbone: Backbone,
        options: ObjectiveConfig,
        parts: nn.ModuleDict,
        *,
        freeze_pred: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.parts = parts
        self.options = options
        self.freeze_pred = freeze_pred
        self._frozen: FrozenRows | None = None

    def forward(self, batch: Batch, moment: Moment, targets: Tensor | None = None) -> Terms:
        """The terms of one micro-batch; ``targets`` (B, H) where they are cached."""
        if self.freeze_pred and self._frozen is None:  # by now the weights are on their device
            self._frozen = freeze_rows(self.backbone.network, self.backbone.tokens.pred)
        compute = OBJECTIVE_TABLE[self.options.name].loss
        return compute(self.backbone, batch, self.options, moment, self.parts, targets)

    @torch.no_grad()
    def after_update(self) -> None:
        """After each update: frozen [PRED] rows are put back where weight decay moved them, and the
        teacher moves a share 1 - ``ema_decay`` towards the network.
        """
        if self._frozen:
            self._frozen.restore()
        if "teacher" not in self.parts:
            return
        share = 1 - self.options.target.ema_decay
        for old, new in _pairs(self.parts["teacher"], self.backbone):
            if old is new:  # frozen, and shared
                continue
            if old.is_floating_point():
                old.lerp_(new.to(old.dtype), share)
            else:
                old.copy_(new)


def make_trainee(backbone: Backbone, config: Config) -> Trainee:
    """The trainee that ``config.objective`` asks for; draws nothing from torch's generators.

    Raises ``UsageError`` for options that exclude each other.
    """
    refuse_conflicts(config)
    wanted = needs(config.objective)
    parts = nn.ModuleDict()
    if "nextlat" in wanted:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(config.seed, "nextlat") >> 1)
            parts["nextlat"] = Dynamics(backbone.hidden_size).to(backbone.device)
    if "teacher" in wanted:
        parts["teacher"] = teacher_of(backbone)
    freeze = _freezes_pred(backbone, config)
    return Trainee(backbone, config.objective, parts, freeze_pred=freeze)


def _freezes_pred(backbone: Backbone, config: Config) -> bool:
    """Whether [PRED] rows must be held in place: the matrix they are in is trained."""
    options = config.objective
    if options.name != "pearl" or options.pred == "trained" or not options.weight:
        return False
    if hasattr(backbone.network, "peft_config"):  # LoRA trains rows that it was told of, not these
        return False
    return bool(backbone.plain.get_input_embeddings().weight.requires_grad)


def teacher_of(backbone: Backbone) -> Backbone:
    """A copy without gradient. What is frozen in ``backbone`` is shared, not copied: under LoRA
    the teacher costs no more than the adapters.
    """
    shared: dict[int, Any] = {id(p): p for p in backbone.parameters() if not p.requires_grad}
    shared[id(backbone.processor)] = backbone.processor
    teacher = copy.deepcopy(backbone, shared)
    return teacher.requires_grad_(requires_grad=False)


def _pairs(teacher: nn.Module, network: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Parameters and buffers of both, side by side."""
    return [
        *zip(teacher.parameters(), network.parameters(), strict=True),
        *zip(teacher.buffers(), network.buffers(), strict=True),
    ]
