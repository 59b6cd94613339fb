"""The depth network whose weights ship with the package: a timm encoder, two context blocks, a
light decoder.

Input RGB, output relative inverse depth, larger = nearer. The network predicts the logarithm of the
inverse depth, so the output is positive and its unknown scale is one factor; that also makes "twice
as near" equally visible near and far. Leaves out loading (`embedded.py`) and training
(`training/depth`).

Shape legend: B batch, C channels, H and W the picture's sides, h and w those of a feature map.
"""

from __future__ import annotations

from typing import Any, Final

import timm
import torch
import torch.nn.functional as F  # noqa: N812  the name everybody knows
from torch import Tensor, nn

ENCODER: Final = "regnetx_002"
WIDTH: Final = 64
MULTIPLE: Final = 32
"""Both sides of the input must be multiples of this."""
MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)
LOG_LIMIT: Final = 8.0


class ContextBlock(nn.Module):
    """Self-attention among the coarsest cells: where the floor, the walls and the horizon are is a
    global question.
    """

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.norm_mlp = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )

    def forward(self, cells: Tensor) -> Tensor:
        """(B, h*w, C) in and out."""
        normed = self.norm_attention(cells)
        cells = cells + self.attention(normed, normed, normed, need_weights=False)[0]
        mixed: Tensor = cells + self.mlp(self.norm_mlp(cells))
        return mixed


class Fuse(nn.Module):
    """Doubles a map, adds the encoder's features of that size and smooths with a separable
    convolution.
    """

    def __init__(self, skip_channels: int, channels: int) -> None:
        super().__init__()
        self.skip = nn.Conv2d(skip_channels, channels, 1)
        self.mix = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """(B, C, h/2, w/2) and (B, S, h, w) to (B, C, h, w)."""
        larger = F.interpolate(coarse, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        total = larger + self.skip(skip)
        mixed: Tensor = total + self.mix(total)
        return mixed


class DepthNetwork(nn.Module):
    """RGB to the logarithm of relative inverse depth.

    Args:
        encoder_name: a timm model that gives features at strides 2 to 32; the packaged weights are
            those of `ENCODER`, the others are for `training/depth/encoders.py` to compare.

    """

    def __init__(self, encoder_name: str = ENCODER) -> None:
        super().__init__()
        encoder: Any = timm.create_model(encoder_name, features_only=True, pretrained=False)
        channels: list[int] = encoder.feature_info.channels()
        self.encoder = encoder
        self.narrow = nn.Conv2d(channels[-1], 2 * WIDTH, 1)
        self.position = nn.Conv2d(4, 2 * WIDTH, 1)
        self.context = nn.Sequential(ContextBlock(2 * WIDTH), ContextBlock(2 * WIDTH))
        self.widen = nn.Conv2d(2 * WIDTH, WIDTH, 1)
        self.fuse = nn.ModuleList(Fuse(count, WIDTH) for count in reversed(channels[1:-1]))
        self.detail = Fuse(channels[0], WIDTH // 2)
        self.to_detail = nn.Conv2d(WIDTH, WIDTH // 2, 1)
        self.head = nn.Conv2d(WIDTH // 2, 1, 3, padding=1)
        self.mean: Tensor
        self.std: Tensor
        self.tilt: Tensor
        self.register_buffer("tilt", torch.zeros(()))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in 0..1 to (B, H, W) log inverse depth, larger = nearer; H and W
        multiples of 32.

        Outside training `tilt` is added from top (-tilt/2) to bottom (+tilt/2): photographs stand
        on the ground more often than the renders that the network has seen, so of two places that
        it holds at about one distance the lower is the nearer.
        """
        height, width = image.shape[-2:]
        features = self.encoder((image - self.mean) / self.std)
        coarse = self.narrow(features[-1])
        coarse = coarse + self.position(_coordinates(coarse))
        batch, channels, h, w = coarse.shape
        cells = self.context(coarse.flatten(2).transpose(1, 2))
        x = self.widen(cells.transpose(1, 2).reshape(batch, channels, h, w))
        for fuse, skip in zip(self.fuse, reversed(features[1:-1]), strict=True):
            x = fuse(x, skip)
        x = self.detail(self.to_detail(x), features[0])
        log_inverse = self.head(x)
        full = F.interpolate(
            log_inverse, size=(height, width), mode="bilinear", align_corners=False
        )
        # A soft limit keeps the exponential finite whatever the picture.
        limited: Tensor = LOG_LIMIT * torch.tanh(full[:, 0].float() / LOG_LIMIT)
        if not self.training:
            rows = torch.linspace(-0.5, 0.5, height, device=limited.device)
            limited = limited + self.tilt * rows[:, None]
        return limited


def _coordinates(like: Tensor) -> Tensor:
    """(B, 4, h, w): x and y in -1..1 and their squares."""
    batch, _, h, w = like.shape
    y = torch.linspace(-1, 1, h, device=like.device, dtype=like.dtype).view(1, 1, h, 1)
    x = torch.linspace(-1, 1, w, device=like.device, dtype=like.dtype).view(1, 1, 1, w)
    x, y = x.expand(batch, 1, h, w), y.expand(batch, 1, h, w)
    return torch.cat([x, y, x * x, y * y], dim=1)
