"""Every term of the loss against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mvt_deploy.network import Maps
from mvt_deploy.training.config import LossWeights
from mvt_deploy.training.losses import focal_loss, gaussian_radius, overlaps, score_target, tracking_loss

E2 = math.exp(-2)


def test_gaussian_radius_of_a_square_of_four_cells() -> None:
    # Smallest case: b = -2 * 0.7 * 8 = -11.2, (b + sqrt(b^2 + 16 * 0.7 * 0.3 * 16)) / 2 = (-11.2 + sqrt(179.2)) / 2.
    radius = gaussian_radius(torch.tensor(4.0), torch.tensor(4.0))
    assert float(radius) == pytest.approx((-11.2 + math.sqrt(179.2)) / 2, abs=1e-5)


def test_score_target_is_a_gaussian_of_radius_one() -> None:
    box = torch.tensor([[0.53, 0.28, 0.25, 0.25]])  # centre in column 8, row 4; four cells a side: radius 1, sigma 0.5
    target = score_target(box, 16)[0]
    patch = torch.tensor([[E2**2, E2, E2**2], [E2, 1.0, E2], [E2**2, E2, E2**2]])
    torch.testing.assert_close(target[3:6, 7:10], patch)
    assert float(target.sum()) == pytest.approx(float(patch.sum()))


def test_focal_loss_of_three_cells() -> None:
    score = torch.tensor([[[0.5, 0.25, 0.5]]])
    target = torch.tensor([[[1.0, 0.0, 0.5]]])
    # (1 - 1/2)^2 ln 2  +  (1/4)^2 ln(4/3)  +  (1 - 1/2)^4 (1/2)^2 ln 2, over one positive cell
    expected = 0.25 * math.log(2) + math.log(4 / 3) / 16 + math.log(2) / 64
    assert float(focal_loss(score, target)) == pytest.approx(expected, rel=1e-5)


def test_focal_loss_is_divided_by_the_positive_cells() -> None:
    score, target = torch.full((2, 1, 1), 0.5), torch.ones(2, 1, 1)
    assert float(focal_loss(score, target)) == pytest.approx(0.25 * math.log(2))


def test_overlaps_of_shifted_and_separate_squares() -> None:
    first = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0]])
    second = torch.tensor([[1.0, 1.0, 3.0, 3.0], [2.0, 0.0, 3.0, 1.0]])
    iou, giou = overlaps(first, second)
    # shifted: 1 / 7, hull 9; separate: 0, hull 3, union 2
    torch.testing.assert_close(iou, torch.tensor([1 / 7, 0.0]))
    torch.testing.assert_close(giou, torch.tensor([1 / 7 - 2 / 9, -1 / 3]))


def maps_of(size: tuple[float, float], offset: tuple[float, float], score: float = 0.5) -> Maps:
    fill = [torch.tensor(v).view(1, 2, 1, 1).expand(1, 2, 16, 16) for v in (size, offset)]
    return Maps(torch.full((1, 1, 16, 16), score), *fill)


def test_box_terms_at_the_target_cell() -> None:
    # True box: centre (8.5, 4.5) cells, 4 x 4 cells. Found there: the same centre, 2 x 4 cells: half of the true box.
    box = torch.tensor([[8.5 / 16, 4.5 / 16, 0.25, 0.25]])
    losses = tracking_loss(maps_of((0.125, 0.25), (0.5, 0.5)), box)
    assert float(losses.l1) == pytest.approx(2 * (1 / 16) / 4)  # x1 and x2 are one cell off, y1 and y2 right
    assert float(losses.giou) == pytest.approx(0.5)  # IoU 1/2, and the hull is the union
    assert float(losses.iou) == pytest.approx(0.5)
    expected = float(losses.cls) + 5 * float(losses.l1) + 2 * float(losses.giou)
    assert float(losses.total) == pytest.approx(expected)


def test_neighbouring_cells_share_the_box_by_the_score_target() -> None:
    # Everywhere offset 0.5: right at the target cell, one cell off at its four neighbours, both ways at the corners.
    box = torch.tensor([[8.5 / 16, 4.5 / 16, 0.25, 0.25]])
    losses = tracking_loss(maps_of((0.25, 0.25), (0.5, 0.5)), box, LossWeights(neighbours=True))
    side, corner = E2, E2**2
    total = 1 + 4 * side + 4 * corner
    off = 1 / 16
    assert float(losses.l1) == pytest.approx((4 * side * off / 2 + 4 * corner * off) / total, rel=1e-5)
    assert float(losses.iou) == pytest.approx(1.0)


def test_perfect_maps_have_no_loss_and_hit() -> None:
    box = torch.tensor([[8.5 / 16, 4.5 / 16, 0.25, 0.25]])
    maps = maps_of((0.25, 0.25), (0.5, 0.5), 1e-4)
    maps.score[0, 0, 4, 8] = 1 - 1e-4
    losses = tracking_loss(maps, box)
    assert float(losses.total) < 1e-4
    assert float(losses.hit) == 1


def test_a_pair_without_its_target_trains_the_score_only() -> None:
    present = torch.tensor([[8.5 / 16, 4.5 / 16, 0.25, 0.25]])
    both = torch.cat([present, torch.zeros(1, 4)])
    one = maps_of((0.125, 0.25), (0.5, 0.5), score=0.25)
    two = Maps(*(maps.expand(2, -1, -1, -1) for maps in one))
    alone, together = tracking_loss(one, present), tracking_loss(two, both)
    # every one of the 256 cells of the second score map is a negative: (1/4)^2 ln(4/3) each, over one positive cell
    assert float(together.cls - alone.cls) == pytest.approx(256 * math.log(4 / 3) / 16, rel=1e-5)
    for name in ("l1", "giou", "iou", "hit"):
        assert float(getattr(together, name)) == pytest.approx(float(getattr(alone, name)), abs=1e-6)


def test_a_batch_without_any_target_has_a_finite_loss() -> None:
    maps = maps_of((0.125, 0.25), (0.5, 0.5))
    for tensor in maps:
        tensor.requires_grad_()
    losses = tracking_loss(maps, torch.zeros(1, 4), LossWeights(neighbours=True))
    losses.total.backward()
    assert float(losses.l1.detach()) == float(losses.giou.detach()) == 0
    assert all(torch.isfinite(tensor.grad).all() for tensor in maps if tensor.grad is not None)


def test_hit_counts_peaks_within_one_cell() -> None:
    box = torch.tensor([[8.5 / 16, 4.5 / 16, 0.25, 0.25]] * 2)
    score = torch.full((2, 1, 16, 16), 0.1)
    score[0, 0, 5, 9] = 0.9
    score[1, 0, 4, 10] = 0.9
    maps = maps_of((0.25, 0.25), (0.5, 0.5))
    both = Maps(score, maps.size.expand(2, -1, -1, -1), maps.offset.expand(2, -1, -1, -1))
    assert float(tracking_loss(both, box).hit) == 0.5
