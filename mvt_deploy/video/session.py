"""One run of ``track``: a source, its targets, a tracker, the outputs, and a summary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import MissingExtra, SinkError, UserError
from ..geometry import Box
from ..groundtruth import candidates
from ..overlap import AO_RULE, average_overlap
from ..progress import SILENT, Progress
from ..tracker import Tracker
from .encoders import require_ending
from .pipeline import Outcome, Sink, Step, run
from .sinks import EventsSink, JsonSink, ResultsSink, VideoSink, results_paths, time_path
from .sources import Source
from .targets import Targets
from .window import Viewer, require_display


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a run writes.

    Args:
        video: File of the annotated video, or None.
        results: File of the boxes, or None.
        json: Write JSON lines on standard output.
        show: Show every frame in a window.
        metrics: ``[HOST:]PORT`` where metrics are served, or None.

    Raises:
        SinkError: A file's name cannot be written to, or windows do not work here.
    """

    video: Path | None = None
    results: Path | None = None
    json: bool = False
    show: bool = False
    metrics: str | None = None

    def __post_init__(self) -> None:
        if self.video:
            require_ending(self.video)
        if self.results:
            results_paths(self.results, 1)
        if self.show:
            require_display("--show")


@dataclass(slots=True)
class Record:
    """A sink that remembers what the summary's AO needs: the first ``frames`` frames, for a camera none at all."""

    frames: int
    boxes: list[Box] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)

    def write(self, step: Step) -> None:
        """Remember the first target's box and the frame's size."""
        if len(self.boxes) >= self.frames:
            return
        self.boxes.append(step.tracks[0].box)
        self.sizes.append((step.frame.image.shape[1], step.frame.image.shape[0]))

    def close(self) -> None:
        """Nothing to finish."""

    def abort(self) -> None:
        """Nothing to remove."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of a run.

    Args:
        outcome: Counts and times.
        ao: Average overlap with the ground truth, 0..1; None without ground truth.
        files: Files that were written.
        reconnects: Number of times a live source went away and came back.
    """

    outcome: Outcome
    ao: float | None
    files: list[Path]
    reconnects: int = 0

    def lines(self) -> list[str]:
        """The summary as sentences for the user."""
        run = self.outcome
        line = f"{_count(run.frames, 'frame')}, {run.fps:.1f} fps end to end"
        lines = [f"{line}; tracker {run.track_fps:.1f} fps, network {run.network_fps:.1f} fps"]
        if run.latencies:
            median, high, highest = run.percentiles()
            lines.append(f"tracker per frame: median {median:.1f} ms, p95 {high:.1f} ms, p99 {highest:.1f} ms")
        else:
            lines = [line]
        if len(run.search_sizes) > 1:
            total = run.search_sizes.total()
            shares = (f"{side} in {100 * count / total:.0f} %" for side, count in sorted(run.search_sizes.items()))
            lines.append(f"search size: {', '.join(shares)} of the searches")
        if run.dropped:
            lines.append(f"{_count(run.dropped, 'frame')} of the live source dropped to keep up")
        if self.reconnects:
            lines.append(f"the source went away and came back {_count(self.reconnects, 'time')}")
        if run.lost:
            lines.append(f"lost in {_count(run.lost, 'frame')}")
        if self.ao is not None:
            lines.append(f"AO {self.ao:.3f} ({AO_RULE})")
        return lines + [f"wrote {path}" for path in self.files]

    def figures(self) -> dict[str, object]:
        """The summary as plain values, for logs that machines read."""
        run = self.outcome
        median, high, highest = run.percentiles()
        return {
            "frames": run.frames,
            "dropped": run.dropped,
            "reconnects": self.reconnects,
            "lost": run.lost,
            "seconds": round(run.seconds, 3),
            "fps": round(run.fps, 2),
            "track_ms": {"p50": round(median, 2), "p95": round(high, 2), "p99": round(highest, 2)},
            "search_sizes": {str(side): count for side, count in sorted(run.search_sizes.items())},
            "ao": self.ao,
            "files": [str(path) for path in self.files],
        }


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def track_source(
    source: Source,
    targets: Targets,
    tracker: Tracker,
    outputs: Outputs,
    keep_going: Callable[[Step], bool] = lambda step: True,
    progress: Progress = SILENT,
) -> Summary:
    """Track a source to its end, or until it is stopped.

    A reader of the JSON lines that goes away ends the run where nothing else was asked for; files of a recording are
    completed, to its last frame.

    Args:
        source: Where frames come from; it is closed at the end.
        targets: What to follow.
        tracker: A tracker; its targets are replaced.
        outputs: What to write.
        keep_going: Called after each frame; False ends the run.
        progress: Receives the number of frames tracked.

    Raises:
        UserError: An output cannot be written, a box lies outside the first frame, the network failed, or not one frame
            came.
    """
    record = Record(0 if targets.truth is None else len(targets.truth))
    sinks: list[Sink] = [record, EventsSink()]
    try:
        files = _files(source, outputs, len(targets.boxes))
        if outputs.metrics:
            sinks.append(_metrics(outputs.metrics, source, tracker.model.label))
        if outputs.results:
            sinks.append(ResultsSink(outputs.results, len(targets.boxes)))
        if outputs.video:
            sinks.append(VideoSink(outputs.video, source.fps))
    except UserError:
        for sink in sinks:
            sink.abort()
        source.close()
        raise
    lines = JsonSink() if outputs.json else None
    sinks += [lines] if lines else []
    others = outputs.show or outputs.metrics or (files and not source.live)
    viewer = Viewer() if outputs.show else None
    with progress.task(f"tracking {source.title}", source.count) as task:
        done = 0

        def watch(step: Step) -> bool:
            nonlocal done
            task.advance(step.frame.index + 1 - done, f"{step.fps:.1f} fps")
            done = step.frame.index + 1
            if lines and lines.reader_gone and not others:
                return False
            return keep_going(step) and (viewer.show(step) if viewer else True)

        try:
            outcome = run(source, tracker, targets.boxes, sinks, start=targets.start, keep_going=watch)
        finally:
            if viewer:
                viewer.close()
    ao = None
    if targets.truth is not None:
        sizes = np.array(record.sizes).reshape(-1, 2)
        ao = average_overlap(np.array(record.boxes).reshape(-1, 4), targets.truth, sizes)
    return Summary(outcome, ao, files, source.reconnects)


def _files(source: Source, outputs: Outputs, targets: int) -> list[Path]:
    """The files a run writes.

    Raises:
        SinkError: Two of them have one name, or one of them is what the run reads, or would read the next time.
    """
    files = [outputs.video] if outputs.video else []
    files += results_paths(outputs.results, targets) if outputs.results else []
    everything = [*files, *map(time_path, results_paths(outputs.results, targets) if outputs.results else [])]
    read = {place.resolve() for place in ([source.place, *candidates(source.place)] if source.place else [])}
    written = set()
    for path in everything:
        place = path.resolve()
        if place in read:
            raise SinkError(f"'{path}' is the place of the source or of its ground truth: write to another file.")
        if place in written:
            raise SinkError(f"'{path}' would be written twice: give every output a name of its own.")
        written.add(place)
    return files


def _metrics(address: str, source: Source, backend: str) -> Sink:
    try:
        from .metrics import MetricsSink
    except ImportError as error:
        raise MissingExtra("--metrics", "metrics", error.name or "prometheus_client") from error
    return MetricsSink(address, source, backend)
