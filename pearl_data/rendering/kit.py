"""The sizes that the carpentry of one scene shares: rods, poles, legs, boards and the grain of its
materials.

Objects come in every size, so their own size says nothing about distance. What holds them does: all
rods of a scene are equally thick and all boards have the same grain, so that a thinner rod or a
finer grain is farther away. This is the perspective cue that replaces familiar sizes. Leaves out
where things go.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Kit:
    """Sizes in metres.

    Attributes:
        rod_m: radius of a rod that hangs from the ceiling.
        pole_m: radius of a standing pole.
        foot_m: radius of a pole's foot.
        leg_m: half-width of a table leg.
        board_m: half-thickness of a table top or shelf.
        arm_m: half-thickness of a wall bracket.
        grain_m: edge of one texture tile on objects and furniture.

    """

    rod_m: float
    pole_m: float
    foot_m: float
    leg_m: float
    board_m: float
    arm_m: float
    grain_m: float


def sample_kit(rng: np.random.Generator) -> Kit:
    """The kit of one scene: everyday sizes, each up to a quarter larger or smaller."""
    rod, pole, foot, leg, board, arm, grain = rng.uniform(0.8, 1.25, 7) * (
        0.016, 0.032, 0.15, 0.028, 0.02, 0.02, 0.55
    )  # fmt: skip
    return Kit(
        rod_m=float(rod),
        pole_m=float(pole),
        foot_m=float(foot),
        leg_m=float(leg),
        board_m=float(board),
        arm_m=float(arm),
        grain_m=float(grain),
    )
