"""One tracker over one sequence, and a whole dataset into a folder of result files that can be resumed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..backends.base import Backend
from ..backends.registry import load
from ..bundle import SearchSize, open_bundle
from ..errors import MissingExtra, UserError
from ..geometry import BGRImage
from ..groundtruth import Boxes
from ..progress import SILENT, Progress, Task
from ..tracker import Track, Tracker
from .metrics import Floats
from .results import ResultsFolder, SequenceResult
from .sequence import Dataset, Sequence

Advance = Callable[[int], None]
"""Called with the number of frames tracked since the last call."""


class SingleTargetTracker(Protocol):
    """What is evaluated: a tracker of one target. Frames are BGR uint8 ``[H, W, 3]``."""

    def init(self, frame: BGRImage, box: Any, /) -> None:
        """Start on a frame with a box ``x, y, w, h`` in pixels."""
        ...

    def update(self, frame: BGRImage, /) -> Track | list[Track]:
        """Follow the target into the next frame."""
        ...


Make = Callable[[], SingleTargetTracker]
"""Makes a tracker; it is called once in every process that tracks, and pickled on its way there."""


@dataclass(frozen=True)
class TrackerFactory:
    """Makes trackers from a bundle, in a form that travels to worker processes and names a run.

    The trackers run as published, without a policy for lost targets, as benchmarks expect a box for every frame.

    Args:
        bundle: Folder of the bundle.
        backend: A name that :func:`mvt_deploy.load` knows; always ``torch`` without fusion.
        precision: Precision of the graphs; None is fp32, except with the provider ``auto``, which then chooses.
        provider: Execution provider of ONNX Runtime; ``auto`` chooses among runtimes by their speed, see
            :meth:`resolve_auto`.
        fusion: False runs the paper's ablation: tokens of template and search region attend only within themselves.
        threads: CPU threads of the network; None is the runtime's choice.
        search_size: Side of the search crops in pixels, one of those the bundle holds; ``"auto"`` lets the tracker
            choose it for every frame; None is the bundle's default.
    """

    bundle: Path
    backend: str = "ort"
    precision: str | None = None
    provider: str = "cpu"
    fusion: bool = True
    threads: int | None = None
    search_size: SearchSize = None

    @property
    def label(self) -> str:
        """A short name for tables and folders."""
        provider = "" if self.provider == "cpu" else self.provider
        fusion = "" if self.fusion else "no-fusion"
        side = "" if self.search_size is None else f"search-{self.search_size}"
        parts = [self.bundle.name, self.backend, provider, self.precision or "fp32", side, fusion]
        return "-".join(part for part in parts if part)

    def describe(self) -> dict[str, Any]:
        """Return what identifies a run with this tracker: its label, checkpoint and settings.

        Raises:
            BundleError: There is no bundle.
        """
        side = {} if self.search_size is None else {"search_size": self.search_size}
        return {
            "label": self.label,
            "checkpoint": open_bundle(self.bundle).manifest.checkpoint.sha256,
            "backend": self.backend,
            "precision": self.precision or "fp32",
            "provider": self.provider,
            "fusion": self.fusion,
            **side,
        }

    def resolve_auto(self) -> TrackerFactory:
        """Return a factory with backend, provider and precision fixed, so that every process runs the same.

        Raises:
            UserError: The bundle cannot be opened.
        """
        if self.provider != "auto":
            return replace(self, precision=self.precision or "fp32")
        opened = self._load()
        backend, provider, precision = opened.name, opened.provider, opened.precision
        opened.close()
        return replace(self, backend=backend, provider=provider, precision=precision)

    def split_threads(self, jobs: int | None) -> TrackerFactory:
        """Return a factory that divides this machine's cores among processes, unless a number of threads was given.

        Args:
            jobs: Number of processes at once; None for one core each (a cluster's scheduler counts cores).
        """
        if self.threads is not None or jobs == 1:
            return self
        return replace(self, threads=1 if jobs is None else max(1, (os.cpu_count() or 1) // max(jobs, 1)))

    def _load(self) -> Backend:
        return load(
            self.bundle,
            self.backend,
            provider=self.provider,
            precision=self.precision,
            threads=self.threads,
            search_size=self.search_size,
        )

    def __call__(self) -> Tracker:
        """Open the bundle and make a tracker.

        Raises:
            UserError: The bundle, the backend or the combination is not available.
        """
        if self.fusion:
            return Tracker(self._load(), lost=None)
        if (self.backend, self.provider, self.precision or "fp32", self.search_size) != ("torch", "cpu", "fp32", None):
            raise UserError(
                "--no-fusion changes the network, which only the torch backend in fp32 can run, at the default search "
                "size: use those."
            )
        try:
            from ..backends.torch import TorchBackend
        except ImportError as error:
            raise MissingExtra("the torch backend", "export", error.name or "torch") from error
        checkpoint = open_bundle(self.bundle).checkpoint()
        return Tracker(TorchBackend(checkpoint, fusion=False, threads=self.threads), lost=None)


def track_sequence(
    sequence: Sequence, tracker: SingleTargetTracker, advance: Advance = lambda frames: None
) -> SequenceResult:
    """Follow the target of a sequence from its first frame to its last, without resets.

    Times are those of the tracker's own calls; reading the images is not in them.

    Args:
        sequence: What to track.
        tracker: The tracker; it is initialised with the sequence's first box.
        advance: Called after every frame.

    Raises:
        UserError: The tracker refuses a frame or the box; the message names the sequence.
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
                found = single(tracker.update(frame))
            seconds[index] = time.perf_counter() - begin
            if index:
                boxes[index], scores[index] = tuple(found.box), found.score
            advance(1)
    except UserError as error:
        raise UserError(f"sequence {sequence.name}, frame {sequence.frames[index].name}: {error}") from error
    return SequenceResult(boxes, scores, seconds)


def single(found: Track | list[Track]) -> Track:
    """Return the only track of a tracker that follows one target."""
    return found[0] if isinstance(found, list) else found


Executor = Callable[[list[Sequence], Make, Advance], Iterator[tuple[Sequence, SequenceResult]]]
"""Tracks sequences, in any order, and yields each with its result when it is done."""


def serial(sequences: list[Sequence], make: Make, advance: Advance) -> Iterator[tuple[Sequence, SequenceResult]]:
    """The executor that tracks one sequence after the other in this process; the tracker is made at once."""
    tracker = make()
    return ((sequence, track_sequence(sequence, tracker, advance)) for sequence in sequences)


def run_dataset(
    dataset: Dataset,
    make: Make,
    folder: ResultsFolder,
    executor: Executor = serial,
    progress: Progress = SILENT,
) -> None:
    """Track every sequence of a dataset that the folder has no result of yet.

    Args:
        dataset: What to track.
        make: Makes a tracker; called once in every process that tracks.
        folder: Where results go.
        executor: Where the work is done: :func:`serial`, or one of :mod:`mvt_deploy.evaluation.executors`.
        progress: Receives the number of sequences and frames done.

    Raises:
        UserError: Tracking failed; the results of sequences finished before stay in the folder.
        OSError: A result cannot be written.
    """
    todo = [s for s in dataset.sequences if not folder.has(s)]
    if not todo:
        return
    frames, left = sum(len(s.frames) for s in dataset.sequences), sum(len(s.frames) for s in todo)
    done = len(dataset.sequences) - len(todo)
    counted: list[Task] = []
    results = executor(todo, make, lambda count: counted[0].advance(count))  # refuses before the bars begin
    with (
        progress.task("sequences", len(dataset.sequences), done) as sequences_done,
        progress.task("frames", frames, frames - left) as frames_done,
    ):
        counted.append(frames_done)
        for sequence, result in results:
            folder.write(sequence, result)
            sequences_done.advance(1, note=sequence.name)
