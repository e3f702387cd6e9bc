"""The field's metrics in plain numpy, each as its benchmark's own toolkit computes it.

Every figure of a run is a sum of numerators over a sum of denominators, one pair per sequence: pooled figures (AO, SR,
failure rate) weigh frames, per-sequence figures (success AUC, precision) have denominator 1. That makes attribute
subsets and bootstrap resamples one line each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..geometry import iou
from ..groundtruth import Boxes
from ..overlap import got10k_overlaps
from .sequence import Sequence

Floats = npt.NDArray[np.float64]

SUCCESS_THRESHOLDS = np.linspace(0, 1, 21)
"""IoU thresholds of the success plot (OTB, LaSOT, TrackingNet)."""
PRECISION_THRESHOLDS = np.arange(51, dtype=np.float64)
"""Centre errors in pixels of the precision plot; papers quote its value at 20."""
NORMALISED_THRESHOLDS = np.arange(51) / 100
"""Centre errors divided by the true box's width and height; LaSOT papers quote the value at 0.2."""
_AREA_PIXELS = np.linspace(0, 50, 21)  # TrackingNet's development kit
_AREA_NORMALISED = np.linspace(0, 0.5, 21)
PERCENTILES = (50, 90, 95, 99)
"""Percentiles of the latency that reports give."""

METRICS: dict[str, str] = {
    "ao": "AO",
    "ao_by_sequence": "AO (mean of sequences)",
    "sr_50": "SR0.5",
    "sr_75": "SR0.75",
    "success_auc": "success AUC",
    "precision_20": "precision (20 px)",
    "precision_area_50": "precision (area to 50 px)",
    "normalised_precision_at_0.2": "norm. precision (at 0.2)",
    "normalised_precision_area_0.5": "norm. precision (area to 0.5)",
    "failure_rate": "failure rate",
    "fps_mean": "fps (mean of frames)",
    "fps_total": "fps (frames / time)",
}
"""Keys of the figures and their names in tables, in the order of the tables."""

LOWER_IS_BETTER = frozenset({"failure_rate"})


@dataclass(frozen=True)
class OpeRule:
    """How a benchmark counts frames in its one-pass evaluation (OPE); the first frame always counts, as the true box.

    Args:
        absent: Frames without a target either ``drop`` out, or stay in the denominator and ``miss`` every threshold.
        undefined_hits: Frames whose true ``x, y, w, h`` are not all above zero miss every overlap threshold and meet
            every precision threshold, as in the Matlab toolkits (which set their centre error to -1).
        rounded: Boxes are rounded to whole pixels first.
        trapezoid: Areas under curves follow the trapezoidal rule instead of the mean over the thresholds.
    """

    absent: str = "drop"
    undefined_hits: bool = False
    rounded: bool = False
    trapezoid: bool = False


RULES: Mapping[str, OpeRule] = {
    "otb": OpeRule(absent="miss"),
    "nfs": OpeRule(absent="miss"),
    "lasot": OpeRule(absent="miss", undefined_hits=True),
    "uav123": OpeRule(undefined_hits=True),
    "trackingnet": OpeRule(absent="miss", rounded=True, trapezoid=True),
}
"""Rules by dataset format; the other formats have the plain one: frames without a target drop out."""


@dataclass(frozen=True, eq=False)
class FrameErrors:
    """Errors of the frames of one sequence that count.

    Args:
        overlap: IoU, float64 ``[m]``; a value below 0 misses every threshold.
        centre: Distance of the centres in pixels, float64 ``[m]``; an infinite value misses every threshold, a value
            below 0 meets all.
        normalised: The same with each axis divided by the true box's side, float64 ``[m]``.
        length: Denominator of the shares, in frames.
    """

    overlap: Floats
    centre: Floats
    normalised: Floats
    length: int


@dataclass(frozen=True, eq=False)
class SequenceScore:
    """What one sequence adds to the figures of a run.

    Args:
        name: Name of the sequence.
        frames: Number of scored frames (target present, first frame not counted).
        parts: Numerator and denominator by metric key.
        curves: Shares in 0..1: ``success [21]``, ``precision [51]``, ``normalised [51]``.
        overlaps: IoU of every frame, float64 ``[n]``; NaN where the target is absent.
        attributes: Attributes of the sequence.
        seconds: Time of each frame in the tracker, float64 ``[n]``; zeros do not count.
    """

    name: str
    frames: int
    parts: Mapping[str, tuple[float, float]]
    curves: Mapping[str, Floats]
    overlaps: Floats
    attributes: tuple[str, ...] = field(default=())
    seconds: Floats = field(default_factory=lambda: np.zeros(0))


def centre_errors(found: Boxes, truth: Boxes, normalised: bool = False) -> Floats:
    """Compute the distance of the centres of boxes.

    Args:
        found: The tracker's boxes, float64 ``[n, 4]``.
        truth: The true boxes, float64 ``[n, 4]``.
        normalised: Divide each axis by the true box's side (TrackingNet, ECCV 2018) instead of giving pixels.

    Returns:
        float64 ``[n]``.
    """
    offset = _centres(found) - _centres(truth)
    if normalised:
        with np.errstate(divide="ignore", invalid="ignore"):
            offset = offset / truth[:, 2:]
    return np.asarray(np.linalg.norm(offset, axis=1), np.float64)


def _centres(boxes: Boxes) -> Floats:
    return boxes[:, :2] + (boxes[:, 2:] - 1) / 2  # the toolkits' pixel centres: the same rounding at thresholds


def ope_errors(found: Boxes, truth: Boxes, rule: OpeRule) -> FrameErrors:
    """Compute the errors of one sequence in one-pass evaluation (OPE; Wu, Lim and Yang, TPAMI 2015).

    Args:
        found: The tracker's boxes, float64 ``[n, 4]``.
        truth: The true boxes, float64 ``[n, 4]``, NaN where the target is absent.
        rule: The benchmark's rule.
    """
    if rule.rounded:
        found, truth = np.round(found), np.round(truth)
    found = np.vstack([truth[:1], found[1:]])
    absent = np.isnan(truth).any(axis=1)
    undefined = np.any(~(truth > 0), axis=1) if rule.undefined_hits else np.zeros(len(truth), bool)
    known = ~(absent | undefined)
    overlap, centre, normalised = np.full(len(truth), -1.0), np.full(len(truth), np.inf), np.full(len(truth), np.inf)
    overlap[known] = iou(found[known], truth[known])
    centre[known] = centre_errors(found[known], truth[known])
    normalised[known] = centre_errors(found[known], truth[known], normalised=True)
    hits = undefined & ~(absent & (rule.absent == "miss"))
    centre[hits] = normalised[hits] = -1.0
    counted = known | hits if rule.absent == "drop" else np.ones(len(truth), bool)
    return FrameErrors(overlap[counted], centre[counted], normalised[counted], int(counted.sum()))


def success_curve(errors: FrameErrors) -> Floats:
    """Compute the share of frames whose IoU is above each of :data:`SUCCESS_THRESHOLDS`, float64 ``[21]``."""
    return _shares(errors.overlap[:, None] > SUCCESS_THRESHOLDS, errors.length)


def precision_curve(errors: FrameErrors, thresholds: Floats = PRECISION_THRESHOLDS) -> Floats:
    """Compute the share of frames whose centre error in pixels is at most each threshold, float64 ``[t]``."""
    return _shares(errors.centre[:, None] <= thresholds, errors.length)


def normalised_curve(errors: FrameErrors, thresholds: Floats = NORMALISED_THRESHOLDS) -> Floats:
    """Compute the share of frames whose normalised centre error is at most each threshold, float64 ``[t]``."""
    return _shares(errors.normalised[:, None] <= thresholds, errors.length)


def _shares(hits: npt.NDArray[np.bool_], length: int) -> Floats:
    return np.asarray(hits.sum(axis=0) / max(length, 1), np.float64)


def area(curve: Floats, trapezoid: bool) -> float:
    """Compute the area under a curve over equally spaced thresholds, in 0..1.

    Args:
        curve: Shares in 0..1, float64 ``[t]``.
        trapezoid: Use the trapezoidal rule (TrackingNet's server) instead of the mean (the OTB and LaSOT toolkits).
    """
    return float(np.mean((curve[1:] + curve[:-1]) / 2)) if trapezoid else float(curve.mean())


def score(sequence: Sequence, found: Boxes, seconds: Floats, rule: OpeRule) -> SequenceScore:
    """Compute all figures of one sequence.

    Failure rate is the share of frames whose IoU with the ground truth is exactly zero, over frames with a target and
    without the first. MVT's paper plots a failure rate without defining it; this definition is ours.

    Args:
        sequence: A sequence with ground truth for every frame.
        found: The tracker's boxes, float64 ``[n, 4]``.
        seconds: Time of each frame in the tracker (initialisation first), float64 ``[n]``; zeros do not count.
        rule: The benchmark's rule.
    """
    truth = sequence.truth
    present: npt.NDArray[np.bool_] = np.asarray(~np.isnan(truth).any(axis=1))
    overlaps = np.full(len(truth), np.nan)
    overlaps[present] = iou(found[present], truth[present])
    inside = got10k_overlaps(found, truth, sequence.frame_size())
    later: Floats = overlaps[1:][present[1:]]
    errors = ope_errors(found, truth, rule)
    curves = {
        "success": success_curve(errors),
        "precision": precision_curve(errors),
        "normalised": normalised_curve(errors),
    }
    counts = float(len(inside))
    per_sequence = {
        "success_auc": area(curves["success"], rule.trapezoid),
        "precision_20": float(curves["precision"][20]),
        "precision_area_50": area(precision_curve(errors, _AREA_PIXELS), trapezoid=True),
        "normalised_precision_at_0.2": float(curves["normalised"][20]),
        "normalised_precision_area_0.5": area(normalised_curve(errors, _AREA_NORMALISED), trapezoid=True),
    }
    parts: dict[str, tuple[float, float]] = {
        "ao": (float(inside.sum()), counts),
        "ao_by_sequence": (ratio(float(inside.sum()), counts), 1.0) if counts else (0.0, 0.0),
        "sr_50": (float((inside > 0.5).sum()), counts),
        "sr_75": (float((inside > 0.75).sum()), counts),
        **{key: (value, 1.0 if errors.length else 0.0) for key, value in per_sequence.items()},
        "failure_rate": (float(len(later) - np.count_nonzero(later)), float(len(later))),
        **speed(seconds),
    }
    return SequenceScore(sequence.name, len(inside), parts, curves, overlaps, sequence.attributes, seconds)


def speed(seconds: Floats) -> dict[str, tuple[float, float]]:
    """Compute the speed both ways: the mean of each frame's 1 / time, as the toolkits report it, and frames over time.

    Args:
        seconds: Time of each frame in the tracker, without reading the image, float64 ``[n]``; zeros do not count.

    Returns:
        Numerator and denominator of ``fps_mean`` and ``fps_total``.
    """
    timed = seconds[seconds > 0]
    count = float(len(timed))
    return {"fps_mean": (float((1 / timed).sum()), count), "fps_total": (count, float(timed.sum()))}


def latency(scores: list[SequenceScore]) -> dict[str, float]:
    """Compute percentiles of the time of an update over all frames but the first of each sequence.

    Returns:
        Milliseconds by ``p50``, ``p90``, ``p95`` and ``p99``; NaN where no frame was timed.
    """
    seconds = np.concatenate([s.seconds[1:] for s in scores]) if scores else np.zeros(0)
    timed = seconds[seconds > 0]
    values = np.percentile(timed, PERCENTILES) * 1e3 if len(timed) else np.full(len(PERCENTILES), np.nan)
    return {f"p{p}": float(v) for p, v in zip(PERCENTILES, values, strict=True)}


def unscored(sequence: Sequence, seconds: Floats) -> SequenceScore:
    """Make the score of a sequence whose ground truth is not public: speed only."""
    absent = np.full(len(sequence.frames), np.nan)
    return SequenceScore(sequence.name, 0, speed(seconds), {}, absent, sequence.attributes, seconds)


def figures(scores: list[SequenceScore]) -> dict[str, float]:
    """Compute the figures of several sequences by metric key; NaN where no frame counts."""
    return {key: ratio(*totals(scores, key)) for key in METRICS}


def totals(scores: list[SequenceScore], key: str) -> tuple[float, float]:
    """Sum the numerators and the denominators of a figure over several sequences."""
    parts = [s.parts.get(key, (0.0, 0.0)) for s in scores]
    return sum(p[0] for p in parts), sum(p[1] for p in parts)


def ratio(numerator: float, denominator: float) -> float:
    """Divide; NaN where the denominator is zero."""
    return numerator / denominator if denominator else float("nan")


def curve(scores: list[SequenceScore], name: str) -> Floats:
    """Compute a plot's curve: the mean over sequences.

    Args:
        scores: Scores of the sequences.
        name: A key of :attr:`SequenceScore.curves`.
    """
    return np.asarray(np.mean([s.curves[name] for s in scores], axis=0), np.float64)


def by_attribute(scores: list[SequenceScore]) -> dict[str, list[SequenceScore]]:
    """Group scores by attribute, in alphabetical order; a sequence is in the group of each of its attributes."""
    names = sorted({name for s in scores for name in s.attributes})
    return {name: [s for s in scores if name in s.attributes] for name in names}
