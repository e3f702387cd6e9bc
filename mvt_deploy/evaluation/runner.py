"""One tracker over one sequence, and a whole dataset into a folder of result files that can be resumed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..backends.registry import load
from ..bundle import open_bundle
from ..errors import MissingExtra, UserError
from ..geometry import BGRImage
from ..groundtruth import Boxes
from ..tracker import Track, Tracker
from .metrics import Floats
from .results import Result, RunFolder
from .sequence import Dataset, Sequence

Tick = Callable[[int], None]
"""Told how many frames were tracked since the last call."""


class OneTarget(Protocol):
    """What is evaluated: a tracker of one target. Frames are BGR uint8 ``[H, W, 3]``."""

    def init(self, frame: BGRImage, box: Any, /) -> None:
        """Start on a frame with a box ``x, y, w, h`` in pixels."""
        ...

    def update(self, frame: BGRImage, /) -> Track | list[Track]:
        """Follow into the next frame."""
        ...


@dataclass(frozen=True)
class Model:
    """What to load, in a form that travels to worker processes and names a run; calling it gives a tracker.

    The tracker runs as published, without a policy for lost targets, as benchmarks expect a box for every frame.

    Args:
        bundle: the bundle's folder.
        backend: a name :func:`mvt_deploy.load` knows; without fusion always ``torch``.
        precision: of the graphs; None leaves it open, which is fp32 except with the provider ``auto``.
        provider: of ONNX Runtime; ``auto`` chooses among runtimes by their speed, see :meth:`settled`.
        fusion: False is the paper's ablation: tokens of template and search region attend only within themselves.
        threads: CPU threads of the network, None for the runtime's choice.
    """

    bundle: Path
    backend: str = "ort"
    precision: str | None = None
    provider: str = "cpu"
    fusion: bool = True
    threads: int | None = None

    @property
    def label(self) -> str:
        """A short name for tables and folders."""
        provider = "" if self.provider == "cpu" else self.provider
        fusion = "" if self.fusion else "no-fusion"
        parts = [self.bundle.name, self.backend, provider, self.precision or "fp32", fusion]
        return "-".join(part for part in parts if part)

    def settled(self) -> Model:
        """The same with nothing left to chance: what ``auto`` chooses here and now, so that every process runs that.

        Raises:
            UserError: the bundle cannot be opened.
        """
        if self.provider != "auto":
            return replace(self, precision=self.precision or "fp32")
        opened = load(self.bundle, self.backend, provider=self.provider, precision=self.precision, threads=self.threads)
        backend, provider, precision = opened.label.split()
        opened.close()
        return replace(self, backend=backend, provider=provider, precision=precision)

    def shared(self, jobs: int | None) -> Model:
        """The same with this machine's cores divided among ``jobs`` processes, unless threads were given.

        Args:
            jobs: processes at once; None for one core each (a cluster's scheduler counts cores).
        """
        if self.threads is not None or jobs == 1:
            return self
        return replace(self, threads=1 if jobs is None else max(1, (os.cpu_count() or 1) // max(jobs, 1)))

    def __call__(self) -> Tracker:
        """Open the bundle.

        Raises:
            UserError: the bundle, the backend or the combination is not available.
        """
        if self.fusion:
            backend = load(
                self.bundle, self.backend, provider=self.provider, precision=self.precision, threads=self.threads
            )
            return Tracker(backend, lost=None)
        if (self.backend, self.provider, self.precision or "fp32") != ("torch", "cpu", "fp32"):
            raise UserError("--no-fusion changes the network, which only the torch backend in fp32 can run: use those.")
        try:
            from ..backends.torch import TorchBackend
        except ImportError as error:
            raise MissingExtra("the torch backend", "export", error.name or "torch") from error
        checkpoint = open_bundle(self.bundle).checkpoint()
        return Tracker(TorchBackend(checkpoint, fusion=False, threads=self.threads), lost=None)


class Progress(Protocol):
    """Told what has been done, to draw bars."""

    def start(self, sequences: int, frames: int, done_sequences: int, done_frames: int) -> None:
        """The whole work, and how much of it an earlier run has done."""
        ...

    def frames(self, count: int, /) -> None:
        """So many more frames were tracked."""
        ...

    def sequence(self, name: str, /) -> None:
        """A sequence is finished and on disk."""
        ...


def track(sequence: Sequence, tracker: OneTarget, tick: Tick | None = None) -> Result:
    """Follow the target of a sequence from its first frame to its last, without resets.

    Times are of the tracker's own calls; reading the images is not in them.

    Raises:
        UserError: the tracker refuses a frame or the box; the message names the sequence.
    """
    count = len(sequence.frames)
    boxes: Boxes = np.zeros((count, 4))
    scores: Floats = np.ones(count)
    seconds: Floats = np.zeros(count)
    boxes[0] = sequence.truth[0]
    try:
        for index in range(count):
            frame = sequence.read(index)
            begin = time.perf_counter()
            if index == 0:
                tracker.init(frame, tuple(boxes[0].tolist()))
            else:
                found = one(tracker.update(frame))
            seconds[index] = time.perf_counter() - begin
            if index:
                boxes[index], scores[index] = found.box.as_tuple(), found.score
            if tick:
                tick(1)
    except UserError as error:
        raise UserError(f"sequence {sequence.name}, frame {sequence.frames[index].name}: {error}") from error
    return Result(boxes, scores, seconds)


def one(found: Track | list[Track]) -> Track:
    """The track of a tracker that follows one target."""
    return found[0] if isinstance(found, list) else found


Engine = Callable[[list[Sequence], Callable[[], OneTarget], Tick], Iterator[tuple[Sequence, Result]]]
"""Tracks sequences, in any order, and yields each when it is done."""


def in_turn(sequences: list[Sequence], make: Callable[[], OneTarget], tick: Tick) -> Iterator[tuple[Sequence, Result]]:
    """The engine that uses this process only."""
    tracker = make()
    for sequence in sequences:
        yield sequence, track(sequence, tracker, tick)


def run(
    dataset: Dataset,
    make: Callable[[], OneTarget],
    folder: RunFolder,
    engine: Engine = in_turn,
    progress: Progress | None = None,
) -> None:
    """Track every sequence of a dataset that the folder has no result of yet.

    Args:
        make: gives a tracker; called once in every process that tracks.
        engine: where the work is done: :func:`in_turn`, or one of :mod:`mvt_deploy.evaluation.parallel`.

    Raises:
        UserError: tracking failed; sequences finished before stay in the folder.
    """
    todo = [s for s in dataset.sequences if not folder.has(s)]
    tick: Tick = progress.frames if progress else lambda count: None
    if progress:
        whole, left = sum(len(s.frames) for s in dataset.sequences), sum(len(s.frames) for s in todo)
        progress.start(len(dataset.sequences), whole, len(dataset.sequences) - len(todo), whole - left)
    if not todo:
        return
    for sequence, result in engine(todo, make, tick):
        folder.write(sequence, result)
        if progress:
            progress.sequence(sequence.name)
