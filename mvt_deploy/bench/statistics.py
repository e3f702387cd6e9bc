"""Percentiles of a latency, and the ratio of two latencies that were measured in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NOISY = 0.025
"""A coefficient of variation above this earns a warning."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Statistics of one stage's times.

    Attributes:
        median_ms: Median in milliseconds, as all times here.
        p90_ms: 90th percentile.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        mean_ms: Mean.
        std_ms: Standard deviation.
        cov: Coefficient of variation: standard deviation over mean.
        fps_mean_of_inverse: mean(1 / t): frames per second as some papers state it; never less than the next.
        fps_inverse_of_mean: 1 / mean(t): frames that really pass in a second.
        iterations: Number of times measured.
    """

    median_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    std_ms: float
    cov: float
    fps_mean_of_inverse: float
    fps_inverse_of_mean: float
    iterations: int


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times faster than the baseline, with a 95 % bootstrap interval over rounds."""

    value: float
    low: float
    high: float


def latency(seconds: Sequence[float]) -> Latency:
    """Statistics of single runs.

    Args:
        seconds: Seconds of each run.

    Raises:
        ValueError: There are none.
    """
    if not len(seconds):
        raise ValueError("no run was measured")
    times = np.maximum(np.asarray(seconds, np.float64), 1e-9) * 1e3
    p50, p90, p95, p99 = (float(v) for v in np.percentile(times, (50, 90, 95, 99)))
    mean, std = float(times.mean()), float(times.std())
    return Latency(p50, p90, p95, p99, mean, std, std / mean, float((1e3 / times).mean()), 1e3 / mean, len(times))


def ratio(
    baseline: Sequence[Sequence[float]],
    candidate: Sequence[Sequence[float]],
    scale: float = 1.0,
    seed: int = 0,
    varying: bool = False,
) -> Ratio:
    """Baseline time over candidate time.

    Both were measured in the same rounds, so a busy moment of the machine meets both: the value is the median over
    rounds of the ratio of the rounds' medians, the interval a percentile bootstrap (2000 draws) of whole rounds.
    Medians would pass over the dearer frames of a candidate whose frames differ in their work: of that one, the means
    over all rounds are compared.

    Args:
        baseline: Seconds of single runs of the baseline, by round.
        candidate: Seconds of single runs of the candidate, by round.
        scale: Factor on the ratio: the number of targets in each run of the candidate.
        seed: Seed of the bootstrap's random generator.
        varying: Whether the frames of the candidate differ in their work.
    """
    rounds = min(len(baseline), len(candidate))
    pairs = list(zip(baseline[:rounds], candidate[:rounds], strict=True))
    draws: npt.NDArray[np.int64] = np.random.default_rng(seed).integers(0, rounds, (2000, rounds))
    if varying:
        spent = scale * np.array([np.mean(b) for b, _ in pairs]), np.array([np.mean(c) for _, c in pairs])
        value, drawn = spent[0].mean() / spent[1].mean(), spent[0][draws].mean(axis=1) / spent[1][draws].mean(axis=1)
    else:
        ratios = scale * np.array([np.median(b) / np.median(c) for b, c in pairs])
        value, drawn = np.median(ratios), np.median(ratios[draws], axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Ratio(float(value), float(low), float(high))
