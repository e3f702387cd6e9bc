"""Measuring every candidate frame by frame and stage by stage; the candidates take turns."""

from __future__ import annotations

import statistics as plain
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ..backends.registry import load
from ..bundle import Bundle
from ..errors import BackendError
from ..geometry import BGRImage, Box
from ..progress import SILENT, Progress
from ..tracker import Tracker
from .candidates import Candidate
from .clip import BenchClip
from .published import Published
from .startup import candidate_start, published_start

STAGES = ("crop", "network", "decode", "total")
RUN = 10  # frames that a row measures in one turn
_PAUSE = 0.004  # seconds between turns: threads of the last runtime stop spinning
_SETTLE = 0.1  # seconds of a turn not counted: caches are cold, threads just woken may share a core for a while
_WARM_SECONDS = 2.0  # longest warm-up of a row


class Stages(Protocol):
    """A tracker cut into its stages."""

    def cut(self, frame: BGRImage) -> Any:
        """Crops of a frame."""
        ...

    def locate(self, crops: Any) -> Any:
        """The network."""
        ...

    def place(self, found: Any, width: int, height: int) -> Any:
        """Boxes of the frame."""
        ...


@dataclass(slots=True)
class Row:
    """One row of the report: what is measured, and the measurements.

    Attributes:
        name: Name of the row.
        candidate: What runs.
        stages: The tracker, cut into its stages.
        rounds: Seconds by round, frame and stage.
        template_seconds: Seconds that starting on the targets took, in several tries.
        model_bytes: Size of the files that run, in bytes; 0 where it is not known.
        sides: How many targets were searched at each side of the search crop; empty where that is not known.
        start_up: Measures what a fresh process needs, see :mod:`.startup`.
        at: Index of the next frame.
    """

    name: str
    candidate: Candidate
    stages: Stages
    rounds: list[list[dict[str, float]]] = field(default_factory=list)
    template_seconds: list[float] = field(default_factory=list)
    model_bytes: int = 0
    sides: Counter[int] = field(default_factory=Counter)
    start_up: Callable[[], dict[str, float]] = dict
    at: int = 0

    def seconds(self, stage: str) -> list[float]:
        """Seconds that each frame spent in a stage."""
        return [frame[stage] for round_ in self.rounds for frame in round_]

    def by_round(self, stage: str) -> list[list[float]]:
        """Seconds that each frame spent in a stage, by round."""
        return [[frame[stage] for frame in round_] for round_ in self.rounds]


class PeerStages:
    """One of OpenCV's own trackers; its whole update counts as the network."""

    def __init__(self, tracker: Any, frame: BGRImage, box: Box) -> None:
        self._tracker = tracker
        tracker.init(frame, tuple(round(v) for v in box.as_tuple()))

    def cut(self, frame: BGRImage) -> BGRImage:
        """The frame itself."""
        return frame

    def locate(self, frame: BGRImage) -> Any:
        """OpenCV's update."""
        return self._tracker.update(frame)

    def place(self, found: Any, width: int, height: int) -> Any:
        """What it returned."""
        return found


def our_row(candidate: Candidate, bundle: Bundle, clip: BenchClip) -> Row:
    """A candidate of ours, started on the clip; the cost of the template is measured on the way.

    Raises:
        UserError: The candidate cannot run here.
    """
    tracker = Tracker(load(bundle.folder, candidate.backend, **candidate.options), lost=None)
    row = Row(candidate.name, candidate, tracker)
    boxes = [Box(clip.box.x + 2 * i, clip.box.y, clip.box.w, clip.box.h) for i in range(candidate.batch)]
    for _ in range(12):
        began = time.perf_counter()
        tracker.init(clip.frame(0), boxes)
        row.template_seconds.append(time.perf_counter() - began)
    row.template_seconds = row.template_seconds[2:]
    row.model_bytes = tracker.model.model_bytes
    row.start_up = partial(candidate_start, candidate, bundle)
    return row


def published_row(graph: Path, clip: BenchClip, threads: int | None = None) -> Row:
    """The baseline, started on the clip, with the runtime's own number of threads unless one is given."""
    stages = Published(graph, threads)
    stages.init(clip.frame(0), clip.box)
    row = Row("published", Candidate(), stages)
    row.model_bytes = graph.stat().st_size
    row.start_up = partial(published_start, graph)
    return row


def peer_row(name: str, make: Callable[[], Any], clip: BenchClip) -> Row:
    """An OpenCV tracker, started on the clip.

    Raises:
        BackendError: The tracker refuses to start.
    """
    try:
        stages = PeerStages(make(), clip.frame(0), clip.box)
    except Exception as error:
        raise BackendError(f"OpenCV's tracker '{name}' cannot start: {error}") from error
    return Row(f"opencv {name}", Candidate("opencv", "cpu", "fp32"), stages)


def measure(
    rows: Sequence[Row],
    clip: BenchClip,
    seconds: float = 3.0,
    iterations: int = 100,
    progress: Progress = SILENT,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Warm every row up until it is stable, then measure in turns until each has its time and its iterations.

    Args:
        rows: What is measured; their ``rounds`` are filled.
        clip: The frames.
        seconds: Minimum measuring time per row, in seconds.
        iterations: Minimum number of frames per row.
        progress: Told the share that is done, in percent.
        clock: Reads the seconds that count. ``time.process_time`` suits rows of one thread on a busy machine.
    """
    with progress.task("warming up", len(rows)) as warmed:
        for row in rows:
            _warm_up(row, clip)
            row.sides.clear()
            warmed.advance()
    spent, share = [0.0] * len(rows), 0.0
    with progress.task("measuring, %", 100) as task:
        while share < 1:
            for i, row in enumerate(rows):
                _settle(row, clip)
                round_ = [_frame(row, clip, clock) for _ in range(RUN)]
                row.rounds.append(round_)
                spent[i] += sum(frame["total"] for frame in round_)
            before = share
            share = min(
                1.0, *(min(s / seconds, len(r.rounds) * RUN / iterations) for s, r in zip(spent, rows, strict=True))
            )
            task.advance(100 * (share - before))


def _settle(row: Row, clip: BenchClip) -> None:
    """Run the first frames after another row's turn, which are not counted."""
    time.sleep(_PAUSE)
    began = time.perf_counter()
    _frame(row, clip)
    while time.perf_counter() - began < _SETTLE:
        _frame(row, clip)


def _warm_up(row: Row, clip: BenchClip) -> None:
    """Run frames until two successive medians differ by less than three percent, or the time is up."""
    began, before = time.perf_counter(), 0.0
    while time.perf_counter() - began < _WARM_SECONDS:
        now = plain.median(_frame(row, clip)["total"] for _ in range(10))
        if before and abs(now - before) < 0.03 * before:
            return
        before = now


def _frame(row: Row, clip: BenchClip, clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    frame = clip.frame(row.at)
    row.at += 1
    height, width = frame.shape[:2]
    t0 = clock()
    crops = row.stages.cut(frame)
    t1 = clock()
    found = row.stages.locate(crops)
    t2 = clock()
    row.stages.place(found, width, height)
    t3 = clock()
    if isinstance(row.stages, Tracker):
        row.sides.update(row.stages.search_sizes)
    return {"crop": t1 - t0, "network": t2 - t1, "decode": t3 - t2, "total": t3 - t0}
