"""How far a run is, by optimiser steps or by computing time; its learning rate; the stage of the curriculum."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .config import Stage, TrainConfig

_STALL = 5.0  # a step this many times slower than usual was a pause (a stopped process, a suspended machine)


class Clock:
    """Measures computing time: the sum of the durations of the steps, where a pause counts as a few usual steps.

    Attributes:
        elapsed: Computing time so far, in seconds.
    """

    def __init__(self, elapsed: float = 0.0) -> None:
        self.elapsed = elapsed
        self._usual: float | None = None

    def add(self, seconds: float) -> None:
        """Count one step that took ``seconds``."""
        if self._usual is None:  # the first step also warms up, and there is nothing to compare it with
            self._usual = seconds
        counted = min(seconds, max(_STALL * self._usual, 2.0))
        self._usual += 0.1 * (counted - self._usual)
        self.elapsed += counted


def done_share(config: TrainConfig, step: int, elapsed: float) -> float:
    """Share of the run that is done, 0..1: of its minutes where it has a budget, otherwise of its steps.

    Args:
        config: The run's configuration.
        step: Optimiser steps so far.
        elapsed: Computing time so far, in seconds.
    """
    done = elapsed / (60 * config.minutes) if config.minutes is not None else step / config.total_steps
    return min(1.0, done)


def learning_rate(config: TrainConfig, step: int, done: float) -> float:
    """Factor on the peak learning rate, 0..1: linear warm-up, then cosine annealing to ``final_lr``.

    Args:
        config: The run's configuration.
        step: Optimiser steps so far.
        done: Share of the run that is done, 0..1.
    """
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return (config.final_lr + (1 - config.final_lr) * cosine) * min(1.0, (step + 1) / max(1, config.warmup_steps))


def stage_at(stages: Sequence[Stage], done: float) -> Stage:
    """The stage of the curriculum at a share of the run, 0..1."""
    return next((stage for stage in stages if done < stage.until), stages[-1])
