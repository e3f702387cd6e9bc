"""The configuration of a training run: the published recipe by default, and a preset for small budgets of time."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

from ..bundle import parse
from ..errors import TrainingError

SENSIBLE_MINUTES = 75.0
"""Smallest budget of computing time, in minutes of two CPU cores, that is known to give weights that track from random
weights: the project's first ones (mean AO 0.605 on nine clips, models/MODEL_CARD.md)."""


@dataclass(frozen=True, slots=True)
class Windows:
    """How the template crop and the search crop are cut.

    Attributes:
        template_size: Side of the template crop, in pixels.
        search_size: Side of the search crop, in pixels.
        template_factor: Side of the template window, in target sides ``sqrt(w * h)``.
        search_factor: Mean side of the search window, in target sides.
        centre_jitter: Full range of the random shift of the search window's centre, in target sides.
        scale_jitter: Standard deviation of the logarithm of the random factor on the search window's side.
        calm: Share of the pairs, 0..1, that use one third of ``centre_jitter`` and 0.6 of ``scale_jitter``. Most frames
            of a real video look like these.
        frame_gap: Largest distance of the two frames of a pair from a track, in frames of the video.
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
    """Which kinds of pairs are drawn, and how often.

    The weights of ``clips``, ``paste`` and ``scene`` are relative; a kind without data is left out.

    Attributes:
        clips: Weight of pairs of two frames of one track.
        paste: Weight of pairs of an object that was cut out of a photograph and pasted into two scenes.
        scene: Weight of pairs of two warped windows of one photograph.
        balance: 0 draws every track equally often, 1 every data set; in between, a data set of n tracks is drawn in
            proportion to ``n ** (1 - balance)``. The data set is a track's name up to the first underscore.
        absent: Share of the pairs, 0..1, whose search crop comes from another pair and does not show the target. Their
            score map is trained towards zero everywhere.
    """

    clips: float = 0.4
    paste: float = 0.3
    scene: float = 0.3
    balance: float = 0.0
    absent: float = 0.0


@dataclass(frozen=True, slots=True)
class Augment:
    """Changes of appearance that make pairs of few videos more various, beside the lighting that every pair gets.

    Attributes:
        recolour: Share of the pairs, 0..1, whose two crops get the same random change of colours: the hue turned, the
            saturation changed, sometimes inverted. The target keeps looking like its template.
        others: Share of the pairs from tracks, 0..1, into whose search crop one to three other objects are pasted
            beside the target: cut out of photographs, or targets of other tracks, mostly of the same data set.
        occlude: Share of the pairs from tracks, 0..1, part of whose target is covered by a piece of a photograph.
    """

    recolour: float = 0.0
    others: float = 0.0
    occlude: float = 0.0


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights of the paper's loss, L = L_cls + 5 L_1 + 2 L_giou.

    Attributes:
        cls: Weight of the focal loss on the score map.
        l1: Weight of the L1 loss on the box.
        giou: Weight of the generalised IoU loss on the box.
        neighbours: Also train the box at the eight cells around the target's cell, weighted by the score target. The
            peak is often one cell off, and the box that is decoded there must be right too.
    """

    cls: float = 1.0
    l1: float = 5.0
    giou: float = 2.0
    neighbours: bool = False


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained backbone whose feature maps the network's own are trained to predict, beside the tracking loss.

    Attributes:
        backbone: Path of an ONNX file; empty for no teacher. Its input is one BGR image, float ``[1, 3, H, W]`` in
            0..255; its output is a feature map of stride 16. NanoTrack's backbones have this form.
        weight: Weight of the distillation loss in the total.
    """

    backbone: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the curriculum.

    Attributes:
        until: Share of the run, 0..1, at which the stage ends.
        search_size: Side of the search crop in pixels; the template crop has half of it.
    """

    until: float
    search_size: int


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A training run. The defaults are the published recipe.

    That is 100 epochs of 60 000 pairs, batch 128, AdamW at 4e-4 with a tenth of it for the backbone, cosine annealing.

    Attributes:
        epochs: Number of epochs, unless ``minutes`` is given.
        pairs_per_epoch: Pairs of template and search crop per epoch.
        minutes: Budget of computing time in minutes, which replaces ``epochs``; the learning rate follows the clock.
        batch: Pairs per optimiser step.
        accumulate: Number of forward and backward passes that a batch is split into, to save memory.
        lr: Peak learning rate.
        backbone_factor: Factor on the learning rate of the backbone where the run starts from trained weights.
        weight_decay: AdamW's weight decay, on matrices and kernels only.
        final_lr: Share of the peak learning rate that is left at the end of the run.
        warmup_steps: Optimiser steps over which the learning rate rises from zero.
        clip_norm: Largest norm of the gradient.
        ema: Decay per step of the moving average of the weights.
        windows: How crops are cut.
        mix: Which kinds of pairs are drawn.
        augment: Further changes of appearance.
        loss: Weights of the loss.
        teacher: A backbone to distil features from.
        frozen: Names of modules whose parameters and batch norm statistics stay as they are, ``backbone.conv_1`` for
            example. Freezing the first layers of a trained network makes a step faster: they have the largest maps.
        dropout: Dropout probability in the transformer layers; the published value is 0.1.
        stages: Resolution by share of the run.
        bf16: Autocast to bfloat16; None does so where the device has bfloat16 arithmetic.
        channels_last: Keep feature maps in channels-last memory format.
        compile: Compile the network with ``torch.compile``.
        workers: Processes that make pairs; 0 makes them in the process that trains.
        cache_mb: Memory for decoded images, in megabytes per worker.
        hold_out: Patterns (fnmatch) of the names of tracks that are validated on and never trained on.
        save_minutes: Computing time between two saved states, in minutes; 0 saves after every step.
        validate_minutes: Least computing time between two validations, in minutes. A state is validated when it is
            saved, so 0 validates every saved state; the last state is always validated.
        seed: Seed of the weights and of the pairs.
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
    augment: Augment = field(default_factory=Augment)
    loss: LossWeights = field(default_factory=LossWeights)
    teacher: Teacher = field(default_factory=Teacher)
    frozen: tuple[str, ...] = ()
    dropout: float = 0.1
    stages: tuple[Stage, ...] = (Stage(1.0, 256),)
    bf16: bool | None = None
    channels_last: bool = True
    compile: bool = False
    workers: int = 1
    cache_mb: int = 2000
    hold_out: tuple[str, ...] = ()
    save_minutes: float = 5.0
    validate_minutes: float = 0.0
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
        if not 0 <= self.dropout < 1:
            raise TrainingError(f"dropout is {self.dropout}: give a probability from 0 to below 1.")
        if not (0 <= self.mix.absent < 1 and 0 <= self.mix.balance <= 1):
            raise TrainingError("mix.absent must be from 0 to below 1, and mix.balance from 0 to 1.")
        if not all(0 <= share <= 1 for share in dataclasses.astuple(self.augment)):
            raise TrainingError("augment.recolour, augment.others and augment.occlude must be from 0 to 1.")
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
    """The preset for a budget of minutes or hours instead of days.

    It uses a small batch, low resolution for the first half of the run, one learning rate for the whole network, no
    dropout, and trains the box on neighbouring cells too.

    Args:
        minutes: Budget of computing time, in minutes.
        **changes: Attributes of :class:`TrainConfig` that differ from the preset.
    """
    preset = TrainConfig(
        minutes=minutes,
        batch=16,
        lr=5e-4,
        backbone_factor=1.0,
        final_lr=0.02,
        dropout=0.0,
        windows=Windows(calm=0.4),
        loss=LossWeights(neighbours=True),
        stages=(Stage(0.5, 128), Stage(1.0, 256)),
    )
    return dataclasses.replace(preset, **changes)


def budget_warning(config: TrainConfig, from_weights: bool) -> str | None:
    """What to tell a user whose budget is too small for weights that track, or None.

    Args:
        config: The run's configuration.
        from_weights: Whether the run starts from trained weights.
    """
    if config.minutes is None or config.minutes >= SENSIBLE_MINUTES or from_weights:
        return None
    return (
        f"{config.minutes:g} minutes of training from random weights give a checkpoint that hardly tracks: give at "
        f"least {SENSIBLE_MINUTES:g} minutes on two CPU cores, or start from trained weights with --start."
    )


def from_json(text: str) -> TrainConfig:
    """Read a configuration; attributes that the JSON leaves out have their defaults.

    Raises:
        TrainingError: The text is not a JSON object, or has a name or value that a configuration does not have.
    """
    try:
        values = json.loads(text)
        _refuse_unknown(TrainConfig, values, "")
        config: TrainConfig = parse(TrainConfig, values, "config")
        return config
    except (ValueError, RecursionError) as error:
        raise TrainingError(
            f"the training configuration cannot be read ({error}): compare with a run's config.json."
        ) from error


def _refuse_unknown(kind: type, values: object, where: str) -> None:
    """Raise ValueError for a name that a configuration does not have: a misspelt one would be without effect."""
    if isinstance(values, dict):
        known = {field.name: field.default_factory for field in dataclasses.fields(kind)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"there is no '{where}{name}'")
            nested = known[name]
            if dataclasses.is_dataclass(nested) and isinstance(nested, type):
                _refuse_unknown(nested, value, f"{where}{name}.")
