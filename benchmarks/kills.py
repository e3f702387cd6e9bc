"""Make ``benchmarks/results/kills.json``: export, eval, train and track, killed at random moments again and again.

python benchmarks/kills.py [--kills 200] [--only export|eval|track|train ...] [--real-exports 2]

A process forked from this one does the work and gets SIGKILL after a random share of the time that the work takes. Then
everything it left is looked at: what has a final name must be whole. A second run must succeed, with the results of a
run that nobody disturbed. Besides, two exports write into one folder at once. The bundle is that of the fuzz tests,
whose graphs are a few kilobytes; the network that is trained is the real one, on tiny pictures.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from reports import RESULTS, script, write_json

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("fuzz", "training", "evaluation")]

import torch  # noqa: E402
from tiny import tiny_bundle  # noqa: E402

from mvt_deploy.bench import machine  # noqa: E402
from mvt_deploy.bundle import MANIFEST, exists, open_bundle, staging, write_manifest  # noqa: E402
from mvt_deploy.cli.options import say  # noqa: E402
from mvt_deploy.errors import UserError  # noqa: E402
from mvt_deploy.evaluation.datasets import open_dataset  # noqa: E402
from mvt_deploy.evaluation.evaluate import evaluate  # noqa: E402
from mvt_deploy.evaluation.results import ResultsFolder  # noqa: E402
from mvt_deploy.evaluation.runner import TrackerFactory  # noqa: E402
from mvt_deploy.tracker import Tracker  # noqa: E402

WORK = "work"
"""Name of the place that a victim writes to, inside its own folder."""


class Victim(ABC):
    """Something that is killed while it works.

    Args:
        folder: A new folder of its own.
    """

    name: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = folder / WORK

    @abstractmethod
    def work(self) -> None:
        """Do the work, into ``self.place``; a run after a killed one continues or starts again."""

    @abstractmethod
    def check(self, whole: bool) -> None:
        """Look at what lies in ``self.place``.

        Args:
            whole: True after a run that ended, False after a kill.

        Raises:
            AssertionError: Something that has a final name is not whole, or differs from an undisturbed run's.
        """

    def reset(self) -> None:
        """Remove what earlier runs wrote."""
        shutil.rmtree(self.place, ignore_errors=True)


class Export(Victim):
    """The writing of a bundle over an earlier one: staging, graphs, manifest, and the exchange of the folders."""

    name = "export"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.source = tiny_bundle(folder / "source")
        for i in range(20):  # work for the writer
            (self.source / f"extra{i}.bin").write_bytes(os.urandom(200_000))
        self.runs = 0

    def work(self) -> None:
        manifest = open_bundle(self.source).manifest
        with staging(self.place) as place:
            for path in sorted(self.source.iterdir()):
                if path.name != MANIFEST:
                    shutil.copyfile(path, place / path.name)
            write_manifest(place, manifest)
        open_bundle(self.place).verify()

    def check(self, whole: bool) -> None:
        if whole or exists(self.place):
            open_bundle(self.place).verify()
            names = {path.name for path in self.place.iterdir()}
            assert names == {path.name for path in self.source.iterdir()}, names
        elif self.place.exists():
            raise AssertionError(f"{self.place} is there and is no bundle")

    def reset(self) -> None:
        self.runs += 1
        if self.runs % 2:  # every other kill meets an earlier bundle
            super().reset()


class Eval(Victim):
    """An evaluation with result files, reports and the contact sheet."""

    name = "eval"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.bundle = tiny_bundle(folder / "tiny")
        random = np.random.default_rng(0)
        for number in range(5):
            images = folder / "data" / f"clip{number}" / "img"
            images.mkdir(parents=True)
            for i in range(8):
                cv2.imwrite(str(images / f"{i + 1:08d}.jpg"), random.integers(0, 255, (120, 160, 3), np.uint8))
            rows = [f"{40 + i},{30 + number},40,30" for i in range(8)]
            (images.parent / "groundtruth.txt").write_text("\n".join(rows) + "\n")
        self.expected: dict[str, Any] = {}

    def work(self) -> None:
        cv2.setNumThreads(1)
        dataset = open_dataset(self.folder / "data")
        evaluate(dataset, TrackerFactory(self.bundle, threads=1), {"label": "tiny"}, self.place, plots=False)

    def check(self, whole: bool) -> None:
        found = self._found()
        if whole and not self.expected:
            self.expected = found
        for name, value in found.items():
            assert value == self.expected[name], name
        if whole:
            assert set(found) == set(self.expected), set(self.expected) - set(found)

    def _found(self) -> dict[str, Any]:
        """What counts as a result: whole sequences, and the reports without the speed."""
        dataset, run = open_dataset(self.folder / "data"), ResultsFolder(self.place)
        found: dict[str, Any] = {
            s.name: (run.read(s).boxes.tolist(), run.read(s).scores.tolist()) for s in dataset.sequences if run.has(s)
        }
        if (self.place / "run.json").exists():
            found["run.json"] = run.info()
        if (self.place / "report.json").exists():
            figures = json.loads((self.place / "report.json").read_text())["figures"]
            found["report.json"] = {key: value for key, value in figures.items() if not key.startswith("fps")}
        for name in ("report.md", "report.csv"):
            if (self.place / name).exists():
                lines = (self.place / name).read_text().splitlines()
                found[name] = len(lines)
        if (self.place / "worst.jpg").exists():
            picture = cv2.imread(str(self.place / "worst.jpg"))
            assert picture is not None, "worst.jpg"
            found["worst.jpg"] = (self.place / "worst.jpg").read_bytes()
        return found


class Track(Victim):
    """A recording tracked into a video and a results file, over those of an earlier run."""

    name = "track"
    frames = 40

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.bundle = tiny_bundle(folder / "tiny")
        (folder / "clip").mkdir()
        random = np.random.default_rng(0)
        for i in range(self.frames):
            cv2.imwrite(str(folder / "clip" / f"{i:04d}.png"), random.integers(0, 255, (120, 160, 3), np.uint8))
        (folder / "clip" / "groundtruth.txt").write_text("40,30,40,30\n" * self.frames)
        self.expected = b""
        self.runs = 0

    def work(self) -> None:
        from mvt_deploy import load
        from mvt_deploy.video.session import Outputs, track_source
        from mvt_deploy.video.sources import open_source
        from mvt_deploy.video.targets import choose_targets

        cv2.setNumThreads(1)
        self.place.mkdir(exist_ok=True)
        source = open_source(self.folder / "clip")
        outputs = Outputs(self.place / "video.mp4", self.place / "boxes.txt")
        track_source(source, choose_targets(source), Tracker(load(self.bundle, threads=1)), outputs)

    def check(self, whole: bool) -> None:
        boxes, times, video = (self.place / name for name in ("boxes.txt", "boxes_time.txt", "video.mp4"))
        if whole and not self.expected:
            self.expected = boxes.read_bytes()
        if whole or boxes.exists():
            assert boxes.read_bytes() == self.expected, "boxes.txt"
        if whole or times.exists():
            assert len(times.read_text().splitlines()) == self.frames, "boxes_time.txt"
        if whole or video.exists():
            reader, count = cv2.VideoCapture(str(video)), 0
            while reader.read()[0]:
                count += 1
            assert count == self.frames, f"video.mp4 has {count} frames"

    def reset(self) -> None:
        self.runs += 1
        if self.runs % 2:  # every other kill meets the files of an earlier run
            super().reset()


class Train(Victim):
    """A training run of six steps that saves its state after every one; the second run resumes it."""

    name = "train"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from training_data import make_data

        from mvt_deploy.training import TrainConfig
        from mvt_deploy.training.config import Stage

        self.data = make_data(folder / "data")
        self.config = TrainConfig(
            epochs=2, pairs_per_epoch=6, batch=2, lr=1e-3, warmup_steps=2, stages=(Stage(1.0, 64),), workers=0,
            save_minutes=0.0,
        )  # fmt: skip
        self.expected: dict[str, torch.Tensor] = {}

    def work(self) -> None:
        from mvt_deploy.training import train

        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        if not (self.place / "config.json").exists():
            train(self.data, self.place, self.config, device="cpu")
        elif not (self.place / "mvt.safetensors").exists() or self._step() < self.config.total_steps:
            train(self.data, self.place, device="cpu", resume=True)

    def _step(self) -> int:
        from mvt_deploy.training.state import RunFolder

        state = RunFolder(self.place).load_state()
        return 0 if state is None else int(state["step"])

    def check(self, whole: bool) -> None:
        from mvt_deploy.network import read_checkpoint
        from mvt_deploy.training import from_json

        if (self.place / "config.json").exists():
            assert from_json((self.place / "config.json").read_text()) == self.config, "config.json"
            self._step()
        if whole or (self.place / "mvt.safetensors").exists():
            weights = read_checkpoint(self.place / "mvt.safetensors")
            if whole and not self.expected:
                self.expected = weights
            assert set(weights) == set(self.expected), "mvt.safetensors"
            if whole:
                assert all(torch.equal(value, self.expected[key]) for key, value in weights.items()), "weights differ"


class RealExport(Victim):
    """The export of the default checkpoint with all its conversions and checks, fp32."""

    name = "export of the network"

    def work(self) -> None:
        from mvt_deploy.export import export_bundle

        torch.set_num_threads(1)
        export_bundle(None, self.place)

    def check(self, whole: bool) -> None:
        if whole or exists(self.place):
            open_bundle(self.place).verify()
        elif self.place.exists():
            raise AssertionError(f"{self.place} is there and is no bundle")


VICTIMS: dict[str, type[Victim]] = {victim.name: victim for victim in (Export, Eval, Track, Train)}


def forked(work: Callable[[], None]) -> int:
    """Start the work in a forked process and return its id; the process ends with 0, or with 1 after an error."""
    child = os.fork()
    if child:
        return child
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def kill_after(child: int, seconds: float) -> bool:
    """Kill a process after a time; False where it had ended before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, f"an undisturbed run failed: {status}"
            return False
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    return bool(os.WIFSIGNALED(os.waitpid(child, 0)[1]))


def finish(child: int) -> None:
    """Wait for a process, which must succeed."""
    status = os.waitpid(child, 0)[1]
    assert status == 0, f"a run after a kill failed: {status}"


def torment(victim: Victim, kills: int, seconds: float) -> dict[str, Any]:
    """Kill a victim again and again, and look at it every time.

    Args:
        victim: What is killed.
        kills: How many kills.
        seconds: Time after which no further kill is begun.

    Returns:
        The number of kills and of those that found files with final names, and what an undisturbed run takes.
    """
    victim.reset()
    began = time.monotonic()
    finish(forked(victim.work))
    length = time.monotonic() - began
    victim.check(whole=True)
    random = np.random.default_rng(len(victim.name))
    done = early = found = 0
    end = time.monotonic() + seconds
    while done < kills and time.monotonic() < end:
        victim.reset()
        before = victim.place.exists()
        if kill_after(forked(victim.work), float(random.uniform(0, length))):
            done += 1
            found += victim.place.exists()
            if before and not victim.place.exists():
                say(f"{victim.name}: the place of an earlier result is empty after a kill")
                early += 1
            victim.check(whole=False)
        began = time.monotonic()
        finish(forked(victim.work))
        length = 0.8 * length + 0.2 * min(2 * length, time.monotonic() - began)
        victim.check(whole=True)
    return {"kills": done, "left_something": found, "earlier_result_gone": early, "seconds_of_a_run": round(length, 2)}


def two_at_once(folder: Path, times: int) -> dict[str, int]:
    """Let two exports write into one folder at the same time; the bundle must be whole each time."""
    victim, both = Export(folder), 0
    for _ in range(times):
        shutil.rmtree(victim.place, ignore_errors=True)
        first, second = forked(victim.work), forked(victim.work)
        ends = [os.waitpid(child, 0)[1] for child in (first, second)]
        assert 0 in ends, "both exports failed"
        both += ends == [0, 0]
        victim.check(whole=True)
    return {"times": times, "both_succeeded": both}


def main(
    kills: Annotated[int, typer.Option("--kills", help="Number of kills, divided among the four verbs.")] = 200,
    only: Annotated[list[str] | None, typer.Option("--only", help="Verb to kill; may be repeated.")] = None,
    real_exports: Annotated[int, typer.Option("--real-exports", help="Kills of the network's export.")] = 0,
    seconds: Annotated[float, typer.Option("--seconds", help="Longest time per verb.")] = 300.0,
    results: Annotated[Path, typer.Option("--results", help="Folder of the JSON file.")] = RESULTS,
) -> None:
    """Kill, look, run again."""
    names = only or list(VICTIMS)
    if unknown := [name for name in names if name not in VICTIMS]:
        raise UserError(f"there is no victim '{unknown[0]}': choose from {', '.join(VICTIMS)}.")
    report: dict[str, Any] = {"made_by": "python benchmarks/kills.py", "machine": machine.describe(), "verbs": {}}
    file = results / "kills.json"
    if file.exists():  # verbs that are not killed this time keep their figures
        report["verbs"] = json.loads(file.read_text(encoding="utf-8"))["verbs"]
    with tempfile.TemporaryDirectory() as place:
        for number, name in enumerate(names):
            share = kills // len(names) + (number < kills % len(names))
            (folder := Path(place) / name).mkdir()
            report["verbs"][name] = torment(VICTIMS[name](folder), share, seconds)
            say(f"{name}: {report['verbs'][name]}")
        if real_exports:
            (folder := Path(place) / "real").mkdir()
            report["verbs"]["export of the network"] = torment(RealExport(folder), real_exports, seconds)
        (folder := Path(place) / "two").mkdir()
        report["two_exports_at_once"] = two_at_once(folder, max(2, kills // 10))
    report["kills"] = sum(verb["kills"] for verb in report["verbs"].values())
    report["failures"] = 0  # the first one ends the script with an error
    write_json(file, report)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    script(main)
