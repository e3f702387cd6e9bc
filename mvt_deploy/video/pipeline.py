"""Decoding, tracking and writing, each in its own thread, in the order of the frames.

The reader and the writer run in threads of their own (OpenCV works without the interpreter lock); the tracker runs in
the caller's thread, so that Ctrl-C reaches it. Bounded channels between them keep memory flat. A recorded source
waits for the tracker; a live source never does: frames that come too fast are dropped, oldest first, and counted.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Protocol, runtime_checkable

import numpy as np

from ..errors import SinkError, SourceError, UserError
from ..geometry import Box
from ..tracker import Track, Tracker
from .channel import Channel, Finished
from .sources import Frame, Source

QUEUE = 4
"""Frames that may wait before the tracker, and again before the sinks."""

_LATENCIES = 100_000
_POLL_SECONDS = 0.2  # how soon Ctrl-C is noticed while a camera gives nothing
_PATIENCE_SECONDS = 2.0  # a silent camera may hold its thread for long; a daemon thread does not hold the program


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What happened to one frame.

    Args:
        frame: The frame; its image is not to be changed.
        tracks: One track per target, in the order of the boxes.
        seconds: Time for cropping, network and mapping back; for the first frame, for encoding the targets.
        network_seconds: Time of the network alone.
        fps: Frames per second lately, all stages together.
        dropped: Number of frames of a live source that were never looked at, so far.
    """

    frame: Frame
    tracks: tuple[Track, ...]
    seconds: float
    network_seconds: float
    fps: float
    dropped: int = 0


@runtime_checkable
class Waits(Protocol):
    """A sink that waits for whoever reads it."""

    def stop(self) -> None:
        """Wait no longer; called from another thread, and more than once."""
        ...


class Sink(Protocol):
    """Takes steps in order, in the writer's thread; the image is not to be changed."""

    def write(self, step: Step) -> None:
        """Take one step; raises SinkError if it cannot be written."""
        ...

    def close(self) -> None:
        """Finish: the output is complete, with the steps so far, and in its place; also after a failed write."""
        ...

    def abort(self) -> None:
        """Remove what was begun; called after a failed :meth:`close`."""
        ...


@dataclass(slots=True)
class Outcome:
    """How a run went.

    Args:
        frames: Number of frames tracked.
        dropped: Number of frames of a live source that were never looked at.
        seconds: Time from the first frame to the last output closed.
        track_seconds: Time of the tracker over all frames after the first.
        network_seconds: Time of the network alone over all frames after the first.
        lost: Number of frames in which at least one target was lost.
        search_sizes: How often each side of the search crop was used, by the side in pixels.
        latencies: Seconds of the tracker per frame after the first; of long runs, the last 100 000 frames.
        problem: Why the run ended before the source did, or None.
    """

    frames: int = 0
    dropped: int = 0
    seconds: float = 0.0
    track_seconds: float = 0.0
    network_seconds: float = 0.0
    lost: int = 0
    search_sizes: Counter[int] = field(default_factory=Counter)
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))
    problem: UserError | None = None

    def percentiles(self) -> tuple[float, float, float]:
        """The 50th, 95th and 99th percentile of the tracker's time per frame, in milliseconds; zeros without frames."""
        median, high, highest = np.percentile(self.latencies or [0.0], (50, 95, 99)) * 1e3
        return float(median), float(high), float(highest)

    @property
    def fps(self) -> float:
        """Frames per second end to end, all stages together."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    @property
    def track_fps(self) -> float:
        """Frames per second of the tracker: crop, network, mapping back."""
        return (self.frames - 1) / self.track_seconds if self.track_seconds > 0 else 0.0

    @property
    def network_fps(self) -> float:
        """Frames per second of the network alone."""
        return (self.frames - 1) / self.network_seconds if self.network_seconds > 0 else 0.0


class Interrupted(UserError):
    """A signal stopped the run; what was tracked so far is kept. The exit code is the shell's: 128 and the signal."""

    def __init__(self, number: signal.Signals) -> None:
        self.exit_code = 128 + number
        super().__init__(f"stopped by {number.name}: what was tracked so far is kept.")


class _Stop(threading.Event):
    """Set by the first signal; which one it was."""

    number = signal.SIGINT


def run(
    source: Source,
    tracker: Tracker,
    boxes: Sequence[Box],
    sinks: Sequence[Sink] = (),
    *,
    start: Frame | None = None,
    keep_going: Callable[[Step], bool] | None = None,
) -> Outcome:
    """Track from a source into sinks.

    Whatever ends the run, every sink is closed with the frames so far.

    Args:
        source: Where frames come from; a live source drops frames rather than fall behind. It is closed at the end.
        tracker: A tracker; its targets are replaced.
        boxes: The targets in the first frame.
        sinks: Where steps go, in order, in a thread of their own.
        start: The frame the boxes were chosen in, if the source has already given it (live sources).
        keep_going: Called in the caller's thread after each frame (for windows); False ends the run.

    Returns:
        Counts and times. ``problem`` tells whether the source failed on the way, or a signal stopped the run.

    Raises:
        SourceError: Not even the first frame came.
        BoxError: A target lies outside the first frame.
        SinkError: An output could not be written; the other outputs are kept.
        NonFiniteError: The network returned a value that is not finite.
    """
    with _stop_signals() as stop:
        began = time.perf_counter()
        outcome = Outcome()
        frames: Channel[Frame] = Channel(1 if source.live else QUEUE, latest=source.live)
        steps: Channel[Step] = Channel(QUEUE)
        failed: list[BaseException] = []
        reader = threading.Thread(target=_read, args=(source, frames), name="reader", daemon=True)
        writer = threading.Thread(target=_write, args=(steps, sinks, failed), name="writer", daemon=True)
        reader.start()
        writer.start()
        error: BaseException | None = None
        try:
            _track(start, frames, steps, tracker, boxes, outcome, stop, keep_going)
        except (SourceError, Interrupted) as problem:
            outcome.problem = problem
            error = problem if not outcome.frames else None
        except Finished:  # the writer has gone: its error is the one to report
            pass
        except BaseException as problem:
            error = problem
        source.stop()
        frames.cancel()
        steps.finish()
        while writer.is_alive():
            if stop.is_set():
                for sink in sinks:
                    if isinstance(sink, Waits):
                        sink.stop()
            writer.join(_POLL_SECONDS)
        reader.join(_PATIENCE_SECONDS)
        outcome.dropped = frames.dropped
        outcome.seconds = time.perf_counter() - began
    if error or failed:
        raise error or failed[0]
    return outcome


def _read(source: Source, frames: Channel[Frame]) -> None:
    """The reader's thread; it closes the source, since nobody else may while it reads."""
    try:
        for frame in source:
            frames.put(frame)
        frames.finish()
    except Finished:
        pass
    except BaseException as error:
        frames.finish(error)
    finally:
        source.close()


def _write(steps: Channel[Step], sinks: Sequence[Sink], failed: list[BaseException]) -> None:
    """The writer's thread: after a failure the run ends, and every sink keeps what it can."""
    try:
        while not failed:
            step = steps.get()
            for sink in sinks:
                _attempt(partial(sink.write, step), failed)
    except Finished:
        pass
    steps.cancel()
    for sink in sinks:
        if not _attempt(sink.close, failed):
            sink.abort()


def _attempt(action: Callable[[], None], failed: list[BaseException]) -> bool:
    try:
        action()
    except OSError as error:
        failed.append(SinkError(f"an output cannot be written: {error.strerror or error}."))
    except BaseException as error:
        failed.append(error)
    else:
        return True
    return False


def _track(
    start: Frame | None,
    frames: Channel[Frame],
    steps: Channel[Step],
    tracker: Tracker,
    boxes: Sequence[Box],
    outcome: Outcome,
    stop: _Stop,
    keep_going: Callable[[Step], bool] | None,
) -> None:
    """The caller's thread, until the source ends or the run is stopped."""
    rate = _Rate()
    frame = start or _next(frames, stop)
    while frame is not None:
        before = time.perf_counter()
        if outcome.frames == 0:
            tracker.init(frame.image, list(boxes))
            tracks, network = [Track(box, 1.0) for box in boxes], 0.0
            seconds = time.perf_counter() - before
        else:
            tracks, network = _update(tracker, frame)
            seconds = time.perf_counter() - before
            outcome.track_seconds += seconds
            outcome.latencies.append(seconds)
            outcome.search_sizes.update(tracker.search_sizes)
            outcome.network_seconds += network
        outcome.lost += any(track.state == "lost" for track in tracks)
        outcome.frames += 1
        step = Step(frame, tuple(tracks), seconds, network, rate.tick(), frames.dropped)
        _hand_over(steps, step, stop)
        if keep_going and not keep_going(step):
            return
        frame = _next(frames, stop)


def _update(tracker: Tracker, frame: Frame) -> tuple[list[Track], float]:
    """The tracks, and the seconds the network took."""
    crops = tracker.cut(frame.image)
    before = time.perf_counter()
    result = tracker.locate(crops)
    network = time.perf_counter() - before
    height, width = frame.image.shape[:2]
    return tracker.place(result, width, height), network


def _next(frames: Channel[Frame], stop: _Stop) -> Frame | None:
    while True:
        if stop.is_set():
            raise Interrupted(stop.number)
        try:
            return frames.get(_POLL_SECONDS)
        except TimeoutError:
            continue
        except Finished:
            return None


def _hand_over(steps: Channel[Step], step: Step, stop: _Stop) -> None:
    while True:
        with suppress(TimeoutError):  # an output takes its time, or the program that reads it does
            return steps.put(step, _POLL_SECONDS)
        if stop.is_set():
            raise Interrupted(stop.number)


@dataclass(slots=True)
class _Rate:
    """Frames per second, smoothed over about the last twenty."""

    last: float = field(default_factory=time.perf_counter)
    interval: float = 0.0

    def tick(self) -> float:
        now = time.perf_counter()
        taken, self.last = now - self.last, now
        self.interval = taken if self.interval == 0 else self.interval + 0.05 * (taken - self.interval)
        return 1 / self.interval if self.interval > 0 else 0.0


@contextmanager
def _stop_signals() -> Iterator[_Stop]:
    """An event that the first Ctrl-C or SIGTERM sets (in the main thread only); the second one acts as ever."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _: FrameType | None) -> None:
        stop.number = signal.Signals(number)
        stop.set()
        restore()

    def restore() -> None:
        for one, handler in before.items():
            signal.signal(one, handler or signal.SIG_DFL)

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        restore()
