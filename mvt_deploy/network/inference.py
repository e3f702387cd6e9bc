"""The two ends of the network in use: uint8 crops to images, and maps to boxes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .model import SEARCH_SIZE, STRIDE, Maps

GRID = SEARCH_SIZE // STRIDE


class Prediction(NamedTuple):
    """What the network says of ``n`` search crops, in float32.

    Attributes:
        box: Centre x, centre y, width and height ``[n, 4]`` as fractions of the search crop.
        score: The score map's value at the chosen cell ``[n]``, 0..1.
        score_map: Score of every cell ``[n, grid, grid]``, 0..1.
    """

    box: Tensor
    score: Tensor
    score_map: Tensor


def prepare(crops: Tensor) -> Tensor:
    """Convert BGR crops uint8 ``[n, H, W, 3]`` to the network's RGB images float32 ``[n, 3, H, W]`` in 0..1."""
    return crops.float().permute(0, 3, 1, 2).flip(1) / 255


def hann_window(grid: int = GRID) -> Tensor:
    """The window that the score map is weighted with before the argmax, float32 ``[grid, grid]``, as published.

    It is the outer product of the ``grid`` inner samples of a symmetric Hann window, so its corners are not zero.

    Args:
        grid: Side of the score map in cells.
    """
    samples = torch.arange(1, grid + 1, dtype=torch.float64)
    row = 0.5 * (1 - torch.cos(2 * torch.pi * samples / (grid + 1)))
    return torch.outer(row, row).float()


def size_scale(grid: int) -> float:
    """Factor of the predicted width and height where the score map has ``grid`` cells a side.

    The network learnt them as fractions of a search crop of 256 pixels. In a crop of another side at the same density,
    the same object is another fraction.
    """
    return GRID / grid


def decode(maps: Maps, window: Tensor, scale: float = 1.0) -> Prediction:
    """The box at the peak of the windowed score map, in fp32.

    Args:
        maps: The head's output on a map of ``grid`` x ``grid`` cells.
        window: Weights of the cells ``[grid, grid]``, as :func:`hann_window` gives them.
        scale: Factor of width and height: :func:`size_scale` where the crop has the density of the published one.
    """
    grid = window.shape[-1]
    score = maps.score.float().reshape(-1, grid * grid)
    peak = (score * window.reshape(-1)).argmax(1, keepdim=True)  # (n, 1)
    pick = peak[:, None].expand(-1, 2, 1)  # (n, 2, 1)
    size = maps.size.float().reshape(-1, 2, grid * grid).gather(2, pick)[..., 0]
    if scale != 1:
        size = size * scale
    offset = maps.offset.float().reshape(-1, 2, grid * grid).gather(2, pick)[..., 0]
    cell = torch.cat([peak % grid, peak // grid], dim=1)  # (n, 2): column, row
    centre = (cell + offset) / grid
    return Prediction(torch.cat([centre, size], dim=1), score.gather(1, peak)[:, 0], score.reshape(-1, grid, grid))
