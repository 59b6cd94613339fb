"""The terms of the training objective; each takes (predicted, target) log inverse depth (B, H, W)
and gives a mean.

`scale_log`: L1 after removing each picture's median difference (Eigen et al. 2014, in logarithms,
made robust). `scale_shift`: L1 on inverse depth after robust alignment of scale and shift (MiDaS,
Ranftl et al. 2020, eq. 5-7). `gradients`: L1 on the gradient of the difference at four scales
(MiDaS, eq. 11). `pixel_order`: logistic loss on random pairs of pixels (Chen et al. 2016, eq. 1).
`object_order`: the same on pairs of objects, by the mean over each object's pixels.
"""

import torch
import torch.nn.functional as F  # noqa: N812  the name everybody knows
from torch import Tensor

WEIGHTS = {
    "scale_log": 1.0,
    "scale_shift": 0.5,
    "gradients": 0.5,
    "pixel_order": 0.3,
    "object_order": 1.5,
}
_LEAST_STEP = 0.1
"""Pairs whose log depth differs by less than this (about 10 %) have no order to learn."""
_STEEPNESS = 4.0


def objective(
    predicted: Tensor, target: Tensor, instance: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Every term by name, unweighted; see `WEIGHTS`."""
    return {
        "scale_log": scale_log(predicted, target),
        "scale_shift": scale_shift(predicted, target),
        "gradients": gradients(predicted, target),
        "pixel_order": pixel_order(predicted, target, generator),
        "object_order": object_order(predicted, target, instance),
    }


def scale_log(predicted: Tensor, target: Tensor) -> Tensor:
    """See the module's text."""
    gap = predicted - target
    return (gap - _median(gap).detach()).abs().mean()


def _median(values: Tensor) -> Tensor:
    """(B, 1, 1) median of (B, H, W) over one pixel in sixteen: all of them would take a sixth of
    the training's time.
    """
    return values[:, ::4, ::4].flatten(1).median(dim=1).values[:, None, None]


def scale_shift(predicted: Tensor, target: Tensor) -> Tensor:
    """See the module's text."""
    return (_aligned(predicted) - _aligned(target)).abs().mean()


def _aligned(log_inverse: Tensor) -> Tensor:
    """Inverse depth with median 0 and mean absolute deviation 1."""
    # Dividing by the median first keeps the exponential in range; the median of the quotient is
    # then 1.
    value = torch.exp(torch.clamp(log_inverse - _median(log_inverse), max=4.0)) - 1
    return value / value.abs().mean(dim=(1, 2), keepdim=True).clamp_min(1e-3)


def gradients(predicted: Tensor, target: Tensor) -> Tensor:
    """See the module's text."""
    gap = predicted - target
    total = gap.new_zeros(())
    for step in (1, 2, 4, 8):
        coarse = gap[:, ::step, ::step]
        total = total + (coarse[:, :, 1:] - coarse[:, :, :-1]).abs().mean()
        total = total + (coarse[:, 1:] - coarse[:, :-1]).abs().mean()
    return total / 4


def pixel_order(
    predicted: Tensor, target: Tensor, generator: torch.Generator, pairs: int = 2000
) -> Tensor:
    """See the module's text."""
    p, t = predicted.flatten(1), target.flatten(1)
    first, second = (torch.randint(p.shape[1], (pairs,), generator=generator) for _ in range(2))
    return _order(p[:, first] - p[:, second], t[:, first] - t[:, second])


def object_order(predicted: Tensor, target: Tensor, instance: Tensor) -> Tensor:
    """See the module's text; objects below 20 pixels are left out."""
    batch = predicted.shape[0]
    count = int(instance.max()) + 1
    ids = instance.flatten(1)
    pixels = predicted.new_zeros(batch, count).scatter_add(
        1, ids, torch.ones_like(predicted.flatten(1))
    )

    def mean(values: Tensor) -> Tensor:
        return values.new_zeros(batch, count).scatter_add(
            1, ids, values.flatten(1)
        ) / pixels.clamp_min(1)

    p, t = mean(predicted), mean(target)
    seen = pixels >= 20
    seen[:, 0] = False  # the structure is no object
    both = seen[:, :, None] & seen[:, None, :]
    return _order((p[:, :, None] - p[:, None, :])[both], (t[:, :, None] - t[:, None, :])[both])


def _order(predicted_gap: Tensor, target_gap: Tensor) -> Tensor:
    clear = target_gap.abs() > _LEAST_STEP
    if not bool(clear.any()):
        return predicted_gap.sum() * 0
    return (
        F.softplus(-_STEEPNESS * predicted_gap[clear] * target_gap[clear].sign()).mean()
        / _STEEPNESS
    )
