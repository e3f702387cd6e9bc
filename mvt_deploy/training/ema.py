"""An exponential moving average of the weights, which is what a run delivers."""

from __future__ import annotations

import copy

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..network import MVT


class Ema:
    """Averages parameters and batch-norm statistics; integer counters are copied.

    The decay after ``n`` updates is ``min(decay, (1 + n) / (10 + n))``, so that the initial weights are soon forgotten.

    Args:
        model: The network whose weights the average starts from.
        decay: Decay per update.
    """

    def __init__(self, model: MVT, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: MVT, updates: int) -> None:
        """Move the average towards a network's weights.

        Args:
            model: The network.
            updates: Number of earlier updates.
        """
        decay = min(self._decay, (1 + updates) / (10 + updates))
        averaged, current = [], []
        for mean, value in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                averaged.append(mean)
                current.append(value)
            else:
                mean.copy_(value)
        get_ema_multi_avg_fn(decay)(averaged, current, updates)  # few kernels for all tensors
