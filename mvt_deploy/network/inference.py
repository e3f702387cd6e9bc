"""The two ends of the network in use: uint8 crops to images, and maps to boxes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .model import SEARCH_SIZE, STRIDE, Maps

GRID = SEARCH_SIZE // STRIDE


class Located(NamedTuple):
    """``box`` ``[n, 4]`` (centre x, y, width, height; fractions of the search crop), ``score`` ``[n]``,
    ``score_map`` ``[n, 16, 16]``; all float32."""

    box: Tensor
    score: Tensor
    score_map: Tensor


def prepare(crops: Tensor) -> Tensor:
    """uint8 BGR crops ``[n, H, W, 3]`` to the network's RGB image, float32 in 0..1, ``[n, 3, H, W]``."""
    return crops.float().permute(0, 3, 1, 2).flip(1) / 255


def hann_window(grid: int = GRID) -> Tensor:
    """The ``[grid, grid]`` window the score is weighted with before the argmax, as published.

    Outer product of the ``grid`` inner samples of a symmetric Hann window: its corners are not zero.
    """
    samples = torch.arange(1, grid + 1, dtype=torch.float64)
    row = 0.5 * (1 - torch.cos(2 * torch.pi * samples / (grid + 1)))
    return torch.outer(row, row).float()


def decode(maps: Maps, window: Tensor) -> Located:
    """The box at the peak of the windowed score map, in fp32.

    Args:
        maps: the head's output on a ``grid`` x ``grid`` map.
        window: ``[grid, grid]``.
    """
    grid = window.shape[-1]
    score = maps.score.float().reshape(-1, grid * grid)
    peak = (score * window.reshape(-1)).argmax(1, keepdim=True)  # (n, 1)
    pick = peak[:, None].expand(-1, 2, 1)  # (n, 2, 1)
    size = maps.size.float().reshape(-1, 2, grid * grid).gather(2, pick)[..., 0]
    offset = maps.offset.float().reshape(-1, 2, grid * grid).gather(2, pick)[..., 0]
    cell = torch.cat([peak % grid, peak // grid], dim=1)  # (n, 2): column, row
    centre = (cell + offset) / grid
    return Located(torch.cat([centre, size], dim=1), score.gather(1, peak)[:, 0], score.reshape(-1, grid, grid))
