"""The variance hinge and SIGReg tell a spread cloud from a collapsed one."""

from __future__ import annotations

import torch
from torch import Tensor

from pearl_train.objectives.regularise import keep_apart, on_sphere, sigreg, variance_hinge
from pearl_train.settings.config import ObjectiveConfig

OPTIONS = ObjectiveConfig(variance_hinge=2.0, sigreg=0.5)


def clouds() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(64, 32, generator=generator)
    point = torch.randn(1, 32, generator=generator) + 0.01 * spread
    return spread, point


def test_both_are_small_for_a_spread_cloud_and_large_for_a_point() -> None:
    spread, point = (on_sphere(cloud) for cloud in clouds())
    assert variance_hinge(spread) < 0.15
    assert variance_hinge(point) > 0.9
    assert sigreg(spread, 0) < 0.05
    assert sigreg(point, 0) > 5 * sigreg(spread, 0)


def test_following_their_gradient_spreads_a_point() -> None:
    for statistic in (variance_hinge, lambda cloud: sigreg(cloud, 0)):
        cloud = clouds()[1].clone().requires_grad_()
        before = float(variance_hinge(on_sphere(cloud)).detach())
        optimizer = torch.optim.Adam([cloud], lr=0.05)
        for _ in range(60):
            optimizer.zero_grad()
            statistic(on_sphere(cloud)).backward()
            optimizer.step()
        assert variance_hinge(on_sphere(cloud)) < 0.8 * before


def test_directions_follow_from_the_step() -> None:
    cloud = on_sphere(clouds()[0])
    assert torch.equal(sigreg(cloud, 3), sigreg(cloud, 3))
    assert not torch.equal(sigreg(cloud, 3), sigreg(cloud, 4))


def test_terms_are_per_sample_inside_lambda_s_bracket() -> None:
    cloud = clouds()[0].requires_grad_()
    terms = keep_apart((cloud, clouds()[1]), OPTIONS, weight=0.2, step=1)
    assert {name: (term.unit, term.weight) for name, term in terms.items()} == {
        "variance": ("samples", 0.4),
        "sigreg": ("samples", 0.1),
    }
    torch.testing.assert_close(terms["variance"].total, 64 * variance_hinge(on_sphere(cloud)))


def test_what_carries_no_gradient_or_is_alone_is_left_out() -> None:
    still, single = clouds()[0], clouds()[0][:1].clone().requires_grad_()
    assert not keep_apart((still, single), OPTIONS, weight=0.2, step=1)
    assert not keep_apart((still.requires_grad_(),), ObjectiveConfig(), weight=0.2, step=1)
