"""Make ``benchmarks/results/<name>.json``: do memory, file descriptors and latency stay where they are over a long run?

python benchmarks/soak.py [--model DIR] [--backend ort:cpu:fp32=10 ...] [--length N] [--results DIR] [--name NAME]

Every backend tracks in a process of its own, round after round, through sources as a device meets them: a clip with
ground truth, annotated video and result files, images of changing size, a damaged and a cut-off video, a folder with a
broken image, a live source that stalls and is too fast, a run that the user stops, and a file that cannot be opened.
With ``--unbroken``: one run over one looping video, as over a camera. With ``--length``: shorter sources, so that more
are opened in the same time. Linux only: it reads /proc.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import numpy.typing as npt
import typer
from reports import RESULTS, script, write_json

from mvt_deploy.backends.registry import load
from mvt_deploy.bench import machine
from mvt_deploy.bench.candidates import Candidate, parse
from mvt_deploy.bundle import DEFAULT
from mvt_deploy.cli.options import ensure_model, say
from mvt_deploy.errors import SourceError, UserError
from mvt_deploy.geometry import BGRImage, Box, format_box
from mvt_deploy.process import one_heap, quiet_opencv
from mvt_deploy.tracker import Tracker
from mvt_deploy.video import demo
from mvt_deploy.video.pipeline import Interrupted, Step
from mvt_deploy.video.session import Outputs, track_source
from mvt_deploy.video.sources import Frame, Source, open_source
from mvt_deploy.video.targets import choose_targets

BACKENDS = ("ort:cpu:fp32=10", "openvino:fp32=8", "openvino:bf16=8", "torch=8")
LENGTH = 40  # frames of a source, unless --length says otherwise
EVERY = 10  # frames between two samples of an unbroken run
WARM_UP = 0.25  # of a backend's time: pools, arenas and compiled graphs fill up
MOST_FRAMES = 300_000  # of one backend
WINDOWS = 4  # of the time after the warm-up, in which latency is compared
LIMIT_MB = 1.0  # per 10 000 frames: a steeper slope is a leak
SLOWER = 1.5  # the last window's p99 over the first one's: more is not stable
NOTES = (
    "The machine also ran other work, so the level of p50 and p99 says nothing about the backend: stable means that "
    "the last window's p99 is at most 1.5 times the first one's, of the same backend, and a failure can be the "
    "neighbours' doing (load: the system's one-minute average at the window's end).",
    "Memory is resident memory at the end of each round (unbroken: every 10 frames). slope: least squares over these "
    "after the warm-up; "
    "low, high: 95 % interval of a moving-block bootstrap of the residuals.",
)


class Live(Source):
    """Frames at a camera's pace whether or not somebody takes them, with a stall half way."""

    live = True
    name = "live"

    def __init__(self, images: list[BGRImage], fps: float = 120.0, stall: float = 0.6) -> None:
        self.fps = fps
        self._images = images
        self._stall = stall

    def __iter__(self) -> Iterator[Frame]:
        began = time.monotonic()
        for index, image in enumerate(self._images):
            time.sleep(self._stall if index == len(self._images) // 2 else 1 / self.fps)
            yield Frame(index, time.monotonic() - began, image.copy())


class Loop(Source):
    """A video over and over through one opened file, as a camera that never ends."""

    name = "loop"

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._seconds = seconds

    def __iter__(self) -> Iterator[Frame]:
        capture, began, index = cv2.VideoCapture(str(self._path)), time.monotonic(), 0
        try:
            while (now := time.monotonic() - began) < self._seconds:
                read, image = capture.read()
                if read:
                    yield Frame(index, now, np.asarray(image, np.uint8))
                    index += 1
                else:
                    capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
        finally:
            capture.release()


@dataclass
class Material:
    """The sources' files, and the boxes of two targets in their first frames."""

    folder: Path
    frames: list[BGRImage] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)

    @classmethod
    def make(cls, folder: Path, length: int = LENGTH) -> Material:
        """Render them into a folder, each source of ``length`` frames."""
        quiet_opencv()
        made = cls(folder)
        for image, box in demo.frames(length):
            made.frames.append(image)
            made.boxes.append(box)
        made._video("clip.mp4")
        np.savetxt(folder / "clip.txt", np.array([box.as_tuple() for box in made.boxes]), fmt="%.3f", delimiter=",")
        made._video("cut.avi")
        data = (folder / "cut.avi").read_bytes()
        (folder / "cut.avi").write_bytes(data[: len(data) * 6 // 10])
        data = (folder / "clip.mp4").read_bytes()
        (folder / "unreadable.mp4").write_bytes(data[: len(data) // 2])  # without its index
        damaged = np.frombuffer(data, np.uint8).copy()
        body = np.random.default_rng(3).integers(len(data) // 4, len(data) * 3 // 4, 40)
        damaged[body] ^= 0x5A
        (folder / "damaged.mp4").write_bytes(damaged.tobytes())
        made._images("sizes")
        made._images("broken")
        (folder / "broken" / f"{length // 2:03}.jpg").write_bytes(b"no picture")
        return made

    def _video(self, name: str) -> None:
        codec = "mp4v" if name.endswith("mp4") else "MJPG"
        writer = cv2.VideoWriter(
            str(self.folder / name), cv2.VideoWriter.fourcc(*codec), 30.0, (demo.WIDTH, demo.HEIGHT)
        )
        for image in self.frames:
            writer.write(image)
        writer.release()

    def _images(self, name: str) -> None:
        """Every picture of another size, every seventh grey; the first as the boxes want it."""
        place = self.folder / name
        place.mkdir()
        for index, image in enumerate(self.frames):
            scale = 1.0 + 0.3 * math.sin(index)
            picture = image if index == 0 else cv2.resize(image, None, fx=scale, fy=scale)
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if index % 7 == 6 else picture
            cv2.imwrite(str(place / f"{index:03}.jpg"), picture)


@dataclass
class Soak:
    """One backend's run: what was counted and measured."""

    material: Material
    tracker: Tracker
    began: float = field(default_factory=time.monotonic)
    frames: int = 0
    dropped: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    latencies: npt.NDArray[np.float64] = field(default_factory=lambda: np.full((MOST_FRAMES, 3), np.nan))
    """End of the frame in seconds, milliseconds it took, load; all of it in memory from the start."""
    measured: int = 0
    rounds: list[tuple[float, int, float, int, int]] = field(default_factory=list)  # time, frames, MB, fds, threads

    def round(self) -> None:
        """Every source once, then one sample of memory."""
        folder, output = self.material.folder, self.material.folder / "out"
        output.mkdir(exist_ok=True)
        first, last = self.material.boxes[0], self.material.boxes[-1]
        self._track(
            "clip",
            lambda: open_source(folder / "clip.mp4"),
            [first, last],
            Outputs(output / "clip.mp4", output / "boxes.txt"),
        )
        for name in ("sizes", "damaged.mp4", "cut.avi", "broken", "unreadable.mp4"):
            self._track(name, lambda name=name: open_source(folder / name))  # type: ignore[misc]
        self._track("live", lambda: Live(self.material.frames))
        self._track("stopped", lambda: open_source(folder / "clip.mp4"), stop_after=len(self.material.frames) // 2)
        shutil.rmtree(output)
        self.rounds.append((self._now(), self.frames, *usage()))

    def unbroken(self, seconds: float) -> None:
        """One run over a looping video with a results file, memory sampled every 10 frames."""

        def watch(step: Step) -> bool:
            self.frames += 1
            if step.frame.index:
                self.latencies[self.measured] = self._now(), step.seconds * 1e3, os.getloadavg()[0]
                self.measured += 1
            if step.frame.index % EVERY == EVERY - 1:
                self.rounds.append((self._now(), self.frames, *usage()))
            return self.measured < MOST_FRAMES // 2

        loop = Loop(self.material.folder / "clip.mp4", seconds)
        targets = choose_targets(loop, [format_box(self.material.boxes[0])])
        outputs = Outputs(results=self.material.folder / "boxes.txt")
        outcome = track_source(loop, targets, self.tracker, outputs, watch).outcome
        if outcome.problem is not None:
            raise outcome.problem
        self.endings["loop: end"] += 1

    def _track(
        self,
        name: str,
        opened: Callable[[], Source],
        boxes: list[Box] | None = None,
        outputs: Outputs | None = None,
        stop_after: int = 0,
    ) -> None:
        seen = 0

        def watch(step: Step) -> bool:
            nonlocal seen
            seen += 1
            if seen > 1:  # the first frame encodes the template
                self.latencies[self.measured] = self._now(), step.seconds * 1e3, os.getloadavg()[0]
                self.measured += 1
            if seen == stop_after:
                os.kill(os.getpid(), signal.SIGINT)
            return True

        try:
            source = opened()
            targets = choose_targets(source, [format_box(box) for box in boxes or self.material.boxes[:1]])
            outcome = track_source(source, targets, self.tracker, outputs or Outputs(), watch).outcome
            problem = outcome.problem
            if isinstance(problem, Interrupted) and not (stop_after and problem.exit_code == 128 + signal.SIGINT):
                raise problem  # somebody stops the soak itself
            self.frames += outcome.frames
            self.dropped += outcome.dropped
            ending = type(problem).__name__ if problem else "end"
        except SourceError:
            ending = "refused"
        self.endings[f"{name}: {ending}"] += 1

    def _now(self) -> float:
        return time.monotonic() - self.began


def usage() -> tuple[float, int, int]:
    """Resident memory in MB, open file descriptors, threads of this process."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(status["VmRSS"].split()[0]) / 1024, len(os.listdir("/proc/self/fd")) - 1, int(status["Threads"])


def slope(
    frames: npt.NDArray[np.float64], memory: npt.NDArray[np.float64], draws: int = 2000
) -> tuple[float, float, float]:
    """Least-squares slope in MB per 10 000 frames, with a 95 % moving-block bootstrap interval of the residuals."""
    thousands = frames / 1e4
    fit = np.polyfit(thousands, memory, 1)
    residuals, count = memory - np.polyval(fit, thousands), len(memory)
    block = max(2, round(count ** (1 / 3)))
    random = np.random.default_rng(0)
    found = []
    for _ in range(draws):
        starts = random.integers(0, count - block + 1, -(-count // block))
        shuffled = np.concatenate([residuals[s : s + block] for s in starts])[:count]
        found.append(np.polyfit(thousands, np.polyval(fit, thousands) + shuffled, 1)[0])
    low, high = np.percentile(found, (2.5, 97.5))
    return float(fit[0]), float(low), float(high)


def verdict(soak: Soak) -> dict[str, Any]:
    """The figures of a finished run, and whether each requirement is met.

    Raises:
        UserError: too few rounds fitted into the time.
    """
    total = soak.rounds[-1][0]
    warm = [r for r in soak.rounds if r[0] >= WARM_UP * total]
    if len(warm) < 6:
        raise UserError(f"only {len(warm)} rounds after the warm-up: give each backend more minutes.")
    _, frames, memory, fds, threads = (np.array(column, np.float64) for column in zip(*warm, strict=True))
    value, low, high = slope(frames, memory)
    per_round = slope(1e2 * np.arange(len(memory), dtype=np.float64), memory)  # in MB per 100 rounds
    start = warm[0][0]
    edges = np.linspace(start, total, WINDOWS + 1)
    times, taken, load_average = soak.latencies[: soak.measured].T
    windows = []
    for left, right in pairwise(edges):
        inside = (times >= left) & (times < right)
        p50, p99 = np.percentile(taken[inside], (50, 99))
        windows.append(
            {
                "from_s": round(left, 1),
                "to_s": round(right, 1),
                "frames": int(inside.sum()),
                "p50_ms": round(float(p50), 2),
                "p99_ms": round(float(p99), 2),
                "load": float(load_average[inside][-1]),
            }
        )
    growth = windows[-1]["p99_ms"] / windows[0]["p99_ms"]
    return {
        "minutes": round(total / 60, 2),
        "frames": soak.frames,
        "dropped_of_live": soak.dropped,
        "rounds": len(soak.rounds),
        "endings": dict(soak.endings),
        "warm_up_s": round(start, 1),
        "memory": {
            "slope_mb_per_10000_frames": round(value, 3),
            "low": round(low, 3),
            "high": round(high, 3),
            "frames_after_warm_up": int(frames[-1] - frames[0]),
            "slope_mb_per_100_rounds": [round(v, 3) for v in per_round],
            "first_mb": round(float(memory[0]), 1),
            "last_mb": round(float(memory[-1]), 1),
            "flat": value < LIMIT_MB,
            "flat_beyond_doubt": high < LIMIT_MB,
        },
        "file_descriptors": {
            "first": int(fds[0]),
            "last": int(fds[-1]),
            "most": int(fds.max()),
            "flat": bool(fds[-1] <= fds[0]),
        },
        "threads": {"first": int(threads[0]), "last": int(threads[-1]), "most": int(threads.max())},
        "latency": {"windows": windows, "p99_last_over_first": round(growth, 3), "stable": bool(growth <= SLOWER)},
        "samples": [
            {"s": round(t, 1), "frames": f, "mb": round(m, 2), "fds": d, "threads": n} for t, f, m, d, n in soak.rounds
        ],
    }


def one(candidate: Candidate, model: Path, minutes: float, unbroken: bool, length: int) -> dict[str, Any]:
    """Soak one backend in this process, as the command line would run it."""
    with tempfile.TemporaryDirectory() as folder:
        one_heap()  # as the command line does
        material = Material.make(Path(folder), length)
        backend = load(model, candidate.backend, **candidate.options)
        soak = Soak(material, Tracker(backend))
        if unbroken:
            soak.unbroken(minutes * 60)
        while not unbroken and time.monotonic() - soak.began < minutes * 60 and soak.measured < MOST_FRAMES // 2:
            soak.round()
        return {"backend": backend.label, **verdict(soak)}


def in_process(text: str, model: Path, minutes: float, unbroken: bool, length: int) -> dict[str, Any]:
    """:func:`one` in a process of its own, so that no backend inherits another's memory."""
    command = [sys.executable, __file__, "--model", str(model), "--only", f"{text}={minutes}", "--length", str(length)]
    command += ["--unbroken"] if unbroken else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {"backend": text, "failed": f"exit code {done.returncode}; see its messages"}
    return dict(json.loads(done.stdout))


def revision() -> str | None:
    """The commit that is measured, where git knows it."""
    try:
        asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def main(
    model: Annotated[Path, typer.Option("--model", help="The bundle.")] = DEFAULT,
    backend: Annotated[list[str] | None, typer.Option("--backend", help="CANDIDATE=MINUTES (repeatable).")] = None,
    results: Annotated[Path, typer.Option("--results", help="Where the JSON file goes.")] = RESULTS,
    name: Annotated[str, typer.Option("--name", help="Of the JSON file.")] = "soak",
    unbroken: Annotated[bool, typer.Option("--unbroken", help="One run over a looping video instead.")] = False,
    length: Annotated[int, typer.Option("--length", help="Frames of each source.", min=6)] = LENGTH,
    only: Annotated[str | None, typer.Option("--only", help="CANDIDATE=MINUTES here, JSON on stdout.")] = None,
) -> None:
    """Soak every backend in turn."""
    ensure_model(model)
    if only:
        text, _, minutes = only.partition("=")
        print(json.dumps(one(parse(text), model, float(minutes), unbroken, length)))
        return
    place = results / f"{name}.json"
    report: dict[str, Any] = {
        "made_by": "benchmarks/soak.py",
        "revision": revision(),
        "machine": machine.describe(),
        "unbroken": unbroken,
        "frames_of_a_source": length,
        "malloc_arena_max": os.environ.get("MALLOC_ARENA_MAX"),
        "malloc_mmap_threshold": os.environ.get("MALLOC_MMAP_THRESHOLD_"),
        "notes": list(NOTES),
        "backends": [],
    }
    for entry in backend or BACKENDS:
        text, _, minutes = entry.partition("=")
        say(f"{parse(text).name}: {minutes} minutes")
        report["backends"].append(in_process(text, model, float(minutes), unbroken, length))
        report["minutes"] = round(sum(b.get("minutes", 0.0) for b in report["backends"]), 2)
        write_json(place, report)
    print(place)


if __name__ == "__main__":
    script(main)
