"""An exponential moving average of the weights: what a run ships."""

from __future__ import annotations

import copy

import torch

from ..network import MVT


class Ema:
    """Averages parameters and batch-norm statistics; counters are copied.

    The decay after ``n`` updates is ``min(decay, (1 + n) / (10 + n))``, so the start is forgotten soon.
    """

    def __init__(self, model: MVT, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: MVT, updates: int) -> None:
        """Move towards ``model``; ``updates`` is how often this was done before."""
        decay = min(self._decay, (1 + updates) / (10 + updates))
        for mean, value in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)
