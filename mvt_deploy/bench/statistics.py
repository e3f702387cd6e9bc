"""Percentiles of a latency, and the ratio of two that were measured in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NOISY = 0.025
"""A coefficient of variation above this earns a warning."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one stage, in milliseconds; ``cov`` is standard deviation over mean."""

    median_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    std_ms: float
    cov: float
    fps_mean_of_inverse: float
    """mean(1 / t): frames a second as some papers give it; never less than the next."""
    fps_inverse_of_mean: float
    """1 / mean(t): frames that really pass in a second."""
    iterations: int


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times faster than the baseline, with a 95 % bootstrap interval over rounds."""

    value: float
    low: float
    high: float


def latency(seconds: Sequence[float]) -> Latency:
    """Statistics of single runs, in seconds.

    Raises:
        ValueError: there are none.
    """
    if not len(seconds):
        raise ValueError("no run was measured")
    times = np.maximum(np.asarray(seconds, np.float64), 1e-9) * 1e3
    p50, p90, p95, p99 = (float(v) for v in np.percentile(times, (50, 90, 95, 99)))
    mean, std = float(times.mean()), float(times.std())
    return Latency(p50, p90, p95, p99, mean, std, std / mean, float((1e3 / times).mean()), 1e3 / mean, len(times))


def ratio(
    baseline: Sequence[Sequence[float]], candidate: Sequence[Sequence[float]], scale: float = 1.0, seed: int = 0
) -> Ratio:
    """Baseline time over candidate time.

    Both were measured in the same rounds, so a busy moment of the machine meets both: the value is the median over
    rounds of the ratio of the rounds' medians, the interval a percentile bootstrap (2000 draws) of whole rounds.

    Args:
        baseline: seconds of single runs, by round.
        candidate: likewise, as many rounds.
        scale: factor on the ratio (targets per run of the candidate).
        seed: of the bootstrap.
    """
    rounds = min(len(baseline), len(candidate))
    pairs = zip(baseline[:rounds], candidate[:rounds], strict=True)
    ratios = scale * np.array([np.median(b) / np.median(c) for b, c in pairs])
    draws: npt.NDArray[np.int64] = np.random.default_rng(seed).integers(0, rounds, (2000, rounds))
    low, high = np.percentile(np.median(ratios[draws], axis=1), (2.5, 97.5))
    return Ratio(float(np.median(ratios)), float(low), float(high))
