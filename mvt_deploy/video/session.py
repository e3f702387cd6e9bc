"""One run of ``track``: a source, its targets, a tracker, the outputs, progress on stderr, and a summary."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..errors import MissingExtra, SinkError, UserError
from ..geometry import Box
from ..groundtruth import candidates
from ..overlap import AO_RULE, average_overlap
from ..tracker import Tracker
from .pipeline import Outcome, Sink, Step, run
from .sinks import EventsSink, JsonSink, ResultsSink, VideoSink, results_paths, time_path
from .sources import Source
from .targets import Targets
from .window import Viewer, require_display


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where to: ``video`` and ``results`` files or None; ``json`` lines on stdout; ``show`` in a window; ``metrics`` at
    ``[HOST:]PORT`` or None; ``progress`` on stderr where somebody watches."""

    video: Path | None = None
    results: Path | None = None
    json: bool = False
    show: bool = False
    metrics: str | None = None
    progress: bool = True


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
    """What came of a run. ``ao`` is None without ground truth; ``files`` were written."""

    outcome: Outcome
    ao: float | None
    files: list[Path]
    reconnects: int = 0

    def lines(self) -> list[str]:
        """The summary as sentences for the user."""
        run = self.outcome
        lines = [
            f"{run.frames} frames, {run.fps:.1f} fps end to end; tracker {run.track_fps:.1f} fps, "
            f"network {run.network_fps:.1f} fps"
        ]
        if run.dropped:
            lines.append(f"{run.dropped} frames of the live source were dropped to keep up")
        if self.reconnects:
            lines.append(f"the source went away and came back {self.reconnects} times")
        if run.lost:
            lines.append(f"lost in {run.lost} frames")
        if self.ao is not None:
            lines.append(f"AO {self.ao:.3f} ({AO_RULE})")
        return lines + [f"wrote {path}" for path in self.files]

    def figures(self) -> dict[str, object]:
        """The summary as plain values, for logs that machines read."""
        run = self.outcome
        return {
            "frames": run.frames,
            "dropped": run.dropped,
            "reconnects": self.reconnects,
            "lost": run.lost,
            "seconds": round(run.seconds, 3),
            "fps": round(run.fps, 2),
            "ao": self.ao,
            "files": [str(path) for path in self.files],
        }


def track_source(
    source: Source,
    targets: Targets,
    tracker: Tracker,
    outputs: Outputs,
    keep_going: Callable[[Step], bool] = lambda step: True,
) -> Summary:
    """Track a source to its end, until the user stops it, or until ``keep_going``, asked after each frame, says no.

    Raises:
        UserError: an output cannot be written, a box lies outside, the network failed, or not one frame came.
    """
    if outputs.show:
        require_display("--show")
    files = _files(source, outputs, len(targets.boxes))
    record = Record(0 if targets.truth is None else len(targets.truth))
    sinks: list[Sink] = [record, EventsSink()]
    try:
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
    if outputs.json:
        sinks.append(JsonSink())
    viewer = Viewer() if outputs.show else None
    with _progress(source, outputs.progress) as progress:
        task = progress.add_task("tracking", total=source.count, fps="") if progress else None

        def watch(step: Step) -> bool:
            if progress and task is not None:
                progress.update(task, completed=step.frame.index + 1, fps=f"{step.fps:.1f} fps")
            return keep_going(step) and (viewer.show(step) if viewer else True)

        try:
            outcome = run(source, tracker, targets.boxes, sinks, start=targets.start, keep_going=watch)
        finally:
            if viewer:
                viewer.close()
    ao = None
    if targets.truth is not None:
        boxes = np.array([box.as_tuple() for box in record.boxes]).reshape(-1, 4)
        ao = average_overlap(boxes, targets.truth, np.array(record.sizes).reshape(-1, 2))
    return Summary(outcome, ao, files, source.reconnects)


def _files(source: Source, outputs: Outputs, targets: int) -> list[Path]:
    """The files a run writes, which differ, and none of which may be what it reads, or would read the next time."""
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


def _progress(source: Source, wanted: bool) -> Progress | nullcontext[None]:
    """A bar on stderr where somebody watches; nothing in a log."""
    if not (wanted and sys.stderr.isatty()):
        return nullcontext(None)
    return Progress(
        TextColumn("{task.description} " + source.name, markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[fps]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
