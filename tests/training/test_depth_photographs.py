"""The photographs by which depth weights are chosen: labels that make sense, a score that counts
right.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scripts import load_script

from pearl_tools.depth.network import DepthNetwork

photographs = load_script("training/depth/photographs.py")
LABELLED = photographs.labelled()


@pytest.mark.parametrize("name", list(LABELLED))
def test_labels_lie_in_the_picture_and_put_nothing_before_itself(name: str) -> None:
    layers, nearer = LABELLED[name]
    assert all(0 <= x < 1 and 0 <= y < 1 for points in layers.values() for x, y in points)
    assert {layer for pair in nearer for layer in pair} == set(layers)
    behind: dict[str, set[str]] = {layer: set() for layer in layers}
    for first, second in nearer:
        behind[first].add(second)
    for _ in layers:
        for layer, others in behind.items():
            behind[layer] = others.union(*(behind[other] for other in others))
    assert not [layer for layer, others in behind.items() if layer in others]


def test_every_labelled_photograph_is_there(shared_data: Path) -> None:
    for name in LABELLED:
        image = photographs.picture(shared_data / name)
        assert image.ndim == 3, name
        assert min(image.shape[:2]) > 100, name


def test_the_missing_corner_of_a_jigsaw_is_put_back(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    holed = whole.copy()
    holed[4:, 6:] = 0
    pieces = {"image1": holed, "image2": 255 - whole[4:, 6:], "image3": whole[4:, 6:]}
    for name, piece in pieces.items():
        # the name says JPEG, but what lies there must not change on the way for this test
        packed = cv2.imencode(".png", piece[..., ::-1])[1]
        (tmp_path / f"{name}.jpg").write_bytes(packed.tobytes())
    (tmp_path / "request.json").write_text('{"answer": "(B)"}')
    assert np.array_equal(photographs.picture(tmp_path), whole)
    with pytest.raises(SystemExit, match="expected a photograph"):
        photographs.picture(tmp_path / "none.jpg")


def test_pairs_of_layers_count_alike_and_ties_are_wrong() -> None:
    photograph = photographs.Photograph(
        {"low": [(0.5, 0.9), (0.2, 0.8), (0.8, 0.9)], "high": [(0.5, 0.1)], "left": [(0.1, 0.1)]},
        [("low", "high"), ("high", "left")],
    )
    assert photographs.share_in_order(photographs.lower(100, 100), photograph) == 0.5
    assert photographs.share_in_order(np.zeros((100, 100), np.float32), photograph) == 0.0
    rightward = photographs.lower(100, 100).T
    assert photographs.share_in_order(rightward, photograph) == pytest.approx((1 / 3 + 1) / 2)


def test_the_tilt_counts_when_the_network_is_used_and_not_when_it_learns() -> None:
    torch.manual_seed(0)
    network = DepthNetwork()
    picture = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        network.train()
        learning = network(picture)
        network.tilt.fill_(0.5)
        network.eval()
        tilted = network(picture)
        network.tilt.zero_()
        level = network(picture)
        network.tilt.fill_(0.5)
        network.train()
        assert torch.equal(network(picture), learning)
    added = tilted - level
    assert torch.allclose(added[:, 0], torch.tensor(-0.25), atol=1e-6)
    assert torch.allclose(added[:, -1], torch.tensor(0.25), atol=1e-6)
    assert torch.all(added.diff(dim=1) > 0)
