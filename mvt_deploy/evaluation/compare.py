"""Comparison of runs: paired bootstrap over sequences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from .metrics import LOWER_IS_BETTER, METRICS, Score, ratio, totals

RESAMPLES = 10_000
LEVEL = 0.95
RESOLUTION = 1e-4


@dataclass(frozen=True)
class Difference:
    """A figure of two runs on the same sequences.

    Args:
        metric: a key of :data:`mvt_deploy.evaluation.metrics.METRICS`.
        first: the figure of the run reported on.
        second: the figure of the run it is compared with.
        low: lower end of the interval of ``first - second``.
        high: its upper end.
    """

    metric: str
    first: float
    second: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """``first - second``."""
        return self.first - self.second

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` (the first run) if the interval leaves out zero, else ``no difference shown``.

        Zero is what rounds to it: result files have three decimals of a pixel, so smaller differences mean nothing.
        """
        if not (self.low > RESOLUTION or self.high < -RESOLUTION):
            return "no difference shown"
        return "better" if (self.low > 0) != (self.metric in LOWER_IS_BETTER) else "worse"


def compare(
    first: list[Score], second: list[Score], resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> list[Difference]:
    """Every figure of two runs with a percentile interval of its difference.

    Sequences are drawn with replacement, the same ones for both runs, because frames of one sequence are far from
    independent. A figure that neither run has is left out.

    Args:
        first: scores of one run, one a sequence.
        second: scores of the other on the same sequences, in any order.
        resamples: how many times sequences are drawn.
        level: of the interval, in 0..1.
        seed: of the random numbers: the same call gives the same intervals.

    Raises:
        UserError: the runs have different sequences.
    """
    others = {s.name: s for s in second}
    if {s.name for s in first} != set(others) or not first:
        raise UserError("runs can be compared only if both have the same sequences: evaluate both on the same dataset.")
    paired = [others[s.name] for s in first]
    drawn = np.random.default_rng(seed).integers(len(first), size=(resamples, len(first)))
    found = []
    for key in METRICS:
        figures = ratio(*totals(first, key)), ratio(*totals(paired, key))
        if not np.isnan(figures).all():
            spread = _resampled(first, key, drawn) - _resampled(paired, key, drawn)
            low, high = np.nanquantile(spread, [(1 - level) / 2, (1 + level) / 2])
            found.append(Difference(key, *figures, float(low), float(high)))
    return found


def _resampled(
    scores: list[Score], key: str, drawn: np.ndarray[tuple[int, int], np.dtype[np.int64]]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A figure of every resample ``[resamples, sequences]``; NaN where no frame counts."""
    parts = np.array([s.parts.get(key, (0.0, 0.0)) for s in scores])
    numerator, denominator = parts[drawn, 0].sum(axis=1), parts[drawn, 1].sum(axis=1)
    found = np.full(len(drawn), np.nan)
    np.divide(numerator, denominator, out=found, where=denominator > 0)
    return found
