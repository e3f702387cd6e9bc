"""Runs: whole result files, resuming, several processes, and errors that name the sequence."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_trees import Drift, Drifter, lasot, plain, walk
from told import Told

from mvt_deploy.errors import MissingExtra, UserError
from mvt_deploy.evaluation.datasets import open_dataset
from mvt_deploy.evaluation.evaluate import default_output
from mvt_deploy.evaluation.executors import longest_first, open_executor, process_pool
from mvt_deploy.evaluation.report import scores_of
from mvt_deploy.evaluation.results import ResultError, ResultsFolder
from mvt_deploy.evaluation.runner import TrackerFactory, run_dataset, track_sequence
from mvt_deploy.tracker import Track

LENGTHS = {"a": 12, "b": 30, "c": 7, "d": 21}


@dataclass(frozen=True)
class Fussy:
    """Makes trackers that refuse, or die, on the last frame of the sequence with 7 frames."""

    die: bool = False
    mark: str = ""

    def __call__(self) -> Drifter:
        return FussyDrifter(self)


class FussyDrifter(Drifter):
    def __init__(self, how: Fussy) -> None:
        super().__init__(0.5)
        self.how = how

    def init(self, frame: np.ndarray, box: Any, /) -> None:
        super().init(frame, box)
        self.doomed = np.allclose(box, walk(7, 2)[0])
        self.left = 6

    def update(self, frame: np.ndarray, /) -> Track:
        self.left -= 1
        if self.doomed and self.left == 0:
            if not self.how.die:
                raise UserError("this target is not to my taste.")
            if not os.path.exists(self.how.mark):  # only the first worker dies
                Path(self.how.mark).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().update(frame)


def files(folder: Path) -> dict[str, bytes]:
    """The boxes and scores of a run (times differ from run to run)."""
    return {p.name: p.read_bytes() for p in sorted((folder / "results").iterdir()) if not p.name.endswith("_time.txt")}


def test_track_follows_from_the_first_box(tmp_path: Path) -> None:
    sequence = open_dataset(plain(tmp_path, {"a": 5})).sequences[0]
    result = track_sequence(sequence, Drifter(2.0))
    assert result.boxes[:, 0] == pytest.approx(sequence.truth[0, 0] + 2.0 * np.arange(5))
    assert result.scores.tolist() == [1.0, 0.5, 0.5, 0.5, 0.5]
    assert (result.seconds > 0).all()


def test_a_finished_sequence_is_not_tracked_again(tmp_path: Path) -> None:
    dataset, folder = open_dataset(plain(tmp_path / "data", LENGTHS)), ResultsFolder(tmp_path / "run")
    first = Told()
    run_dataset(dataset, Drift(), folder, progress=first)
    assert (first.totals, first.before) == ({"sequences": 4, "frames": 70}, {"sequences": 0, "frames": 0})
    assert (first.done["frames"], first.notes["sequences"]) == (70, ["a", "b", "c", "d"])
    whole = files(tmp_path / "run")
    (tmp_path / "run" / "results" / "b.txt").write_text("1,2,3,4\n", encoding="utf-8")  # cut short
    (tmp_path / "run" / "results" / "d_score.txt").unlink()
    again = Told()
    run_dataset(dataset, Drift(), folder, progress=again)
    assert (again.totals, again.before) == ({"sequences": 4, "frames": 70}, {"sequences": 2, "frames": 19})
    assert again.notes["sequences"] == ["b", "d"]
    assert files(tmp_path / "run") == whole
    run_dataset(dataset, pytest.fail, folder)  # nothing left: no tracker is made


def test_an_interrupted_write_leaves_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, folder = open_dataset(plain(tmp_path / "data", {"a": 4})), ResultsFolder(tmp_path / "run")

    def full(source: object, target: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(OSError, match="no space"):
            run_dataset(dataset, Drift(), folder)
    assert not folder.has(dataset.sequences[0])
    run_dataset(dataset, Drift(), folder)
    assert folder.has(dataset.sequences[0])


def test_an_error_names_the_sequence_and_keeps_the_finished_ones(tmp_path: Path) -> None:
    dataset, folder = open_dataset(plain(tmp_path / "data", LENGTHS)), ResultsFolder(tmp_path / "run")
    with pytest.raises(UserError, match=r"sequence c, frame 00000007\.jpg: this target is not to my taste"):
        run_dataset(dataset, Fussy(), folder)
    assert [folder.has(s) for s in dataset.sequences] == [True, True, False, False]


@pytest.mark.slow
def test_processes_give_the_same_files(tmp_path: Path) -> None:
    dataset = open_dataset(plain(tmp_path / "data", LENGTHS))
    run_dataset(dataset, Drift(), ResultsFolder(tmp_path / "one"))
    seen = Told()
    run_dataset(dataset, Drift(), ResultsFolder(tmp_path / "two"), process_pool(2), seen)
    assert files(tmp_path / "two") == files(tmp_path / "one")
    assert (seen.done["frames"], sorted(seen.notes["sequences"])) == (70, ["a", "b", "c", "d"])


@pytest.mark.slow
def test_a_user_error_in_a_worker_arrives_whole(tmp_path: Path) -> None:
    dataset = open_dataset(plain(tmp_path / "data", LENGTHS))
    with pytest.raises(UserError, match=r"sequence c, frame 00000007\.jpg: this target is not to my taste"):
        run_dataset(dataset, Fussy(), ResultsFolder(tmp_path / "run"), process_pool(2))


@pytest.mark.slow
def test_a_dead_worker_is_reported_and_the_run_can_go_on(tmp_path: Path) -> None:
    dataset, folder = open_dataset(plain(tmp_path / "data", LENGTHS)), ResultsFolder(tmp_path / "run")
    fatal = Fussy(die=True, mark=str(tmp_path / "died"))
    with pytest.raises(UserError, match="a worker process died"):
        run_dataset(dataset, fatal, folder, process_pool(2))
    run_dataset(dataset, fatal, folder, process_pool(2))
    run_dataset(dataset, Drift(), ResultsFolder(tmp_path / "one"))
    assert files(tmp_path / "run") == files(tmp_path / "one")


@pytest.mark.slow
def test_ray_survives_a_killed_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{here}{os.pathsep}{here.parent}")  # workers import the trackers of this file
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    dataset = open_dataset(plain(tmp_path / "data", LENGTHS))
    run_dataset(dataset, Drift(), ResultsFolder(tmp_path / "one"))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        seen = Told()
        fatal = Fussy(die=True, mark=str(tmp_path / "died"))
        with open_executor(address="local") as executor:
            run_dataset(dataset, fatal, ResultsFolder(tmp_path / "ray"), executor, seen)
            with pytest.raises(UserError, match=r"sequence c, .*not to my taste"):
                run_dataset(dataset, Fussy(), ResultsFolder(tmp_path / "bad"), executor)
    finally:
        ray.shutdown()
    assert (tmp_path / "died").exists()
    assert files(tmp_path / "ray") == files(tmp_path / "one")
    assert (seen.done["frames"], sorted(seen.notes["sequences"])) == (70, ["a", "b", "c", "d"])
    ours, theirs = (scores_of(dataset, ResultsFolder(tmp_path / name)) for name in ("ray", "one"))
    assert [{**s.parts, "fps_mean": 0, "fps_total": 0} for s in ours] == [
        {**s.parts, "fps_mean": 0, "fps_total": 0} for s in theirs
    ]


def test_the_executor_fits_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="at least 1, not 0"), open_executor(0):
        pass
    with pytest.raises(UserError, match="give one"), open_executor(2, "local"):
        pass
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with (
        pytest.raises(MissingExtra, match=r"--ray needs the package 'ray'.*mvt-deploy\[ray\]"),
        open_executor(address="auto"),
    ):
        pass


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_said_before_any_work() -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match="no Ray cluster at 'auto'"), open_executor(address="auto"):
        pytest.fail("the work began")


def test_a_tracker_that_cannot_be_made_is_said_before_the_bars_begin(tmp_path: Path) -> None:
    def refuse() -> Drifter:
        raise UserError("there is no such backend.")

    dataset, seen = open_dataset(plain(tmp_path / "data", {"a": 3})), Told()
    with pytest.raises(UserError, match="no such backend"):
        run_dataset(dataset, refuse, ResultsFolder(tmp_path / "run"), progress=seen)
    assert seen.begun == []


def test_long_sequences_go_first(tmp_path: Path) -> None:
    dataset = open_dataset(plain(tmp_path, LENGTHS))
    assert [s.name for s in longest_first(list(dataset.sequences))] == ["b", "d", "a", "c"]


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    dataset = open_dataset(plain(tmp_path / "data", {"a": 3, "b": 3}))
    folder = ResultsFolder(tmp_path / "run")
    folder.claim(dataset, {"label": "ours", "backend": "ort", "fusion": True})
    folder.claim(dataset, {"label": "ours", "backend": "ort", "fusion": True})
    with pytest.raises(ResultError, match=r"another tracker \(backend: ort, not torch\): give another folder with -o"):
        folder.claim(dataset, {"label": "ours", "backend": "torch", "fusion": True})
    other = open_dataset(tmp_path / "data" / "a")
    with pytest.raises(ResultError, match=r"another dataset \(name: data, not a, sequences: 2 sequences, not 1 seq"):
        folder.claim(other, {"label": "ours", "backend": "ort", "fusion": True})
    assert folder.label() == "ours"
    with pytest.raises(ResultError, match="no folder of a run"):
        ResultsFolder(tmp_path / "elsewhere").info()


@pytest.mark.parametrize("content", ["1,2,3\n", "1,2,3,nan\n1,2,3,4\n1,2,3,4\n", "x\n"])
def test_damaged_results_are_not_read(tmp_path: Path, content: str) -> None:
    dataset, folder = open_dataset(plain(tmp_path / "data", {"a": 3})), ResultsFolder(tmp_path / "run")
    run_dataset(dataset, Drift(), folder)
    (tmp_path / "run" / "results" / "a.txt").write_text(content, encoding="utf-8")
    with pytest.raises(ResultError, match="run it again"):
        folder.read(dataset.sequences[0])


def test_a_models_label_and_threads(tmp_path: Path) -> None:
    model = TrackerFactory(Path("models/mvt"), "torch", fusion=False)
    assert model.label == "mvt-torch-fp32-no-fusion"
    assert model.split_threads(1) == model
    assert model.split_threads(10_000).threads == 1
    assert model.split_threads(None).threads == 1
    assert TrackerFactory(Path("m"), threads=3).split_threads(2).threads == 3
    dataset = open_dataset(lasot(tmp_path, {"cat-1": 3}))
    assert default_output(dataset, model) == Path("runs/LaSOT-test-1-of-280-sequences-mvt-torch-fp32-no-fusion")
    with pytest.raises(UserError, match="only the torch backend in fp32"):
        TrackerFactory(Path("m"), "ort", fusion=False)()


@pytest.mark.slow
def test_an_automatic_choice_is_settled_once(bundle: Path) -> None:
    settled = TrackerFactory(bundle, provider="auto", threads=1).resolve_auto()
    assert settled.provider != "auto"
    assert settled.precision in ("fp32", "bf16")
    assert settled().model.label == f"{settled.backend} {settled.provider} {settled.precision}"
    assert TrackerFactory(bundle).resolve_auto() == TrackerFactory(bundle, precision="fp32")
