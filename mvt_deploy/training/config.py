"""What a training run is: the defaults are the published recipe; and a preset for small budgets."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import TrainingError


@dataclass(frozen=True, slots=True)
class Windows:
    """How the two crops are cut.

    ``centre_jitter`` is the full range of the search centre in target sides ``sqrt(w * h)``; ``scale_jitter`` the
    standard deviation of the logarithm of the search window's side. A ``calm`` share of the pairs gets a third and 0.6
    of them: what most frames of a real video look like. ``frame_gap`` is the largest distance of two frames of a clip.
    """

    template_size: int = 128
    search_size: int = 256
    template_factor: float = 2.0
    search_factor: float = 4.0
    centre_jitter: float = 3.0
    scale_jitter: float = 0.25
    calm: float = 0.0
    frame_gap: int = 200


@dataclass(frozen=True, slots=True)
class Mix:
    """Weights of the kinds of pairs; those without data are left out and the others share their part.

    ``clips``: two moments of a real clip. ``paste``: an object cut out and pasted into two scenes. ``scene``: two
    warped windows of one photograph.
    """

    clips: float = 0.4
    paste: float = 0.3
    scene: float = 0.3


@dataclass(frozen=True, slots=True)
class LossWeights:
    """The paper's L = L_cls + 5 L_1 + 2 L_giou.

    With ``neighbours`` the box is also trained on the cells around the target's, weighted by the score target: the peak
    is often one cell off, and a box decoded there must be right too.
    """

    cls: float = 1.0
    l1: float = 5.0
    giou: float = 2.0
    neighbours: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the curriculum: the search side in pixels (the template has half of it) until a share of the run."""

    until: float
    search_size: int


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A run. The defaults are the published recipe: 100 epochs of 60 000 pairs, batch 128, AdamW at 4e-4, cosine.

    Attributes:
        minutes: a budget of computing time that replaces ``epochs``; the schedule then follows the clock.
        batch: pairs per optimiser step; ``accumulate`` splits it into so many passes.
        backbone_factor: of the learning rate, for the backbone, where the run starts from trained weights.
        final_lr: share of the learning rate left at the end.
        hold_out: patterns (fnmatch) of clip names that are validated on and never trained on.
        save_minutes: computing time between checkpoints; 0 saves after every step.
    """

    epochs: int = 100
    pairs_per_epoch: int = 60_000
    minutes: float | None = None
    batch: int = 128
    accumulate: int = 1
    lr: float = 4e-4
    backbone_factor: float = 0.1
    weight_decay: float = 1e-4
    final_lr: float = 0.0
    warmup_steps: int = 60
    clip_norm: float = 5.0
    ema: float = 0.998
    windows: Windows = field(default_factory=Windows)
    mix: Mix = field(default_factory=Mix)
    loss: LossWeights = field(default_factory=LossWeights)
    stages: tuple[Stage, ...] = (Stage(1.0, 256),)
    bf16: bool = True
    channels_last: bool = True
    compile: bool = False
    workers: int = 1
    cache_mb: int = 2000
    hold_out: tuple[str, ...] = ()
    save_minutes: float = 5.0
    seed: int = 1

    def __post_init__(self) -> None:
        if self.batch < 2 or self.accumulate < 1 or self.batch % self.accumulate:
            raise TrainingError(
                f"batch {self.batch} must be at least 2 and a multiple of accumulate {self.accumulate}."
            )
        if self.epochs < 1 or self.pairs_per_epoch < self.batch:
            raise TrainingError("a run needs at least one epoch of at least one batch of pairs.")
        if self.minutes is not None and not (math.isfinite(self.minutes) and self.minutes > 0):
            raise TrainingError(f"minutes is {self.minutes}: give a positive number.")
        if (
            not self.stages
            or self.stages[-1].until < 1
            or list(self.stages) != sorted(self.stages, key=lambda s: s.until)
        ):
            raise TrainingError("stages must be in order and the last one must last until 1.0.")
        if any(s.search_size % 64 or not 64 <= s.search_size <= self.windows.search_size for s in self.stages):
            raise TrainingError(
                f"a stage's search size must be a multiple of 64, from 64 to {self.windows.search_size} pixels."
            )

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run, where no budget of minutes replaces them."""
        return self.epochs * (self.pairs_per_epoch // self.batch)

    def to_json(self) -> str:
        """The configuration as indented JSON, which :func:`from_json` reads back."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def small_budget(minutes: float, **changes: Any) -> TrainConfig:
    """The preset for minutes instead of days.

    A small batch, low resolution for the first half, the whole network at one learning rate, and boxes trained on
    neighbouring cells too.
    """
    preset = TrainConfig(
        minutes=minutes,
        batch=16,
        lr=5e-4,
        backbone_factor=1.0,
        final_lr=0.02,
        windows=Windows(calm=0.4),
        loss=LossWeights(neighbours=True),
        stages=(Stage(0.5, 128), Stage(1.0, 256)),
    )
    return dataclasses.replace(preset, **changes)


_NESTED = {"windows": Windows, "mix": Mix, "loss": LossWeights}


def from_json(text: str) -> TrainConfig:
    """A configuration from JSON; what it leaves out has its default.

    Raises:
        TrainingError: no JSON object, or a name or value that a configuration does not have.
    """
    try:
        values: Mapping[str, Any] = json.loads(text)
        made = {name: _NESTED[name](**value) if name in _NESTED else value for name, value in values.items()}
        if "stages" in made:
            made["stages"] = tuple(Stage(**stage) for stage in made["stages"])
        if "hold_out" in made:
            made["hold_out"] = tuple(made["hold_out"])
        return TrainConfig(**made)
    except (ValueError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"the training configuration cannot be read ({error}): compare with a run's config.json."
        ) from error
