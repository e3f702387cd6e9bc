"""The mean of trained networks, with batch-norm statistics that belong to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from ..network import MVT
from ..network.inference import prepare
from .sampler import Batch


def average(models: Sequence[MVT], batches: Iterable[Batch]) -> MVT:
    """Average the weights of networks, and measure the batch-norm statistics of the average anew.

    The mean of the networks' own statistics does not fit the activations of the mean network: without new ones, the
    mean of two good networks is worse than either (Izmailov et al., "Averaging weights leads to wider optima", 2018).

    Args:
        models: Networks that were trained from a common ancestor. The first one becomes the average.
        batches: Pairs to measure the statistics on; each batch counts alike.

    Returns:
        The average, in inference mode.
    """
    model, states = models[0], [network.state_dict() for network in models]
    with torch.no_grad():
        for name, value in states[0].items():
            if value.dtype.is_floating_point:
                value.copy_(torch.stack([state[name] for state in states]).mean(0))
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over all batches
            module.train()
    with torch.no_grad():
        for batch in batches:
            model(prepare(batch.template), prepare(batch.search))
    return model.eval()
