"""Building blocks of MVT: convolution with batch norm, MobileNetV2's inverted residual, the joint Siam-MoViT block."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 2
"""Side of a MobileViT patch in cells; tokens at the same place of their patch attend to each other."""


class ConvNormAct(nn.Module):
    """Convolution without bias, then optionally batch norm and ReLU: ``[B, inputs, H, W] -> [B, outputs, H/s, W/s]``.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        kernel: Side of the kernel in pixels; the padding is half of it.
        stride: Stride ``s`` in pixels.
        groups: Number of groups of channels; ``inputs`` of them make a depthwise convolution.
        norm: Add a batch norm.
        act: Add a ReLU.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        norm: bool = True,
        act: bool = True,
    ) -> None:
        super().__init__()
        self.block = nn.Sequential()
        self.block.add_module(
            "conv", nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        )
        if norm:
            self.block.add_module("norm", nn.BatchNorm2d(outputs))
        if act:
            self.block.add_module("act", nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class InvertedResidual(nn.Module):
    """MobileNetV2 block: 1x1 expansion, depthwise 3x3 convolution, linear 1x1 reduction.

    A residual connection is added where input and output have the same shape.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        stride: Stride of the depthwise convolution.
        expansion: Hidden channels per input channel.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.block = nn.Sequential()
        self.block.add_module("exp_1x1", ConvNormAct(inputs, hidden, 1))
        self.block.add_module("conv_3x3", ConvNormAct(hidden, hidden, 3, stride, groups=hidden))
        self.block.add_module("red_1x1", ConvNormAct(hidden, outputs, 1, act=False))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.shortcut else self.block(x)


class Attention(nn.Module):
    """Multi-head self-attention without positional encoding: ``[B, N, C] -> [B, N, C]``.

    Args:
        width: Number of channels ``C`` of a token.
        heads: Number of attention heads; it divides ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        # (B, N, 3C) -> 3 x (B, heads, N, c)
        q, k, v = self.qkv_proj(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    """Pre-norm encoder layer: attention and a two-layer feed-forward network, each with a residual connection.

    Tokens are ``[B, N, C]`` before and after.

    Args:
        width: Number of channels ``C`` of a token.
        hidden: Number of channels between the two feed-forward layers.
        heads: Number of attention heads.
        dropout: Dropout probability in training.
    """

    def __init__(self, width: int, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.pre_norm_mha = nn.Sequential(nn.LayerNorm(width), Attention(width, heads), nn.Dropout(dropout))
        self.pre_norm_ffn = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, width),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.pre_norm_mha(tokens)
        return tokens + self.pre_norm_ffn(tokens)


def unfold(x: Tensor) -> Tensor:
    """Feature map to tokens: ``[B, C, H, W] -> [B, P, N, C]`` with P = 4 cells per patch and N = H*W/4 patches."""
    rows, columns = x.shape[2] // PATCH, x.shape[3] // PATCH
    x = x.unflatten(3, (columns, PATCH)).unflatten(2, (rows, PATCH))  # (B, C, rows, ph, columns, pw)
    return x.permute(0, 3, 5, 2, 4, 1).flatten(3, 4).flatten(1, 2)


def fold(tokens: Tensor, height: int) -> Tensor:
    """Tokens back to a feature map: ``[B, P, N, C] -> [B, C, H, W]``; the inverse of :func:`unfold`.

    Args:
        tokens: The tokens.
        height: Height ``H`` of the feature map in cells.
    """
    rows = height // PATCH
    x = tokens.unflatten(2, (rows, -1)).unflatten(1, (PATCH, PATCH))  # (B, ph, pw, rows, columns, C)
    return x.permute(0, 5, 3, 1, 4, 2).flatten(4, 5).flatten(2, 3)


class SiamMoViT(nn.Module):
    """MobileViT block over two images whose tokens share one self-attention (search tokens first).

    Args:
        channels: Number of channels of the feature maps.
        width: Number of channels of a token.
        hidden: Number of hidden channels of the feed-forward layers.
        depth: Number of transformer layers.
        heads: Number of attention heads.
        dropout: Dropout probability in training; the published value is 0.1.
        fusion: False keeps attention within each image (the paper's ablation without fusion).
    """

    def __init__(
        self,
        channels: int,
        width: int,
        hidden: int,
        depth: int,
        heads: int = 4,
        dropout: float = 0.1,
        fusion: bool = True,
    ) -> None:
        super().__init__()
        self.attends_jointly = fusion  # `fusion` is a published key
        self.local_rep = nn.Sequential()
        self.local_rep.add_module("conv_3x3", ConvNormAct(channels, channels, 3))
        self.local_rep.add_module("conv_1x1", ConvNormAct(channels, width, 1, norm=False, act=False))
        layers: list[nn.Module] = [Transformer(width, hidden, heads, dropout) for _ in range(depth)]
        self.global_rep = nn.Sequential(*layers, nn.LayerNorm(width))
        self.conv_proj = ConvNormAct(width, channels, 1)
        self.fusion = ConvNormAct(2 * channels, channels, 3)

    def tokens(self, x: Tensor) -> Tensor:
        """Local representation of one image as tokens: ``[B, C, H, W] -> [B, P, N, width]``."""
        return unfold(self.local_rep(x))

    def attend(self, search: Tensor, template: Tensor) -> tuple[Tensor, Tensor]:
        """Run the transformer over both images' tokens ``[B, P, Ns, C]``, ``[B, P, Nt, C]``."""
        if not self.attends_jointly:
            return self._attend(search), self._attend(template)
        both = self._attend(torch.cat([search, template], dim=2))
        return both[:, :, : search.shape[2]], both[:, :, search.shape[2] :]

    def _attend(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.global_rep(tokens.flatten(0, 1))
        return out.unflatten(0, (-1, tokens.shape[1]))

    def merge(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Tokens folded back, projected and fused with the block's input ``x`` ``[B, C, H, W]``."""
        folded = self.conv_proj(fold(tokens, x.shape[2]))
        return self.fusion(torch.cat([x, folded], dim=1))

    def forward(self, search: Tensor, template: Tensor, template_tokens: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if template_tokens is None:
            template_tokens = self.tokens(template)
        search_out, template_out = self.attend(self.tokens(search), template_tokens)
        return self.merge(search, search_out), self.merge(template, template_out)
