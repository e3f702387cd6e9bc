"""Decoding against a loop over the score map, cell by cell."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from mvt_deploy.network.inference import GRID, decode, hann_window, prepare
from mvt_deploy.network.model import Maps


def test_the_window_by_hand() -> None:
    window = hann_window()
    assert window.shape == (16, 16)
    assert window.dtype == torch.float32
    for row, column in ((0, 0), (3, 11), (7, 8), (15, 15)):
        wanted = math.sin(math.pi * (row + 1) / 17) ** 2 * math.sin(math.pi * (column + 1) / 17) ** 2
        assert float(window[row, column]) == pytest.approx(wanted, rel=1e-6)
    assert float(hann_window(3)[1, 1]) == pytest.approx(1)


def test_pictures_are_rgb_planes_from_zero_to_one() -> None:
    crops = torch.zeros(2, 4, 6, 3, dtype=torch.uint8)
    crops[1, 2, 5] = torch.tensor([255, 51, 0])  # blue, green, red
    image = prepare(crops)
    assert image.shape == (2, 3, 4, 6)
    assert image.dtype == torch.float32
    assert image[1, :, 2, 5].tolist() == pytest.approx([0, 0.2, 1])
    assert float(image.sum()) == pytest.approx(1.2)


@settings(max_examples=60)
@given(st.integers(1, 3), st.integers(0, 2**32 - 1), st.booleans())
def test_the_box_is_read_at_the_peak_of_the_windowed_score(n: int, seed: int, half: bool) -> None:
    random = torch.Generator().manual_seed(seed)
    kind = torch.float16 if half else torch.float32
    maps = Maps(*(torch.rand(n, c, GRID, GRID, generator=random).to(kind) for c in (1, 2, 2)))
    found = decode(maps, hann_window())
    window = hann_window().numpy()
    assert found.box.dtype == found.score.dtype == found.score_map.dtype == torch.float32
    assert np.array_equal(found.score_map.numpy(), maps.score[:, 0].float().numpy())
    for i in range(n):
        score, size, offset = (np.asarray(m[i].float()) for m in maps)
        cells = [(score[0, r, c] * window[r, c], -r, -c) for r in range(GRID) for c in range(GRID)]
        _, row, column = (abs(v) for v in max(cells))
        dx, dy = offset[:, row, column]
        wanted = [(column + dx) / GRID, (row + dy) / GRID, *size[:, row, column]]
        assert np.allclose(found.box[i].numpy(), wanted, atol=1e-6)
        assert float(found.score[i]) == score[0, row, column]


def test_the_window_decides_between_equal_scores() -> None:
    score = torch.zeros(1, 1, GRID, GRID)
    score[0, 0, 0, 0], score[0, 0, 8, 5] = 1.0, 0.9
    found = decode(Maps(score, torch.full((1, 2, GRID, GRID), 0.25), torch.zeros(1, 2, GRID, GRID)), hann_window())
    assert found.box[0].tolist() == pytest.approx([5 / 16, 8 / 16, 0.25, 0.25])
    assert float(found.score[0]) == pytest.approx(0.9)
