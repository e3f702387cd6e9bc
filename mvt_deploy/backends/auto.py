"""The fastest runtime that gives the right answer on this machine, found by trying."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ..crops import CropPairs, photograph_pairs
from ..errors import NonFiniteError, UserError
from .base import Backend, Features

ROUNDS = 12
TOLERANCE = 0.02
"""Largest difference of a box (fraction of the crop) or a score from the CPU provider's fp32 answer."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backend to try.

    Attributes:
        label: Its name in reports where it cannot be opened.
        open: Opens it.
        gated: Whether its trajectories passed the bundle's gate. Only the median of its answers must then agree here: a
            near tie of the score map may go the other way, while a processor whose int8 sums saturate moves them all.
    """

    label: str
    open: Callable[[], Backend]
    gated: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """What was found of one candidate.

    Attributes:
        label: Its name in reports.
        milliseconds: Median time of a search; infinite where it was refused.
        difference: Difference from the reference as it was judged.
        refused: Why it was refused; empty where it was not.
    """

    label: str
    milliseconds: float
    difference: float
    refused: str = ""


def fastest(reference: Callable[[], Backend], candidates: Iterable[Candidate]) -> tuple[Backend, list[Trial]]:
    """Open the candidates, compare their answers with the reference's, and time them round by round.

    Args:
        reference: Opens the backend whose answers count as right; it is a candidate too.
        candidates: The others; one that cannot be opened here is passed over.

    Returns:
        The fastest backend whose answers agree (the others are closed), and what was found of all, fastest first.
    """
    opened = [(reference(), False)]
    pairs = photograph_pairs(8, search_size=opened[0][0].spec.search_size)
    trials: list[Trial] = []
    for candidate in candidates:
        backend = _try(candidate, trials)
        if backend:
            opened.append((backend, candidate.gated))
    wanted = _answers(opened[0][0], pairs)
    running: list[tuple[Backend, float]] = []
    for backend, gated in opened:
        try:
            each = np.abs(_answers(backend, pairs) - wanted).max(axis=1)
            difference = float(np.median(each) if gated else each.max())
        except NonFiniteError:
            difference = float("inf")
        if difference <= TOLERANCE:
            running.append((backend, difference))
        else:
            trials.append(Trial(backend.label, float("inf"), difference, f"differs by {difference:.2g}"))
            backend.close()
    for (backend, difference), seconds in zip(running, _times([b for b, _ in running], pairs), strict=True):
        trials.append(Trial(backend.label, statistics.median(seconds) * 1e3, difference))
    trials.sort(key=lambda trial: trial.milliseconds)
    best = next(b for b, _ in running if b.label == trials[0].label)
    for backend, _ in running:
        if backend is not best:
            backend.close()
    return best, trials


def _try(candidate: Candidate, trials: list[Trial]) -> Backend | None:
    try:
        return candidate.open()
    except UserError as error:
        trials.append(Trial(candidate.label, float("inf"), float("nan"), str(error)))
        return None


def _answers(backend: Backend, pairs: CropPairs) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    found = backend.search(pairs.search, backend.template(pairs.template))
    return np.concatenate([found.box, found.score[:, None]], axis=1)


def _times(backends: list[Backend], pairs: CropPairs) -> list[list[float]]:
    """Seconds of single searches, the backends taking turns so that a busy moment meets them all."""
    one = pairs.search[:1]
    features: list[Features] = [b.template(pairs.template[:1]) for b in backends]
    seconds: list[list[float]] = [[] for _ in backends]
    for round_ in range(ROUNDS + 3):
        for backend, own, taken in zip(backends, features, seconds, strict=True):
            began = time.perf_counter()
            backend.search(one, own)
            if round_ >= 3:
                taken.append(time.perf_counter() - began)
    return seconds
