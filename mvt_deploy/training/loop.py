"""The training loop: optimiser steps on batches of pairs; a run that is stopped anywhere continues exactly there."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import TrainingError
from ..network import MVT, load_checkpoint
from ..network.inference import prepare
from ..process import keep_large_blocks
from ..progress import SILENT, Progress, Task
from .config import TrainConfig, from_json
from .discover import TrainingData, discover
from .distillation import Distillation, TeacherBackbone
from .ema import Ema
from .init import initialise
from .kernels import has_bf16, replace_slow_kernels
from .losses import tracking_loss
from .sampler import Batch, batches
from .schedule import Clock, done_share, learning_rate, stage_at
from .state import BEST, LATEST, RunFolder
from .validate import validate

_LOG_STEPS = 20
_PATIENCE = 20  # steps in a row without a finite gradient before a run gives up


@dataclass(frozen=True, slots=True)
class _StepReport:
    """Where a run stands after an optimiser step.

    Attributes:
        step: Optimiser steps so far.
        pairs: Pairs so far.
        done: Share of the run that is done, 0..1.
        lr: Learning rate of the step.
        search_size: Side of the search crop in the step, in pixels.
        rate: Pairs per second of computing time since the last entry of the log.
        seconds_left: Expected computing time until the end; None before it can be told.
        means: Means of the losses and of the other figures since the last entry of the log, by name.
    """

    step: int
    pairs: int
    done: float
    lr: float
    search_size: int
    rate: float
    seconds_left: float | None
    means: dict[str, float]

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f"  {_duration(self.seconds_left)} left"
        return (
            f"step {self.step}  loss {self.means['total']:.3f}  IoU {self.means['iou']:.3f}  "
            f"hit {self.means['hit']:.2f}  {self.search_size} px  {self.rate:.1f} pairs/s{left}"
        )


def train(
    data: Path,
    output: Path,
    config: TrainConfig | None = None,
    start: Path | None = None,
    device: str = "auto",
    resume: bool = False,
    stop_after: float | None = None,
    progress: Progress = SILENT,
) -> Path | None:
    """Train, or continue a run.

    A run with a number of epochs that was stopped and resumed ends with the same weights as one that was not stopped,
    on one machine and device. With a budget of minutes the same holds for data, weights and optimiser, while the
    learning rate follows the clock.

    Args:
        data: Folder of training data (see :func:`mvt_deploy.training.discover.discover`).
        output: The run's folder.
        config: The configuration; the published recipe if None. A resumed run has its own.
        start: Checkpoint to start from; random weights if None.
        device: ``cpu``, ``cuda``, ``cuda:1`` …, or ``auto``: a CUDA GPU where there is one.
        resume: Continue the run in ``output``.
        stop_after: Minutes after which the state is saved and the run stops, to be resumed later; None for no limit.
        progress: Is told the percentage of the run that is done, with the figures of the last optimiser step.

    Returns:
        The path of the averaged weights; of the best ones where tracks are held back. None where ``stop_after`` ended
        the run before its end.

    Raises:
        TrainingError: The data, the folder, the device or the configuration cannot be used, or training diverged.
        CheckpointError: ``start`` cannot be read.
    """
    run = RunFolder(output)
    if resume:
        config = from_json(run.read_config())
    config = config or TrainConfig()
    where = _device(device)
    with progress.task("reading training data"):
        found = discover(data, config.hold_out)
    trainer = Trainer(config, found, run, where, start)
    if resume:
        trainer.resume()
    else:
        run.create(config.to_json())
    with progress.task("training (%)", 100, 100 * trainer.done) as task:
        last = trainer.run_to_end(task, stop_after)
    if last is not None:
        progress.message(str(last))
    if trainer.done < 1:
        return None
    return output / (BEST if found.held_back else LATEST)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(f"the device '{name}' is unknown: give cpu, cuda or cuda:N.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingError("PyTorch finds no CUDA GPU here: install its CUDA build, or train with --device cpu.")
    return device


class Trainer:
    """A run in memory: network, optimiser and averaged weights, and how far they are."""

    def __init__(
        self, config: TrainConfig, data: TrainingData, run: RunFolder, device: torch.device, start: Path | None
    ) -> None:
        self.config, self.data, self.run, self.device = config, data, run, device
        if device.type == "cpu":
            keep_large_blocks()
        torch.manual_seed(config.seed)
        model = load_checkpoint(start) if start else initialise(MVT(), config.seed)
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.model = model.to(device, memory_format=layout).train()  # type: ignore[call-overload]
        freeze(self.model, config.frozen)
        self.ema = Ema(self.model, config.ema)
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = config.dropout
        self.bf16 = has_bf16(device) if config.bf16 is None else config.bf16
        if self.bf16 and device.type == "cpu":
            replace_slow_kernels(self.model)
        factor = config.backbone_factor if start else 1.0
        groups = parameter_groups(self.model, config, factor)
        self.distillation: Distillation | None = None
        if config.teacher.backbone:
            channels = TeacherBackbone(config.teacher.backbone)(np.zeros((64, 64, 3), np.uint8)).shape[0]
            self.distillation = Distillation(self.model, channels).to(device)
            adaptors = list(self.distillation.parameters())
            groups.append({"params": adaptors, "lr": config.lr, "base_lr": config.lr, "weight_decay": 0.0})
        self.optimiser = torch.optim.AdamW(groups, lr=config.lr)
        self.forward: nn.Module = torch.compile(self.model) if config.compile else self.model  # type: ignore[assignment]
        self.step, self.clock, self.best = 0, Clock(), -math.inf
        self._saved_at, self._validated_at, self._skipped = 0.0, 0.0, 0

    def resume(self) -> None:
        """Continue from the folder's last state."""
        state = self.run.load_state()
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.ema.model.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.distillation is not None:
            self.distillation.load_state_dict(state["distillation"])
        self.step, self.best = state["step"], state["best"]
        self.clock = Clock(state["elapsed"])
        self._saved_at = self._validated_at = self.clock.elapsed
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and state["rng_cuda"] is not None:
            torch.cuda.set_rng_state(state["rng_cuda"], self.device)
        self.run.rewind_log(self.step)

    def save(self) -> None:
        """Write the averaged weights, validate them if that is due, and write the state."""
        self.run.save_weights(self.ema.model)
        due = self.clock.elapsed - self._validated_at >= 60 * self.config.validate_minutes
        if self.data.held_back and (due or self.done >= 1):
            self._validate()
            self._validated_at = self.clock.elapsed
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        self.run.save_state(
            {
                "model": self.model.state_dict(),
                "ema": self.ema.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "distillation": self.distillation.state_dict() if self.distillation is not None else {},
                "step": self.step,
                "elapsed": self.clock.elapsed,
                "best": self.best,
                "rng": torch.get_rng_state(),
                "rng_cuda": cuda,
            }
        )
        self._saved_at = self.clock.elapsed

    def _validate(self) -> None:
        held = validate(self.ema.model, self.data.held_back)
        figures = {"windows": held.windows, "chained": held.chained}
        auroc = None if math.isnan(held.auroc) else round(held.auroc, 4)
        self.run.log({"step": self.step, "held_back": figures, "auroc": auroc})
        figure = (held.mean_windows + held.mean_chained) / 2
        if figure > self.best:
            self.best = figure
            self.run.save_weights(self.ema.model, BEST)

    @property
    def done(self) -> float:
        """Share of the run that is done."""
        return done_share(self.config, self.step, self.clock.elapsed)

    def run_to_end(self, task: Task, stop_after: float | None = None) -> _StepReport | None:
        """Step until the schedule ends; save every few minutes and at the end.

        Args:
            task: Is told the percentage done by every optimiser step.
            stop_after: Minutes after which the state is saved and the run stops before its end.

        Returns:
            Where the run stood after the last step; None where there was nothing left to do.
        """
        report: _StepReport | None = None
        stop_at = math.inf if stop_after is None else time.monotonic() + 60 * stop_after
        pairs = self.step * self.config.batch
        stream = batches(self.data, self.config, pairs, pin=self.device.type == "cuda")
        sums: dict[str, float] = {}
        since, began = 0, self.clock.elapsed
        first_done, first_elapsed = self.done, self.clock.elapsed
        while self.done < 1 and time.monotonic() < stop_at:
            before, done = time.monotonic(), self.done
            lr, size, figures = self._one_step(stream)
            self.clock.add(time.monotonic() - before)
            since += 1
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value
            rate = since * self.config.batch / max(self.clock.elapsed - began, 1e-9)
            advanced, spent = self.done - first_done, self.clock.elapsed - first_elapsed
            left = spent / advanced * (1 - self.done) if advanced > 0 else None
            means = {name: value / since for name, value in sums.items()}
            report = _StepReport(self.step, self.step * self.config.batch, self.done, lr, size, rate, left, means)
            task.advance(100 * (self.done - done), str(report))
            if self.step % _LOG_STEPS == 0 or self.done >= 1:
                self.run.log(_entry(report, self.clock.elapsed))
                sums, since, began = {}, 0, self.clock.elapsed
            if self.clock.elapsed - self._saved_at >= 60 * self.config.save_minutes:
                self.save()
        self.save()
        return report

    def _one_step(self, stream: Iterator[Batch]) -> tuple[float, int, dict[str, float]]:
        """One optimiser step over ``accumulate`` passes.

        Returns:
            The learning rate, the side of the search crop, and the step's figures by name.
        """
        done = self.done
        size = stage_at(self.config.stages, done).search_size
        factor = learning_rate(self.config, self.step, done)
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_lr"] * factor
        self.optimiser.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for _ in range(self.config.accumulate):
            total, parts = self._pass(next(stream), size)
            (total / self.config.accumulate).backward()
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value.detach() / self.config.accumulate
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self._skipped = 0 if torch.isfinite(norm) else self._skipped + 1
        if self._skipped == 0:
            self.optimiser.step()
        elif self._skipped >= _PATIENCE:
            raise TrainingError(
                f"the loss is not finite for {_PATIENCE} steps: start again with a lower learning rate (--lr)."
            )
        self.ema.update(self.model, self.step)
        self.step += 1
        # One copy from the device for all figures: each would wait for it
        figures = dict(zip(sums, torch.stack(list(sums.values())).tolist(), strict=True))
        return self.config.lr * factor, size, figures

    def _pass(self, batch: Batch, size: int) -> tuple[Tensor, dict[str, Tensor]]:
        """One forward pass: the loss to minimise, and the figures to report by name."""
        windows = self.config.windows
        images = [
            self._image(batch.template, windows.template_size * size // windows.search_size),
            self._image(batch.search, size),
        ]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            maps = self.forward(*images)
        losses = tracking_loss(maps, batch.box.to(self.device, non_blocking=True), self.config.loss)
        total, parts = losses.total, losses._asdict()
        if self.distillation is not None:
            features = [maps.to(self.device, non_blocking=True) for maps in batch.features]
            parts["distillation"] = self.distillation.loss(features)
            total = total + self.config.teacher.weight * parts["distillation"]
        return total, parts

    def _image(self, crops: Tensor, size: int) -> Tensor:
        """The network's input ``[b, 3, size, size]``, float RGB, from uint8 BGR crops ``[b, side, side, 3]``."""
        image = prepare(crops.to(self.device, non_blocking=True))
        if image.shape[-1] != size:
            image = F.interpolate(image, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
        return image.contiguous(memory_format=torch.channels_last) if self.config.channels_last else image.contiguous()


def freeze(model: MVT, names: Sequence[str]) -> None:
    """Keep modules as they are while the rest of a network is trained.

    Args:
        model: The network, in training mode.
        names: Names of the modules, as in ``model.named_modules()``.

    Raises:
        TrainingError: The network has no module of this name.
    """
    for name in names:
        try:
            module = model.get_submodule(name)
        except AttributeError as error:
            raise TrainingError(
                f"frozen names a module '{name}' that the network does not have: give names like backbone.layer_1."
            ) from error
        module.eval().requires_grad_(False)


def parameter_groups(model: MVT, config: TrainConfig, backbone_factor: float) -> list[dict[str, Any]]:
    """AdamW's parameter groups: backbone and rest, each with weight decay on matrices and kernels only.

    Frozen parameters are in none of them.

    Args:
        model: The network.
        config: The run's configuration.
        backbone_factor: Factor on the learning rate of the backbone.
    """
    groups = []
    for backbone in (True, False):
        lr = config.lr * (backbone_factor if backbone else 1.0)
        named = [
            p for name, p in model.named_parameters() if name.startswith("backbone.") == backbone and p.requires_grad
        ]
        for decayed in (True, False):
            chosen = [p for p in named if (p.ndim > 1) == decayed]
            decay = config.weight_decay if decayed else 0.0
            groups.append({"params": chosen, "lr": lr, "base_lr": lr, "weight_decay": decay})
    return groups


def _entry(report: _StepReport, elapsed: float) -> dict[str, Any]:
    """An entry of the log.

    Args:
        report: Where the run stands.
        elapsed: Computing time so far, in seconds.
    """
    return {
        "step": report.step,
        "pairs": report.pairs,
        "done": round(report.done, 5),
        "seconds": round(elapsed, 1),
        "lr": report.lr,
        "search_size": report.search_size,
        "pairs_per_second": round(report.rate, 2),
        **{name: round(value, 5) for name, value in report.means.items()},
    }


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
