from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_samples import tiny_sample

from pearl_train.asking.answering import Thought
from pearl_train.asking.questions import item_of
from pearl_train.asking.trained import encoder_for
from pearl_train.comparing.latents import mutual_cosine, nearest, region_of
from pearl_train.model.build import build_backbone
from pearl_train.settings.config import Config, ModelConfig
from pearl_train.views.encode import prepare_picture


def test_equal_latents_have_cosine_one_and_opposite_ones_minus_one() -> None:
    one = torch.tensor([1.0, 2.0, -1.0])
    assert mutual_cosine(torch.stack([one, 3 * one, one])) == pytest.approx(1)
    assert mutual_cosine(torch.stack([one, -one])) == pytest.approx(-1)
    assert mutual_cosine(torch.eye(4)) == pytest.approx(0)
    assert mutual_cosine(one[None]) == 1


def test_the_nearest_token_is_by_direction_not_by_length() -> None:
    visual = torch.tensor([[10.0, 10.0], [0.1, 0.0], [0.0, -1.0]])
    thought = Thought(torch.tensor([[5.0, 0.3], [1.0, 1.1], [0.1, -9.0]]), visual)
    assert nearest(thought).tolist() == [1, 0, 2]


@pytest.mark.parametrize("family", ["fast_vlm", "qwen2_5_vl"])
def test_the_right_region_is_what_the_crop_took(
    tiny_folder: Callable[[str], Path], family: str
) -> None:
    backbone = build_backbone(ModelConfig(id=str(tiny_folder(family))))
    encoder = encoder_for(backbone, Config())
    sample = tiny_sample(0)
    [call] = sample.trajectory.steps[0].calls
    assert call.effective is not None
    region = region_of(sample, "tar", encoder)
    assert region
    x0, y0, x1, y1 = call.effective.box_root
    share = (x1 - x0) * (y1 - y0) / (160 * 120)
    [picture] = item_of(sample, "tar").question.media.values()
    image = Image.fromarray(np.asarray(picture.pixels, np.uint8))
    tokens = prepare_picture(image, "i0", encoder).image.tokens
    assert share <= len(region) / tokens, "every token that is touched counts"
    assert region < set(range(tokens)) or tokens == 4
