"""MVT, the Mobile Vision Transformer tracker (BMVC 2023): backbone, neck and head with the published key names."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import ConvNormAct, InvertedResidual, SiamMoViT

PARAMETERS = 5_480_405
"""Number of trainable parameters of the published network."""
STRIDE = 16
"""Pixels of the search crop per cell of the score map."""
TEMPLATE_SIZE, SEARCH_SIZE = 128, 256
"""Sides of the two crops in pixels."""
TEMPLATE_GRID = TEMPLATE_SIZE // STRIDE
SCORE_CLAMP = 1e-4
"""Score and size lie in ``[SCORE_CLAMP, 1 - SCORE_CLAMP]``, as published."""


class TemplateFeatures(NamedTuple):
    """The part of the template's features that does not depend on the search image.

    Attributes:
        features: Feature map, float ``[B, 96, 16, 16]``.
        tokens: Its tokens, float ``[B, 4, 64, 144]`` (cells per patch, patches, width).
    """

    features: Tensor
    tokens: Tensor


class Maps(NamedTuple):
    """The head's output on the grid, which is 16x16 for a search crop of 256x256.

    Attributes:
        score: Score map ``[B, 1, 16, 16]`` in 1e-4..1-1e-4.
        size: Width and height of the box ``[B, 2, 16, 16]`` as fractions of the search crop.
        offset: Offset x, y of the box centre ``[B, 2, 16, 16]`` in cells, unbounded.
    """

    score: Tensor
    size: Tensor
    offset: Tensor


class Backbone(nn.Module):
    """Trunk of stride 16 in the manner of MobileViT-v1-S: MobileNetV2 blocks, then two Siam-MoViT blocks.

    Args:
        fusion: False keeps attention within each image.
    """

    def __init__(self, fusion: bool = True) -> None:
        super().__init__()
        self.conv_1 = ConvNormAct(3, 16, 3, stride=2)
        self.layer_1 = nn.Sequential(InvertedResidual(16, 32, 1, 4))
        self.layer_2 = nn.Sequential(
            InvertedResidual(32, 64, 2, 4), InvertedResidual(64, 64, 1, 4), InvertedResidual(64, 64, 1, 4)
        )
        self.layer_3 = nn.ModuleList([InvertedResidual(64, 96, 2, 4), SiamMoViT(96, 144, 288, 2, fusion=fusion)])
        self.layer_4 = nn.ModuleList([InvertedResidual(96, 128, 2, 4), SiamMoViT(128, 192, 384, 4, fusion=fusion)])

    def stem(self, image: Tensor) -> Tensor:
        """The layers before the first joint block: ``[B, 3, H, W] -> [B, 96, H/8, W/8]``."""
        return self.layer_3[0](self.layer_2(self.layer_1(self.conv_1(image))))

    def template(self, image: Tensor) -> TemplateFeatures:
        """Features of the template image ``[B, 3, 128, 128]`` that do not depend on the search image."""
        features = self.stem(image)
        movit = self.layer_3[1]
        assert isinstance(movit, SiamMoViT)
        return TemplateFeatures(features, movit.tokens(features))

    def forward(self, search: Tensor, template: TemplateFeatures) -> tuple[Tensor, Tensor]:
        """Feature maps of search and template ``[B, 128, H/16, W/16]`` after the joint blocks.

        Args:
            search: Search image ``[B, 3, H, W]``.
            template: What :meth:`template` returned.
        """
        x, z = self.layer_3[1](self.stem(search), template.features, template.tokens)
        return self.layer_4[1](self.layer_4[0](x), self.layer_4[0](z))


class Neck(nn.Module):
    """One batch norm per feature map, of the search image and of the template."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.BN_x = nn.BatchNorm2d(channels)
        self.BN_z = nn.BatchNorm2d(channels)

    def forward(self, search: Tensor, template: Tensor) -> tuple[Tensor, Tensor]:
        return self.BN_x(search), self.BN_z(template)


class ChannelAttention(nn.Module):
    """Squeeze-and-excitation over the correlation channels, without reduction."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels, 1)
        self.fc2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))
        return x * gate


class PixelwiseCorrelation(nn.Module):
    """Every template cell as a 1x1 kernel over the search map: ``[B, C, 16, 16] -> [B, 64, 16, 16]``.

    Args:
        cells: Number of template cells.
    """

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.CA_layer = ChannelAttention(cells)

    def forward(self, search: Tensor, template: Tensor) -> Tensor:
        kernels = template.flatten(2).transpose(1, 2)  # (B, cells, C)
        correlation = (kernels @ search.flatten(2)).unflatten(2, search.shape[2:])
        return self.CA_layer(correlation)


class FeatureFusor(nn.Module):
    """Pixel-wise correlation, channel attention and a 1x1 convolution: ``[B, 128, 16, 16] -> [B, 256, 16, 16]``."""

    def __init__(self, cells: int, outputs: int) -> None:
        super().__init__()
        self.pw_corr = PixelwiseCorrelation(cells)
        self.adj_layer = nn.Conv2d(cells, outputs, 1)

    def forward(self, search: Tensor, template: Tensor) -> Tensor:
        return self.adj_layer(self.pw_corr(search, template))


class CenterHead(nn.Module):
    """Three branches of four 3x3 convolutions and a 1x1: score, size and offset maps."""

    BRANCHES: ClassVar[dict[str, int]] = {"ctr": 1, "size": 2, "offset": 2}

    def __init__(self, inputs: int = 256) -> None:
        super().__init__()
        widths = (inputs, 256, 128, 64, 32)
        for branch, outputs in self.BRANCHES.items():
            for i in range(4):
                layer = nn.Sequential(
                    nn.Conv2d(widths[i], widths[i + 1], 3, padding=1), nn.BatchNorm2d(widths[i + 1]), nn.ReLU()
                )
                self.add_module(f"conv{i + 1}_{branch}", layer)
            self.add_module(f"conv5_{branch}", nn.Conv2d(widths[4], outputs, 1))

    def branch(self, name: str, x: Tensor) -> Tensor:
        """Raw output of a branch (``ctr``, ``size`` or ``offset``) before the sigmoid."""
        for i in range(5):
            x = self.get_submodule(f"conv{i + 1}_{name}")(x)
        return x

    def forward(self, x: Tensor) -> Maps:
        score, size, offset = (self.branch(name, x) for name in self.BRANCHES)
        # In fp32: in half precision 1 - 1e-4 rounds to 1, whose log-complement is infinite.
        return Maps(
            score.float().sigmoid().clamp(SCORE_CLAMP, 1 - SCORE_CLAMP),
            size.float().sigmoid().clamp(SCORE_CLAMP, 1 - SCORE_CLAMP),
            offset.float(),
        )


class MVT(nn.Module):
    """The tracker network.

    Inputs are RGB images, float in 0..1, ``[B, 3, H, W]``: template 128x128 and search 256x256. Smaller sides that are
    multiples of 32 work too (training at low resolution): template features are then enlarged to 8x8 before the neck.

    Args:
        fusion: False keeps attention within each image (the paper's ablation without fusion).
    """

    def __init__(self, fusion: bool = True) -> None:
        super().__init__()
        self.backbone = Backbone(fusion)
        self.neck = Neck(128)
        self.feature_fusor = FeatureFusor(TEMPLATE_GRID**2, 256)
        self.box_head = CenterHead(256)

    def encode_template(self, template: Tensor) -> TemplateFeatures:
        """Encode template images ``[B, 3, 128, 128]``; this runs once per target."""
        return self.backbone.template(template)

    def track(self, search: Tensor, template: TemplateFeatures) -> Maps:
        """Head's maps of search images ``[B, 3, H, W]`` and their templates; this runs once per frame."""
        x, z = self.neck(*self.backbone(search, template))
        if z.shape[-1] != TEMPLATE_GRID:
            z = F.interpolate(z, size=(TEMPLATE_GRID, TEMPLATE_GRID), mode="bilinear", align_corners=False)
        return self.box_head(self.feature_fusor(x, z))

    def forward(self, template: Tensor, search: Tensor) -> Maps:
        return self.track(search, self.encode_template(template))
