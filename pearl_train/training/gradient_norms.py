"""How strongly each term of the loss pulls at the weights: the norm of its gradient, apart.

Measured as if the samples looked at, those of the first micro-batch, were the whole step: with
fewer samples the norm is noisier, not smaller. Where weights are whole (one process, DDP) they are
the first process's samples. Where weights are sharded (FSDP2) a gradient exists only exchanged, so
they are those of all processes, and all must take part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pearl_train.objectives.base import Term, Terms


def term_gradient_norms(
    terms: Terms, counts: Mapping[str, float], parameters: Iterable[nn.Parameter]
) -> dict[str, float]:
    """The norm of each term's gradient as it enters L: weighted, and divided by its units.

    ``counts`` are the units by name of what ``terms`` were summed over (``Batch.counts``). One
    backward pass per term; the graph stays, and ``.grad`` is left as it was. With sharded weights
    it must be empty, gradients not be held back (``no_sync``), and ``parameters`` be the shards,
    taken before the forward pass: after it a module may still hold whole weights in their place.
    """
    trained = [p for p in parameters if p.requires_grad]
    learned = {name: term for name, term in terms.losses.items() if term.total.requires_grad}
    if any(hasattr(p, "full_tensor") for p in trained):
        return _of_sharded(learned, counts, trained)
    norms = {}
    for name, term in learned.items():
        gradients = torch.autograd.grad(
            _part(term, counts), trained, retain_graph=True, allow_unused=True
        )
        norms[name] = _norm([g for g in gradients if g is not None])
    return norms


def _of_sharded(
    terms: Mapping[str, Term], counts: Mapping[str, float], trained: Sequence[nn.Parameter]
) -> dict[str, float]:
    """The same by way of ``.grad``, where FSDP2 puts the mean of what the processes computed."""
    from accelerate import PartialState
    from accelerate.utils import gather_object

    world = PartialState().num_processes
    shares = gather_object([dict(counts)])
    whole = {name: sum(share.get(name, 0) for share in shares) for name in counts}
    norms = {}
    for name, term in terms.items():
        (world * _part(term, whole)).backward(retain_graph=True)
        norms[name] = _norm([p.grad for p in trained if p.grad is not None])
        for parameter in trained:
            parameter.grad = None
    return norms


def _part(term: Term, counts: Mapping[str, float]) -> Tensor:
    return term.weight * term.total / max(counts.get(term.unit, 0), 1)


def _norm(gradients: Sequence[Tensor]) -> float:
    """The norm of all ``gradients`` together, shards of them included; 0 if there are none."""
    if not gradients:
        return 0.0
    norm: Any = torch.stack([gradient.detach().float().norm() for gradient in gradients]).norm()
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
