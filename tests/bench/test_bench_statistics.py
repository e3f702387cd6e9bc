"""The bootstrap interval of a ratio."""

from __future__ import annotations

import numpy as np
import pytest

from mvt_deploy.bench.statistics import ratio


def test_the_interval_holds_the_value_and_narrows_with_rounds() -> None:
    random = np.random.default_rng(2)

    def rounds(mean: float, count: int) -> list[list[float]]:
        return [list(mean * np.exp(random.normal(0, 0.1, 5))) for _ in range(count)]

    few, many = (ratio(rounds(0.02, n), rounds(0.01, n)) for n in (8, 400))
    for found in (few, many):
        assert found.low < found.value < found.high
    assert many.low < 2 < many.high
    assert many.high - many.low < 0.4 * (few.high - few.low)


def test_a_batch_counts_its_targets_and_a_run_repeats() -> None:
    baseline, batch = [[0.02, 0.03, 0.02]] * 6, [[0.04, 0.04, 0.05]] * 6
    assert ratio(baseline, batch, scale=4).value == pytest.approx(2)
    assert ratio(baseline, batch, seed=3) == ratio(baseline, batch, seed=3)
