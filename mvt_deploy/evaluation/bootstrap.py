"""Comparison of two runs: every figure with an interval of its difference, by a paired bootstrap over sequences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from .metrics import LOWER_IS_BETTER, METRICS, Floats, SequenceScore, ratio, totals

RESAMPLES = 10_000
LEVEL = 0.95
RESOLUTION = 1e-4
"""Differences below this are taken as zero: result files have three decimals of a pixel."""
FEWEST_FOR_A_VERDICT = 10
"""Number of sequences below which a percentile interval is too narrow to decide anything (its coverage at four
sequences is far below its nominal level), so that no verdict is given."""


@dataclass(frozen=True)
class Difference:
    """One figure of two runs on the same sequences.

    Args:
        metric: A key of :data:`mvt_deploy.evaluation.metrics.METRICS`.
        first: Figure of the run that is reported on.
        second: Figure of the run it is compared with.
        low: Lower end of the interval of ``first - second``.
        high: Upper end of the interval of ``first - second``.
        sequences: Number of sequences of each run.
    """

    metric: str
    first: float
    second: float
    low: float
    high: float
    sequences: int

    @property
    def difference(self) -> float:
        """``first - second``."""
        return self.first - self.second

    @property
    def verdict(self) -> str | None:
        """What the interval says of the first run: ``better``, ``worse`` or ``no difference shown``.

        ``better`` and ``worse`` need an interval that leaves out zero by more than :data:`RESOLUTION`. None where the
        runs have fewer than :data:`FEWEST_FOR_A_VERDICT` sequences.
        """
        if self.sequences < FEWEST_FOR_A_VERDICT:
            return None
        if not (self.low > RESOLUTION or self.high < -RESOLUTION):
            return "no difference shown"
        return "better" if (self.low > 0) != (self.metric in LOWER_IS_BETTER) else "worse"


def compare_runs(
    first: list[SequenceScore],
    second: list[SequenceScore],
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> list[Difference]:
    """Compute the difference of every figure of two runs, with a percentile interval.

    Sequences are drawn with replacement, the same ones for both runs, because frames of one sequence are far from
    independent (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993). A figure that neither run has is left
    out.

    Args:
        first: Scores of one run, one per sequence.
        second: Scores of the other run on the same sequences, in any order.
        resamples: How many times sequences are drawn.
        level: Level of the interval, in 0..1.
        seed: Seed of the random numbers: the same call gives the same intervals.

    Raises:
        UserError: The runs have different sequences, or none.
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
            found.append(Difference(key, *figures, float(low), float(high), len(first)))
    return found


def _resampled(scores: list[SequenceScore], key: str, drawn: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> Floats:
    """A figure of every resample ``[resamples, sequences]``; NaN where no frame counts."""
    parts = np.array([s.parts.get(key, (0.0, 0.0)) for s in scores])
    numerator, denominator = parts[drawn, 0].sum(axis=1), parts[drawn, 1].sum(axis=1)
    found = np.full(len(drawn), np.nan)
    np.divide(numerator, denominator, out=found, where=denominator > 0)
    return found
