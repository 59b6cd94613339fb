"""Depth models of five architectures with a few weights, made here, and fitted within seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessor,
    GLPNConfig,
    GLPNForDepthEstimation,
    GLPNImageProcessor,
    PreTrainedModel,
    ZoeDepthConfig,
    ZoeDepthForDepthEstimation,
    ZoeDepthImageProcessor,
)

SIDE = 56


def dinov2() -> Dinov2Config:
    return Dinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=SIDE,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )


def depth_anything(*, metric: bool = False) -> tuple[PreTrainedModel, Any]:
    config = DepthAnythingConfig(
        backbone_config=dinov2(),
        patch_size=14,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[16, 16, 32, 32],
        fusion_hidden_size=16,
        head_hidden_size=16,
        depth_estimation_type="metric" if metric else "relative",
        max_depth=20 if metric else 1,
    )
    processor = DPTImageProcessor(size={"height": SIDE, "width": SIDE})
    return DepthAnythingForDepthEstimation(config), processor


def dpt() -> tuple[PreTrainedModel, Any]:
    config = DPTConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[16, 16, 32, 32],
        fusion_hidden_size=16,
        head_in_index=-1,
        is_hybrid=False,
    )
    return DPTForDepthEstimation(config), DPTImageProcessor(size={"height": 64, "width": 64})


def dpt_of_dinov2() -> tuple[PreTrainedModel, Any]:
    """DINOv2's depthers, published with a processor that pads where others resize."""
    config = DPTConfig(
        backbone_config=dinov2(),
        neck_hidden_sizes=[16, 16, 32, 32],
        fusion_hidden_size=16,
        hidden_size=32,
        is_hybrid=False,
        reassemble_factors=[4, 2, 1, 0.5],
    )
    processor = DPTImageProcessor(do_resize=False, do_pad=True, size_divisor=14)
    return DPTForDepthEstimation(config), processor


def glpn() -> tuple[PreTrainedModel, Any]:
    config = GLPNConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 24, 32],
        num_attention_heads=[1, 1, 1, 1],
        mlp_ratios=[2, 2, 2, 2],
        decoder_hidden_size=16,
        drop_path_rate=0.0,
    )
    return GLPNForDepthEstimation(config), GLPNImageProcessor()


def zoedepth() -> tuple[PreTrainedModel, Any]:
    from transformers import BeitConfig

    backbone = BeitConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=64,
        patch_size=16,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        use_relative_position_bias=True,
    )
    config = ZoeDepthConfig(
        backbone_config=backbone,
        backbone_hidden_size=32,
        neck_hidden_sizes=[16, 16, 32, 32],
        fusion_hidden_size=16,
        bottleneck_features=16,
        num_relative_features=16,
        bin_embedding_dim=16,
        num_attractors=[4, 2, 2, 1],
        use_pretrained_backbone=False,
    )
    processor = ZoeDepthImageProcessor(size={"height": 64, "width": 64}, keep_aspect_ratio=False)
    return ZoeDepthForDepthEstimation(config), processor


ARCHITECTURES: dict[str, Callable[[], tuple[PreTrainedModel, Any]]] = {
    "depth_anything": depth_anything,
    "dpt": dpt,
    "glpn": glpn,
    "zoedepth": zoedepth,
}


def save(folder: Path, model: PreTrainedModel, processor: Any) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def random_model(name: str, folder: Path, seed: int = 0) -> Path:
    """A model with random weights, saved as a snapshot."""
    torch.manual_seed(seed)
    return save(folder, *ARCHITECTURES[name]())


def fitted_model(name: str, folder: Path, *, steps: int = 20) -> Path:
    """A model that has learned the pictures of the self-test by heart, saved as a snapshot."""
    from pearl_data.depth_eval.selftest import pictures

    torch.manual_seed(0)
    model, processor = ARCHITECTURES[name]()
    options = {"do_pad": False} if name == "zoedepth" else {}
    shown = pictures()
    inputs = processor(images=[p.image for p in shown], return_tensors="pt", **options)
    inverse = torch.stack([torch.from_numpy(p.inverse_m) for p in shown])
    wanted = 1 / inverse if name in {"glpn", "zoedepth"} else inverse
    if name not in {"glpn", "zoedepth"}:
        with torch.no_grad():  # else the ReLU at the end may begin, and stay, at 0
            last_layer(model).bias.fill_(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(steps):
        given = model(**inputs).predicted_depth
        target = torch.nn.functional.interpolate(wanted[:, None], given.shape[-2:], mode="area")
        loss = (standard(given) - standard(target[:, 0])).abs().mean()
        loss = loss + torch.relu(0.5 - given).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return save(folder, model.eval(), processor)


def flip(model: PreTrainedModel, largest: float = 3.0) -> None:
    """Turn the sign of what a Depth Anything or DPT model says: x becomes ``largest`` - x."""
    layer = last_layer(model)
    with torch.no_grad():
        layer.weight.neg_()
        layer.bias.neg_().add_(largest)


def last_layer(model: Any) -> Any:
    return model.head.conv3 if hasattr(model.head, "conv3") else model.head.head[4]


def standard(maps: torch.Tensor) -> torch.Tensor:
    """Each map with mean 0 and spread 1, so that scale and shift do not matter."""
    middle = maps.mean((1, 2), keepdim=True)
    return (maps - middle) / ((maps - middle).abs().mean((1, 2), keepdim=True) + 1e-3)
