"""The loss of the paper: weighted focal loss on the score map, L1 and generalised IoU on the box at the target cell."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..network import Maps
from .config import LossWeights

MIN_OVERLAP = 0.7
"""Least IoU with the target of a box whose centre is displaced by the Gaussian's radius (CornerNet's value)."""


class Losses(NamedTuple):
    """The losses of a batch; all are scalars.

    Attributes:
        total: Weighted sum of the three terms, with gradient.
        cls: Focal loss on the score map.
        l1: L1 loss on the box.
        giou: Generalised IoU loss on the box.
        iou: Mean IoU of the box at the target cell, over the pairs that show the target.
        hit: Share of the pairs that show the target whose peak is at most one cell away from the target cell.
    """

    total: Tensor
    cls: Tensor
    l1: Tensor
    giou: Tensor
    iou: Tensor
    hit: Tensor


def gaussian_radius(width: Tensor, height: Tensor, overlap: float = MIN_OVERLAP) -> Tensor:
    """Radius, in cells, of the score target's Gaussian.

    It is the smallest of CornerNet's three cases (both corners inside the box, both outside, one of each), with the
    formulas of CornerNet's code.

    Args:
        width: Width of the box in cells.
        height: Height of the box in cells.
        overlap: Least IoU of the displaced box with the box.
    """
    total, area = height + width, height * width
    one_each = (total + (total**2 - 4 * area * (1 - overlap) / (1 + overlap)).clamp(min=0).sqrt()) / 2
    inside = (2 * total + (4 * total**2 - 16 * (1 - overlap) * area).clamp(min=0).sqrt()) / 2
    b = -2 * overlap * total
    outside = (b + (b**2 + 16 * overlap * (1 - overlap) * area).sqrt()) / 2
    return torch.minimum(torch.minimum(one_each, inside), outside)


def is_present(box: Tensor) -> Tensor:
    """Which of the boxes ``[B, 4]`` have an area, ``[B]`` bool: a box of zeros marks a pair without the target."""
    return box[:, 2] > 0


def target_cells(box: Tensor, grid: int) -> Tensor:
    """The cell that holds the centre of a box.

    Args:
        box: ``[B, 4]``: centre x, y, width, height as fractions of the search crop.
        grid: Cells per side.

    Returns:
        Column and row, float ``[B, 2]``.
    """
    return (box[:, :2] * grid).floor().clamp(0, grid - 1)


def score_target(box: Tensor, grid: int) -> Tensor:
    """Target of the score map: a Gaussian that is 1 at the target cell and 0 beyond the radius.

    Its standard deviation is ``(2 * radius + 1) / 6`` cells, as in CenterNet. For a box of zeros the target is 0
    everywhere.

    Args:
        box: ``[B, 4]``: centre x, y, width, height as fractions of the search crop.
        grid: Cells per side.

    Returns:
        ``[B, grid, grid]``.
    """
    cell = target_cells(box, grid)
    sides = (box[:, 2:] * grid).ceil()
    radius = gaussian_radius(sides[:, 0], sides[:, 1]).floor().clamp(min=0)[:, None, None]  # (B, 1, 1)
    axis = torch.arange(grid, dtype=box.dtype, device=box.device)
    dx = axis[None, None, :] - cell[:, 0, None, None]  # (B, 1, grid)
    dy = axis[None, :, None] - cell[:, 1, None, None]  # (B, grid, 1)
    sigma = (2 * radius + 1) / 6
    heat = torch.exp(-(dx**2 + dy**2) / (2 * sigma**2))
    inside = (torch.maximum(dx.abs(), dy.abs()) <= radius) & is_present(box)[:, None, None]
    return torch.where(inside, heat, torch.zeros_like(heat))


def focal_loss(score: Tensor, target: Tensor) -> Tensor:
    """Weighted focal loss of CenterNet (alpha 2, beta 4), summed and divided by the number of cells with target 1.

    Args:
        score: ``[B, grid, grid]`` in (0, 1), float32 (in half precision ``1 - score`` can be zero).
        target: ``[B, grid, grid]`` in 0..1.
    """
    at_target = target == 1
    positive = (1 - score) ** 2 * score.log()
    negative = (1 - target) ** 4 * score**2 * (1 - score).log()
    return -torch.where(at_target, positive, negative).sum() / at_target.sum().clamp(min=1)


def corners(box: Tensor) -> Tensor:
    """Boxes ``[..., 4]`` of centre x, y, width, height as ``x1, y1, x2, y2``."""
    half = box[..., 2:] / 2
    return torch.cat([box[..., :2] - half, box[..., :2] + half], dim=-1)


def overlaps(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU (Rezatofighi et al., 2019) of boxes.

    Args:
        first: Boxes ``[..., 4]`` as ``x1, y1, x2, y2``.
        second: Boxes of the same shape.

    Returns:
        IoU and generalised IoU, both ``[...]``.
    """
    inter = (torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])).clamp(
        min=0
    )
    hull = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])
    inter_area, hull_area = inter.prod(-1), hull.prod(-1).clamp(min=1e-9)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (first, second)]
    union = (areas[0] + areas[1] - inter_area).clamp(min=1e-9)
    iou = inter_area / union
    return iou, iou - (hull_area - union) / hull_area


def boxes_at(maps: Maps, cells: Tensor) -> Tensor:
    """The boxes that the head's maps hold at some cells.

    Args:
        maps: The head's output.
        cells: ``[B, K, 2]``: column and row.

    Returns:
        ``[B, K, 4]``: centre x, y, width, height as fractions of the search crop.
    """
    grid = maps.score.shape[-1]
    index = (cells[..., 1] * grid + cells[..., 0]).long()[:, None].expand(-1, 2, -1)  # (B, 2, K)
    size = maps.size.flatten(2).gather(2, index).transpose(1, 2)
    offset = maps.offset.flatten(2).gather(2, index).transpose(1, 2)
    return torch.cat([(cells + offset) / grid, size], dim=2)


def _box_cells(target: Tensor, cell: Tensor, neighbours: bool) -> tuple[Tensor, Tensor]:
    """Cells ``[B, K, 2]`` that the box is trained at, and their weights ``[B, K]``, which sum to 1."""
    grid = target.shape[-1]
    reach = torch.arange(-1.0, 2.0, device=cell.device) if neighbours else torch.zeros(1, device=cell.device)
    steps = torch.cartesian_prod(reach, reach)  # (K, 2)
    cells = cell[:, None] + steps
    inside = ((cells >= 0) & (cells < grid)).all(2)
    cells = cells.clamp(0, grid - 1)
    index = (cells[..., 1] * grid + cells[..., 0]).long()
    weight = target.flatten(1).gather(1, index) * inside
    return cells, weight / weight.sum().clamp(min=1e-6)  # a batch may show no target at all


def tracking_loss(maps: Maps, box: Tensor, weights: LossWeights | None = None) -> Losses:
    """The loss of a batch.

    Args:
        maps: The head's output on any square grid, float32.
        box: ``[B, 4]``: true centre x, y, width, height as fractions of the search crop, the centre inside it; zeros
            where the crop does not show the target.
        weights: Weights of the three terms; the paper's if None.
    """
    weights = weights or LossWeights()
    grid = maps.score.shape[-1]
    cell = target_cells(box, grid)
    target = score_target(box, grid)
    score = maps.score[:, 0]
    cls = focal_loss(score, target)
    cells, share = _box_cells(target, cell, weights.neighbours)
    found, true = corners(boxes_at(maps, cells)), corners(box)[:, None]
    iou, giou = overlaps(found, true.expand_as(found))
    l1 = ((found - true).abs().mean(2) * share).sum()
    giou_loss = ((1 - giou) * share).sum()
    total = weights.cls * cls + weights.l1 * l1 + weights.giou * giou_loss
    with torch.no_grad():
        peak = score.flatten(1).argmax(1)
        away = torch.stack([peak % grid, peak // grid], 1) - cell
        present = is_present(box).float()
        mean = present / present.sum().clamp(min=1)
        hit = ((away.abs().amax(1) <= 1) * mean).sum()
        centre_iou = (iou[:, iou.shape[1] // 2] * mean).sum()
    return Losses(total, cls, l1, giou_loss, centre_iou, hit)
