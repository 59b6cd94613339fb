"""Transformers models under our convention: which way round, only safetensors, clear refusals."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTImageProcessor,
    GLPNConfig,
    GLPNForDepthEstimation,
)

from pearl_tools.depth import load_depth_model
from pearl_tools.depth.huggingface import output_kind
from pearl_tools.errors import ModelUnavailable


def save_tiny(folder: Path, *, metric: bool = False) -> Path:
    """A Depth Anything model with a few random weights, 28-pixel pictures."""
    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=8,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=28,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=8,
        neck_hidden_sizes=[4, 4, 8, 8],
        fusion_hidden_size=4,
        head_hidden_size=4,
        depth_estimation_type="metric" if metric else "relative",
        max_depth=20 if metric else 1,
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessor(size={"height": 28, "width": 28}).save_pretrained(folder)
    return folder


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = ((40, 60, 3), (30, 30, 3), (40, 60, 3))
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


def test_a_saved_model_predicts_and_is_named_and_hashed(tmp_path: Path) -> None:
    model = load_depth_model(str(save_tiny(tmp_path)))
    assert (model.model_id, model.dtype) == (str(tmp_path), "float32")
    assert len(model.weights_sha256) == 64
    maps = model.predict(pictures())
    assert len(maps) == 3
    assert all(m.dtype == np.float32 and m.ndim == 2 and np.isfinite(m).all() for m in maps)
    np.testing.assert_allclose(model.predict(pictures()[2:])[0], maps[2], rtol=1e-3, atol=1e-6)


def test_metric_depth_is_turned_into_its_inverse(tmp_path: Path) -> None:
    model = load_depth_model(str(save_tiny(tmp_path, metric=True)))
    raw = DepthAnythingForDepthEstimation.from_pretrained(tmp_path).eval()
    processor = DPTImageProcessor.from_pretrained(tmp_path)
    image = pictures()[0]
    with torch.inference_mode():
        metres = raw(**processor(images=[image], return_tensors="pt")).predicted_depth[0].numpy()
    np.testing.assert_allclose(model.predict([image])[0], 1 / metres, rtol=1e-3)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"model_type": "dpt"}, "inverse"),
        ({"model_type": "dpt", "backbone_config": SimpleNamespace(model_type="dinov2")}, "metric"),
        ({"model_type": "glpn"}, "metric"),
        ({"model_type": "depth_anything", "depth_estimation_type": "relative"}, "inverse"),
        ({"model_type": "depth_anything", "depth_estimation_type": "metric"}, "metric"),
    ],
)
def test_what_each_type_means_is_declared(config: dict[str, object], kind: str) -> None:
    assert output_kind(SimpleNamespace(**config)) == kind


def test_an_undeclared_type_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(ModelUnavailable, match=r"'novelty'.*add the type to OUTPUT_OF_TYPE"):
        output_kind(SimpleNamespace(model_type="novelty"))


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    config = GLPNConfig(
        num_encoder_blocks=1,
        depths=[1],
        sr_ratios=[1],
        hidden_sizes=[8],
        patch_sizes=[3],
        strides=[2],
        num_attention_heads=[1],
        mlp_ratios=[1],
        decoder_hidden_size=8,
    )
    model = GLPNForDepthEstimation(config)
    config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    DPTImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(ModelUnavailable, match="safetensors"):
        load_depth_model(str(tmp_path))


def test_a_missing_model_names_itself_the_reason_and_two_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelUnavailable) as caught:
        load_depth_model("nobody/no-such-depth-model")
    message = str(caught.value)
    assert "'nobody/no-such-depth-model'" in message
    assert "--depth-model embedded" in message
    assert "pass its folder" in message


def test_an_empty_folder_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load_depth_model(str(tmp_path))
