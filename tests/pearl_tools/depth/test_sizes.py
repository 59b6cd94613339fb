"""Sizes at which a network without a size of its own sees a picture; no network is needed."""

from types import SimpleNamespace

import numpy as np
import pytest

from pearl_tools.depth.sizes import LONGEST_PX, OwnSize

PADS = SimpleNamespace(do_resize=False, do_pad=True, size={"height": 384}, size_divisor=14)
GLPN = SimpleNamespace(do_resize=True, size=None, size_divisor=32)
OVER_DINOV2 = SimpleNamespace(
    model_type="dpt", patch_size=16, backbone_config=SimpleNamespace(patch_size=14)
)


@pytest.mark.parametrize(
    ("processor", "config", "multiple"),
    [
        (PADS, OVER_DINOV2, 14),
        (SimpleNamespace(do_resize=False), OVER_DINOV2, 14),
        (SimpleNamespace(do_resize=False, size_divisor=4), OVER_DINOV2, 28),
        (GLPN, SimpleNamespace(model_type="glpn", patch_sizes=[7, 3, 3, 3]), 32),
        (
            SimpleNamespace(do_resize=True, size={"height": 64}),
            SimpleNamespace(model_type="glpn"),
            32,
        ),
        (SimpleNamespace(do_resize=True, size={"height": 64}), OVER_DINOV2, None),
    ],
    ids=["pads", "cuts off", "both", "glpn", "glpn of a size", "resizes"],
)
def test_what_a_picture_must_be_a_multiple_of(
    processor: SimpleNamespace, config: SimpleNamespace, multiple: int | None
) -> None:
    found = OwnSize.of(processor, config)
    assert (found and found.multiple) == multiple


@pytest.mark.parametrize("multiple", [14, 32])
@pytest.mark.parametrize(
    "shape", [(3000, 4000), (4000, 3000), (5000, 30), (1, 1), (69, 69), (480, 640), (1279, 1281)]
)
def test_sizes_are_whole_bounded_and_of_the_same_shape(
    multiple: int, shape: tuple[int, int]
) -> None:
    height, width = OwnSize(multiple).size(*shape)
    assert height % multiple == width % multiple == 0
    assert multiple <= min(height, width) <= max(height, width) <= LONGEST_PX
    wanted = min(max(shape), LONGEST_PX)
    assert abs(max(height, width) - wanted) < multiple
    if min(shape) >= 400:
        assert width / height == pytest.approx(shape[1] / shape[0], rel=0.04)


def test_a_network_that_takes_every_picture_for_a_square_gets_one() -> None:
    network = SimpleNamespace(model_type="dpt", patch_size=16, image_size=384)
    found = OwnSize.of(SimpleNamespace(do_resize=False), network)
    assert found is not None
    assert found.size(480, 640) == (384, 384)
    assert OwnSize.of(PADS, OVER_DINOV2) == OwnSize(14)


def test_every_pixel_of_the_picture_is_in_what_the_network_sees() -> None:
    size = OwnSize(14)
    image = np.full((69, 69, 3), 200, np.uint8)
    for row, column in ((0, 0), (0, 68), (68, 0), (68, 68), (60, 60)):
        other = image.copy()
        other[row, column] = 0
        changed = (size.fitted(other) != size.fitted(image)).any(axis=2)
        assert changed.any()
        rows, columns = np.nonzero(changed)
        assert abs(rows.mean() / 70 - row / 69) < 0.03
        assert abs(columns.mean() / 70 - column / 69) < 0.03
    exact = np.zeros((28, 42, 3), np.uint8)
    assert size.fitted(exact) is exact
