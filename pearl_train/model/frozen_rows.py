"""Embedding rows that stay as they are while the rest of the matrix learns.

For ``objective.pred = "frozen"`` with full fine-tuning. The rows' gradient is emptied, so that it
counts in no norm and no moment; weight decay would still move them, so they are put back after each
step. Where input embedding and LM head are one matrix the rows are frozen in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


class FrozenRows:
    """Rows ``ids`` of the input embedding, held at the values they have now.

    Make it once the network is where it will be trained (on its device, wrapped by FSDP), then
    :meth:`attach` it to the optimizer. A shard of a matrix holds its own part of the rows.
    """

    def __init__(self, network: Any, ids: Sequence[int]) -> None:
        plain = network.get_base_model() if hasattr(network, "peft_config") else network
        self._embedding = cast("nn.Embedding", plain.get_input_embeddings())
        weight = self._embedding.weight
        first, count = _held_rows(weight)
        held = [row - first for row in sorted(set(ids)) if first <= row < first + count]
        self._rows = torch.tensor(held, dtype=torch.long, device=weight.device)
        self._values = _local(weight.detach())[self._rows].clone()
        if not isinstance(weight, DTensor):  # FSDP sets a shard's gradient past its hooks
            hooked: Any = weight
            hooked.register_hook(lambda gradient: gradient.index_fill(0, self._rows, 0))

    def attach(self, optimizer: Any) -> None:
        """Lets every step of ``optimizer`` (Accelerate's wrapper too) leave the rows unchanged."""
        plain: torch.optim.Optimizer = getattr(optimizer, "optimizer", optimizer)
        plain.register_step_pre_hook(lambda *_: self.clear_gradient())
        plain.register_step_post_hook(lambda *_: self.restore())

    @torch.no_grad()
    def clear_gradient(self) -> None:
        """Empties the rows' gradient; under FSDP call it before the gradient's norm is taken."""
        gradient = self._embedding.weight.grad
        if gradient is not None:
            _local(gradient).index_fill_(0, self._rows, 0)

    @torch.no_grad()
    def restore(self) -> None:
        """Puts the rows back."""
        _local(self._embedding.weight.detach())[self._rows] = self._values


def freeze_rows(network: Any, ids: Sequence[int]) -> FrozenRows:
    """Keeps rows ``ids`` of the input embedding unchanged; see :class:`FrozenRows`."""
    return FrozenRows(network, ids)


def _local(tensor: Tensor) -> Tensor:
    """The part of a matrix that this process holds, sharing its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _held_rows(weight: Tensor) -> tuple[int, int]:
    """First row and number of rows that this process holds of ``weight``."""
    if not isinstance(weight, DTensor):
        return 0, weight.shape[0]
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    shape, offset = compute_local_shape_and_global_offset(
        weight.shape, weight.device_mesh, weight.placements
    )
    return offset[0], shape[0]
