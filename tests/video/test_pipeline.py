"""The pipeline with a real tracker made of OpenCV's template matching: order, endings, failures, live sources."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from fake_backend import Crops, FakeBackend, SearchResult

from mvt_deploy import Tracker
from mvt_deploy.errors import BoxError, NonFiniteError, SinkError, SourceError
from mvt_deploy.geometry import Box
from mvt_deploy.video.pipeline import Interrupted, Step, run
from mvt_deploy.video.sources import Frame, Source


class Still(FakeBackend):
    """A backend for a target that stays in the middle of its window."""

    name = "still"

    def __init__(self, seconds: float = 0.0, fails_at: int = -1) -> None:
        super().__init__()
        self.seconds, self.fails_at, self.calls = seconds, fails_at, 0

    def _search(self, crops: Crops, features: int, score_map: bool) -> SearchResult:
        time.sleep(self.seconds)
        self.calls += 1
        if self.calls == self.fails_at:
            raise NonFiniteError("the network broke")
        box = np.tile(np.array([0.5, 0.5, 0.25, 0.25], np.float32), (features, 1))
        return SearchResult(box, np.full(features, 0.9, np.float32))


class Numbers(Source):
    """Frames that tell their number; live ones come by the clock."""

    name = "numbers"

    def __init__(self, count: int, live: bool = False, interval: float = 0.0, fails: bool = False) -> None:
        self.count, self.live, self.interval, self.fails, self.closed = count, live, interval, fails, 0

    def __iter__(self) -> Iterator[Frame]:
        for i in range(self.count or 0):
            time.sleep(self.interval)
            yield Frame(i, i / 30, np.full((120, 160, 3), i % 256, np.uint8))
        if self.fails:
            raise SourceError("the cable was pulled")

    def close(self) -> None:
        self.closed += 1


@dataclass
class Memory:
    """A sink that keeps steps, and can fail."""

    fails_at: int = -1
    steps: list[Step] = field(default_factory=list)
    closed: int = 0
    aborted: int = 0
    close_fails: bool = False

    def write(self, step: Step) -> None:
        if step.frame.index == self.fails_at:
            raise OSError(28, "No space left on device")
        assert int(step.frame.image[0, 0, 0]) == step.frame.index % 256
        self.steps.append(step)

    def close(self) -> None:
        self.closed += 1
        if self.close_fails:
            raise SinkError("could not be completed")

    def abort(self) -> None:
        self.aborted += 1


BOX = Box(60, 40, 30, 30)


def test_every_frame_once_in_order() -> None:
    source, memory = Numbers(300), Memory()
    outcome = run(source, Tracker(Still()), [BOX, BOX], [memory])
    assert [s.frame.index for s in memory.steps] == list(range(300))
    assert all(len(s.tracks) == 2 for s in memory.steps)
    assert memory.steps[-1].tracks[0].box.as_tuple() == pytest.approx(BOX.as_tuple(), abs=1)
    assert (outcome.frames, outcome.dropped, outcome.problem) == (300, 0, None)
    assert (memory.closed, memory.aborted, source.closed) == (1, 0, 1)
    assert outcome.fps > 0
    assert outcome.network_fps >= outcome.track_fps


def test_stages_overlap() -> None:
    """Reading, tracking and writing of 10 ms each take about 10 ms a frame together, not 30."""

    class Slow(Memory):
        def write(self, step: Step) -> None:
            time.sleep(0.01)

    outcome = run(Numbers(40, interval=0.01), Tracker(Still(0.01)), [BOX], [Slow()])
    assert outcome.seconds < 40 * 0.03 * 0.8


def test_a_live_source_never_falls_behind() -> None:
    memory = Memory()
    outcome = run(Numbers(100, live=True, interval=0.005), Tracker(Still(0.03)), [BOX], [memory])
    indices = [s.frame.index for s in memory.steps]
    assert indices == sorted(indices)
    assert outcome.dropped > 30
    assert outcome.frames + outcome.dropped == 100
    assert indices[-1] >= 97  # the newest frame is the one that is tracked


def test_a_source_that_fails_leaves_what_came_before() -> None:
    memory = Memory()
    outcome = run(Numbers(7, fails=True), Tracker(Still()), [BOX], [memory])
    assert len(memory.steps) == outcome.frames == 7
    assert isinstance(outcome.problem, SourceError)
    assert memory.closed == 1


def test_a_source_that_gives_nothing() -> None:
    with pytest.raises(SourceError, match="cable"):
        run(Numbers(0, fails=True), Tracker(Still()), [BOX], [Memory()])


def test_a_sink_that_fails_ends_the_run_and_the_others_are_kept() -> None:
    broken, good = Memory(fails_at=5), Memory()
    with pytest.raises(SinkError, match="No space left"):
        run(Numbers(500), Tracker(Still()), [BOX], [broken, good])
    assert 5 <= len(good.steps) < 500
    assert (broken.closed, good.closed) == (1, 1)


def test_a_sink_that_cannot_be_completed_is_undone() -> None:
    sink = Memory(close_fails=True)
    with pytest.raises(SinkError, match="completed"):
        run(Numbers(5), Tracker(Still()), [BOX], [sink])
    assert sink.aborted == 1


def test_a_network_that_fails() -> None:
    memory = Memory()
    with pytest.raises(NonFiniteError):
        run(Numbers(50), Tracker(Still(fails_at=10)), [BOX], [memory])
    assert len(memory.steps) == 10
    assert memory.closed == 1


def test_a_box_outside() -> None:
    with pytest.raises(BoxError):
        run(Numbers(5), Tracker(Still()), [Box(500, 500, 5, 5)], [Memory()])


def test_watching_can_end_the_run() -> None:
    memory = Memory()
    outcome = run(Numbers(100), Tracker(Still()), [BOX], [memory], keep_going=lambda step: step.frame.index < 9)
    assert outcome.frames == len(memory.steps) == 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_was_tracked(number: signal.Signals) -> None:
    memory = Memory()
    before = signal.getsignal(number)
    threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
    outcome = run(Numbers(10_000, interval=0.005), Tracker(Still()), [BOX], [memory])
    assert isinstance(outcome.problem, Interrupted)
    assert 0 < outcome.frames == len(memory.steps) < 10_000
    assert memory.closed == 1
    assert signal.getsignal(number) == before


def test_no_thread_stays() -> None:
    before = threading.active_count()
    for _ in range(5):
        run(Numbers(5), Tracker(Still()), [BOX], [Memory()])
    assert threading.active_count() == before
