"""Scenes as photographers frame them: of what is rendered, more of what stands on the ground.

In photographs the lower of two points is the nearer one more often than in our renders (in 85 % of
the labelled pairs, 73 in interiors). A network that has learnt from the renders as they come trusts
position less than photographs allow, most of all where nothing else tells. So scenes are drawn by
chance, the likelier the more of their pairs follow the rule, just so much that the rule holds on
average as often as in photographs (exponential tilting: of all weightings with that mean the one
nearest to uniform). Leaves out reading (`train.py`).
"""

import math

import numpy as np
import numpy.typing as npt

CLEAR = math.log(1.25)
"""Least difference of log inverse depth that makes a pair count, as in `evaluate.py`."""
PAIRS = 400


def lower_is_nearer(log_inverse: npt.NDArray[np.float16]) -> npt.NDArray[np.float64]:
    """(N,) share of pairs of pixels of each map (N, H, W) whose lower pixel is the nearer one, of
    pairs clearly apart and not of one row; .5 where there are none.
    """
    height, width = log_inverse.shape[1:]
    rng = np.random.default_rng(0)
    y = rng.integers(height, size=(2, PAIRS))
    x = rng.integers(width, size=(2, PAIRS))
    gap = np.subtract(*log_inverse[:, y, x].astype(np.float32).transpose(1, 0, 2))
    below = np.sign(y[0] - y[1])
    clear = (np.abs(gap) > CLEAR) & (below != 0)
    follows = (np.sign(gap) == below) & clear
    total = clear.sum(axis=1)
    return np.where(total > 0, follows.sum(axis=1) / np.maximum(total, 1), 0.5)


def chances(shares: npt.NDArray[np.float64], mean: float) -> npt.NDArray[np.float64]:
    """(N,) chances of scenes, so that the mean of `shares` (N,) is at least `mean` and otherwise as
    even as can be.

    Raises:
        ValueError: if no scene has so high a share.

    """
    if shares.max() <= mean:
        raise ValueError(f"the mean cannot be {mean}: the highest share is {shares.max():.3f}")

    def tilted(steepness: float) -> npt.NDArray[np.float64]:
        weight = np.exp(steepness * (shares - shares.max()))
        return np.asarray(weight / weight.sum())

    least, most = 0.0, 1.0
    if tilted(least) @ shares >= mean:
        return tilted(least)
    while tilted(most) @ shares < mean:
        most *= 2
    for _ in range(50):
        middle = (least + most) / 2
        least, most = (middle, most) if tilted(middle) @ shares < mean else (least, middle)
    return tilted(most)
