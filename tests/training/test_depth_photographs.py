"""The photographs by which depth weights are chosen: labels that make sense, a score that counts
right.
"""

import numpy as np
import pytest
from scripts import load_script

photographs = load_script("training/depth/photographs.py")


@pytest.mark.parametrize("name", list(photographs.PHOTOGRAPHS))
def test_labels_lie_in_the_picture_and_put_nothing_before_itself(name: str) -> None:
    layers, nearer = photographs.PHOTOGRAPHS[name]
    assert all(0 <= x < 1 and 0 <= y < 1 for points in layers.values() for x, y in points)
    assert {layer for pair in nearer for layer in pair} == set(layers)
    behind: dict[str, set[str]] = {layer: set() for layer in layers}
    for first, second in nearer:
        behind[first].add(second)
    for _ in layers:
        for layer, others in behind.items():
            behind[layer] = others.union(*(behind[other] for other in others))
    assert not [layer for layer, others in behind.items() if layer in others]


def test_pairs_of_layers_count_alike_and_ties_are_wrong() -> None:
    photograph = photographs.Photograph(
        {"low": [(0.5, 0.9), (0.2, 0.8), (0.8, 0.9)], "high": [(0.5, 0.1)], "left": [(0.1, 0.1)]},
        [("low", "high"), ("high", "left")],
    )
    assert photographs.share_in_order(photographs.lower(100, 100), photograph) == 0.5
    assert photographs.share_in_order(np.zeros((100, 100), np.float32), photograph) == 0.0
    rightward = photographs.lower(100, 100).T
    assert photographs.share_in_order(rightward, photograph) == pytest.approx((1 / 3 + 1) / 2)
