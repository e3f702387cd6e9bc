"""Where a run stands: progress by steps or by computing time, the learning rate and the curriculum's stage."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .config import Stage, TrainConfig

_STALL = 5.0  # a step this many times slower than usual was a pause (a stopped process, a suspended machine)


class Clock:
    """Computing time in seconds: the sum of the steps' durations, where a pause counts as one usual step."""

    def __init__(self, elapsed: float = 0.0) -> None:
        self.elapsed = elapsed
        self._usual: float | None = None

    def add(self, seconds: float) -> None:
        """Count one step."""
        if self._usual is None:  # the first step also warms up; nothing to compare it with
            self._usual = seconds
        counted = min(seconds, max(_STALL * self._usual, 2.0))
        self._usual += 0.1 * (counted - self._usual)
        self.elapsed += counted


def progress(config: TrainConfig, step: int, elapsed: float) -> float:
    """Share of the run that is done, 0..1: of its minutes where it has a budget, else of its steps."""
    done = elapsed / (60 * config.minutes) if config.minutes is not None else step / config.total_steps
    return min(1.0, done)


def learning_rate(config: TrainConfig, step: int, done: float) -> float:
    """Factor of the learning rate, 0..1: linear warm-up, then cosine annealing to ``final_lr``."""
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return (config.final_lr + (1 - config.final_lr) * cosine) * min(1.0, (step + 1) / max(1, config.warmup_steps))


def stage_at(stages: Sequence[Stage], done: float) -> Stage:
    """The curriculum's stage after a share of the run."""
    return next((stage for stage in stages if done < stage.until), stages[-1])
