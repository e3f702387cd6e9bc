"""Initial weights for training from scratch."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..network import MVT

SCORE_DEVIATION, SCORE_BIAS = 0.02, -2.2
"""Standard deviation and bias of the last score convolution. Scores begin near 0.1, so that the loss of the many empty
cells does not hide that of the one target cell."""


def initialise(model: MVT, seed: int) -> MVT:
    """Fill a network with random weights, in place.

    Convolutions, depthwise ones too, are normal with He's standard deviation for their own fan-in ``k * k * inputs /
    groups``. Linear layers are truncated normal with standard deviation 0.02.

    Args:
        model: The network.
        seed: Seed of the random weights.

    Returns:
        The same network.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, 0.0, math.sqrt(2 / fan_in), generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02, generator=generator)
        elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            module.reset_parameters()
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    last = model.box_head.get_submodule("conv5_ctr")
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    nn.init.normal_(last.weight, 0.0, SCORE_DEVIATION, generator=generator)
    nn.init.constant_(last.bias, SCORE_BIAS)
    return model
