"""Every fault of docs/faults.md, injected, with its stated outcome."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import camera as cameras
import cv2
import numpy as np
import pytest
from fake_backend import Crops, FakeBackend, SearchResult

from mvt_deploy import Tracker, load
from mvt_deploy.errors import NonFiniteError, SinkError, SourceError
from mvt_deploy.geometry import Box
from mvt_deploy.video import sources
from mvt_deploy.video.pipeline import Outcome, Sink, Step, run
from mvt_deploy.video.sinks import ResultsSink, VideoSink
from mvt_deploy.video.sources import Frame, Source, open_source

BOX = Box(60, 40, 30, 30)
BLACK = np.zeros((120, 160, 3), np.uint8)
COMMAND = [sys.executable, "-c", "from mvt_deploy.cli.main import run; run()"]


class Still(FakeBackend):
    """A backend for a target that stays in the middle of its window; NaN from a given call on."""

    name = "still"

    def __init__(self, nan_at: int = -1) -> None:
        super().__init__()
        self.nan_at, self.calls, self.templates = nan_at, 0, 0

    def _template(self, crops: Crops) -> int:
        self.templates += 1
        return len(crops)

    def _search(self, crops: Crops, features: int, score_map: bool) -> SearchResult:
        self.calls += 1
        box = np.tile(np.array([0.5, 0.5, 0.25, 0.25], np.float32), (features, 1))
        box[:, 0] = np.nan if self.calls == self.nan_at else box[:, 0]
        return SearchResult(box, np.full(features, 0.9, np.float32))


class Memory:
    """A sink that keeps steps and wakes those who wait for them."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.closed = 0

    def write(self, step: Step) -> None:
        self.steps.append(step)

    def close(self) -> None:
        self.closed += 1

    def abort(self) -> None:
        pass

    def wait(self, count: int, seconds: float = 30.0) -> None:
        until = time.monotonic() + seconds
        while len(self.steps) < count:
            assert time.monotonic() < until, f"only {len(self.steps)} of {count} frames in {seconds} s"
            time.sleep(0.01)


class Pictures(Source):
    """Given frames; then, maybe, an exception."""

    name = "pictures"

    def __init__(self, images: list[np.ndarray], fails: BaseException | None = None) -> None:
        self.images, self.fails = images, fails

    def __iter__(self) -> Iterator[Frame]:
        for i, image in enumerate(self.images):
            yield Frame(i, i / 30, image)
        if self.fails:
            raise self.fails


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[cameras.Camera]:
    """A camera on the network, with time limits a test can wait for."""
    monkeypatch.setattr(sources, "STREAM_TIMEOUT", 0.7)
    monkeypatch.setattr(sources, "RECONNECT_WAITS", (0.05, 0.2))
    made = cameras.Camera()
    yield made
    made.pull_out()


def while_tracking(
    source: Source, tracker: Tracker, memory: Memory, act: Callable[[], None], stop: bool = True
) -> Outcome:
    """Track a source in this thread while another one acts, and then ends the run."""
    failed: list[BaseException] = []
    ended = threading.Event()

    def play() -> None:
        try:
            act()
        except BaseException as error:
            failed.append(error)
        finally:
            if stop or failed:
                ended.set()

    actor = threading.Thread(target=play)
    actor.start()
    outcome = run(source, tracker, [BOX], [memory], keep_going=lambda step: not ended.is_set())
    actor.join()
    if failed:
        raise failed[0]
    return outcome


# A camera goes away and comes back, or falls silent


def test_a_camera_that_comes_back(camera: cameras.Camera) -> None:
    source, backend, memory = open_source(camera.url, reconnect=True), Still(), Memory()

    def act() -> None:
        memory.wait(5)
        camera.pull_out()
        time.sleep(0.5)
        before = len(memory.steps)
        camera.plug_in()
        memory.wait(before + 5)

    outcome = while_tracking(source, Tracker(backend), memory, act)
    assert source.reconnects == 1
    assert outcome.problem is None
    assert backend.templates == 1  # the targets were kept, not started anew
    indices = [step.frame.index for step in memory.steps]
    assert indices == sorted(set(indices))
    times = [step.frame.time for step in memory.steps]
    assert max(b - a for a, b in pairwise(times)) > 0.4  # the gap is in the clock
    assert times == sorted(times)


@pytest.mark.slow
def test_a_stream_that_stalls_is_opened_again(camera: cameras.Camera) -> None:
    source, memory = open_source(camera.url, reconnect=True), Memory()

    def act() -> None:
        memory.wait(5)
        camera.silent = True
        visitors, until = camera.visitors, time.monotonic() + 30
        while camera.visitors == visitors and time.monotonic() < until:
            time.sleep(0.02)
        before = len(memory.steps)
        camera.silent = False
        memory.wait(before + 5)

    while_tracking(source, Tracker(Still()), memory, act)
    assert source.reconnects >= 1


def test_without_reconnect_the_run_ends_with_the_camera(camera: cameras.Camera) -> None:
    memory = Memory()

    def act() -> None:
        memory.wait(5)
        camera.pull_out()

    outcome = while_tracking(open_source(camera.url), Tracker(Still()), memory, act, stop=False)
    assert outcome.frames == len(memory.steps) >= 5
    assert memory.closed == 1


def test_waiting_for_a_camera_can_be_stopped(camera: cameras.Camera) -> None:
    """A signal reaches a run whose camera is away."""
    source, memory = open_source(camera.url, reconnect=True), Memory()

    def act() -> None:
        memory.wait(3)
        camera.pull_out()
        time.sleep(0.4)
        os.kill(os.getpid(), signal.SIGTERM)

    began = time.monotonic()
    outcome = while_tracking(source, Tracker(Still()), memory, act, stop=False)
    assert outcome.problem is not None
    assert outcome.problem.exit_code == 128 + signal.SIGTERM
    assert time.monotonic() - began < 15
    assert memory.closed == 1


def test_recordings_are_not_reconnected(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(SourceError, match="recording"):
        open_source(tmp_path, reconnect=True)


@pytest.mark.slow
def test_a_fast_camera_is_not_followed_late(camera: cameras.Camera) -> None:
    """A tracker slower than its camera sees the newest frame, and the others are counted."""
    camera.fps = 200.0
    memory = Memory()

    class Slow(Still):
        def _search(self, crops: Crops, features: int, score_map: bool) -> SearchResult:
            time.sleep(0.1)
            return super()._search(crops, features, score_map)

    source = open_source(camera.url)
    outcome = while_tracking(source, Tracker(Slow()), memory, lambda: memory.wait(12))
    assert outcome.dropped >= 10
    assert memory.steps[-1].dropped > 0
    skipped = memory.steps[-1].frame.index + 1 - len(memory.steps)
    assert memory.steps[-2].dropped <= skipped <= memory.steps[-1].dropped  # every frame is tracked or counted


def test_passwords_stay_out_of_messages() -> None:
    with pytest.raises(SourceError) as caught:
        open_source("http://user:secret@127.0.0.1:9/stream")
    assert "secret" not in str(caught.value)
    assert "user:***@127.0.0.1" in str(caught.value)


# Pictures that are not what they were


def test_frames_of_another_size_or_one_channel(camera: cameras.Camera) -> None:
    memory = Memory()

    def act() -> None:
        memory.wait(3)
        camera.picture = np.full((120, 160), 60, np.uint8)
        memory.wait(len(memory.steps) + 5)

    while_tracking(open_source(camera.url), Tracker(Still()), memory, act)
    assert {step.frame.image.shape for step in memory.steps} == {(120, 160, 3)}
    images = [np.full(shape, 80, np.uint8) for shape in ((120, 160, 3), (60, 80, 3), (300, 200, 3), (1, 1, 3))]
    memory = Memory()
    run(Pictures(images), Tracker(Still()), [BOX], [memory])
    for step in memory.steps:
        box, (height, width) = step.tracks[0].box, step.frame.image.shape[:2]
        assert np.isfinite(box.as_tuple()).all()
        assert box.x < width
        assert box.y < height
        assert min(box.x + box.w, box.y + box.h) > 0
    outcome = run(Pictures([*images, np.zeros((9, 9), np.uint8)]), Tracker(Still()), [BOX], [Memory()])
    assert isinstance(outcome.problem, SourceError)  # an array that is not BGR is refused, with its shape
    assert outcome.frames == len(images)


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_frames(bundle: Path, level: int) -> None:
    """With the real network: never NaN, never a box outside, and one box is held once the target is lost."""
    from mvt_deploy.video import demo

    shown = [image for image, _ in demo.frames(8)]
    start = next(demo.frames(8))[1]
    blank = np.full_like(shown[0], level)
    tracker = Tracker(load(bundle, "ort", threads=1))
    tracker.init(shown[0], start)
    for image in shown[1:]:
        good = tracker.update_all(image)[0]
    held = []
    for _ in range(12):
        track = tracker.update_all(blank)[0]
        assert np.isfinite([*track.box.as_tuple(), track.score]).all()
        assert 0 <= track.box.x <= track.box.x + track.box.w <= blank.shape[1] + 1e-3
        if track.state == "lost":
            held.append(track.box)
    if held:
        assert len(set(held)) == 1
    assert good.state == "tracking"


# The network, the disk, the threads


def test_nan_never_becomes_a_box() -> None:
    memory = Memory()
    with pytest.raises(NonFiniteError):
        run(Pictures([BLACK] * 30), Tracker(Still(nan_at=10)), [BOX], [memory])
    assert len(memory.steps) == 10
    assert np.isfinite([step.tracks[0].box.as_tuple() for step in memory.steps]).all()
    assert memory.closed == 1


_LIMITED = """
import resource, signal, sys
from pathlib import Path
sys.path[:0] = [{here!r}, {tests!r}]
from test_faults import BLACK, BOX, Pictures, Still
from mvt_deploy import Tracker
from mvt_deploy.video.pipeline import run
from mvt_deploy.video.sinks import ResultsSink
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sink = ResultsSink(Path("r.txt"))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
run(Pictures([BLACK] * 500), Tracker(Still()), [BOX], [sink])
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_results_on_a_full_disk_stay_readable(tmp_path: Path) -> None:
    """The system refuses every byte beyond the thousandth, in the middle of a line."""
    code = _LIMITED.format(here=str(Path(__file__).parent), tests=str(Path(__file__).parents[1]))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "SinkError" in done.stderr
    assert "are kept" in done.stderr
    boxes, times = (np.loadtxt(tmp_path / name, delimiter=",", ndmin=2) for name in ("r.txt", "r_time.txt"))
    assert boxes.shape[1] == 4
    assert 20 < len(boxes) == len(times) < 500
    assert (tmp_path / "r.txt").read_text().endswith("\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.txt", "r_time.txt"]


def test_a_video_on_a_full_disk_stays_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up while the video grows: it is closed while there is still room to close it."""
    looks = iter([10**9, 10**9])
    usage = type("usage", (), {})

    def free(path: Path) -> object:
        found = usage()
        found.free = next(looks, 1 << 20)
        return found

    monkeypatch.setattr("mvt_deploy.video.sinks.shutil.disk_usage", free)
    sinks: list[Sink] = [VideoSink(tmp_path / "v.mp4", 30.0), ResultsSink(tmp_path / "r.txt")]
    with pytest.raises(SinkError, match="full"):
        run(Pictures([BLACK] * 300), Tracker(Still()), [BOX], sinks)
    capture = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    frames = 0
    while capture.read()[0]:
        frames += 1
    assert frames == 100
    assert len(np.loadtxt(tmp_path / "r.txt", delimiter=",")) >= 100


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_json_lines_on_a_full_disk(bundle: Path, tmp_path: Path) -> None:
    for i in range(20):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((120, 160, 3), 90, np.uint8))
    options = ["--json", "--no-video", "--init-box", "60,40,30,30", "--results", "out/r.txt"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "track", ".", "--model", str(bundle), *options],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(np.loadtxt(tmp_path / "out" / "r.txt", delimiter=",", ndmin=2)) >= 1


def test_a_reader_thread_that_dies() -> None:
    """Whatever it died of reaches the caller, after the outputs were closed."""
    memory = Memory()
    with pytest.raises(MemoryError, match="no room"):
        run(Pictures([BLACK] * 9, MemoryError("no room")), Tracker(Still()), [BOX], [memory])
    assert len(memory.steps) == 9
    assert memory.closed == 1
    assert not [thread for thread in threading.enumerate() if thread.name in ("reader", "writer")]


def test_a_writer_thread_that_dies() -> None:
    class Broken(Memory):
        def write(self, step: Step) -> None:
            super().write(step)
            if len(self.steps) == 5:
                raise RuntimeError("a fault in a sink")

    broken, good = Broken(), Memory()
    with pytest.raises(RuntimeError, match="a fault"):
        run(Pictures([BLACK] * 500), Tracker(Still()), [BOX], [broken, good])
    assert len(good.steps) < 500
    assert (broken.closed, good.closed) == (1, 1)
    assert not [thread for thread in threading.enumerate() if thread.name in ("reader", "writer")]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_log_disk_ends_nothing(bundle: Path, tmp_path: Path) -> None:
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((120, 160, 3), 90, np.uint8))
    command = [*COMMAND, "track", ".", "--model", str(bundle), "--init-box", "60,40,30,30", "--no-video", "--json"]
    with open("/dev/full", "w") as full:
        done = subprocess.run([*command, "--log-json"], cwd=tmp_path, stderr=full, stdout=subprocess.PIPE, text=True)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)
    closed = subprocess.run(  # by whoever started it: what is said must not land on stdout
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *command], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True
    )
    assert [json.loads(line)["frame"] for line in closed.stdout.splitlines()] == [0, 1, 2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_before_tracking_end_with_the_same_codes(bundle: Path, tmp_path: Path, number: signal.Signals) -> None:
    """128 and the signal, or death by the signal, which a shell reports as that; nothing is left behind."""
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((120, 160, 3), 90, np.uint8))
    command = [*COMMAND, "track", ".", "--model", str(bundle), "--init-box", "60,40,30,30", "--results", "out/r.txt"]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs and their children ignore it
    for _ in range(3):
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("target: ")  # the model is opened next
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        if process.returncode != 0:
            break
        shutil.rmtree(tmp_path / "out")  # on a busy machine the signal came after the last frame
    assert process.returncode in (128 + number, -number)
    assert "Traceback" not in errors
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.png", "1.png", "2.png"]
