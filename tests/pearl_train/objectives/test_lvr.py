"""Latent reconstruction as published."""

from __future__ import annotations

import torch
from toy_objectives import PICTURE_TOKENS, ToyBackbone, toy_batch, toy_sample

from pearl_train.model.backbone import Fills
from pearl_train.objectives.base import Moment, Terms
from pearl_train.objectives.lvr import loss
from pearl_train.settings.config import LvrConfig, ObjectiveConfig
from pearl_train.views.batch import ViewPlan

BATCH = toy_batch([toy_sample(number) for number in range(3)], ViewPlan(("lvr",)))
MOMENT = Moment(step=0, jepa_weight=0.0)
OPTIONS = ObjectiveConfig(name="lvr", lvr=LvrConfig(weight=0.1))


def terms(backbone: ToyBackbone) -> Terms:
    return loss(backbone, BATCH, OPTIONS, MOMENT, torch.nn.ModuleDict(), None)


def test_the_state_before_each_latent_is_regressed_to_its_visual_token() -> None:
    backbone = ToyBackbone().eval()
    found = terms(backbone).losses["lvr"]
    assert (found.unit, found.weight) == ("latents", 0.1)
    visual = backbone.vision(BATCH.images["pixel_values"])
    latents = BATCH.context.latents
    hidden = backbone.hidden(
        BATCH.context,
        backbone.image_features(BATCH.images, BATCH.image_tokens),
        fills=Fills(latents.row, latents.column, visual[latents.feature]),
    )
    before = hidden[latents.row, latents.column - 1]
    expected = ((before - visual[latents.feature]) ** 2).mean(dim=-1).sum()
    torch.testing.assert_close(found.total, expected)
    assert BATCH.counts["latents"] == 3 * PICTURE_TOKENS


def test_cross_entropy_ignores_latents() -> None:
    learned = BATCH.context.learned["lvr"]
    assert backbone_lvr_id() not in learned.id.tolist()
    assert terms(ToyBackbone()).losses["vlm"].unit == "lvr"


def test_the_regression_is_in_float32_and_its_target_gives_no_gradient() -> None:
    backbone = ToyBackbone().eval().bfloat16()
    batch = BATCH
    images = {"pixel_values": batch.images["pixel_values"].bfloat16()}
    from dataclasses import replace

    found = loss(
        backbone, replace(batch, images=images), OPTIONS, MOMENT, torch.nn.ModuleDict(), None
    ).losses["lvr"]
    assert found.total.dtype == torch.float32


def test_latents_are_taught_with_the_region_s_tokens() -> None:
    """A latent's input is the visual token, so a later state depends on it."""
    backbone = ToyBackbone().eval()
    whole = terms(backbone).losses["vlm"].total
    with torch.no_grad():
        backbone.embedding.weight[backbone_lvr_id()] += 10.0
    assert torch.equal(terms(backbone).losses["vlm"].total, whole)


def backbone_lvr_id() -> int:
    return ToyBackbone.tokens.lvr
