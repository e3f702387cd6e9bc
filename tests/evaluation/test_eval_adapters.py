"""Our tracker in the hands of other toolkits, each the real package; pytracking is none, so its calls are made here."""

from __future__ import annotations

import importlib.util
import inspect
import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from evaluation_trees import HEIGHT, WIDTH, Drifter, got10k
from PIL import Image

import mvt_deploy.evaluation.adapters as adapters
from mvt_deploy import Box, LostPolicy, Track, Tracker, load
from mvt_deploy.errors import BoxError, SourceError, UserError
from mvt_deploy.evaluation.adapters.got10k import got10k_tracker
from mvt_deploy.evaluation.adapters.opencv import OpenCVTracker
from mvt_deploy.evaluation.adapters.pytracking import PyTrackingTracker
from mvt_deploy.evaluation.adapters.supervision import detections


def scene(step: int) -> np.ndarray:
    """A bright textured square that moves over a dim background, BGR 240 x 320."""
    random = np.random.default_rng(0)
    frame = random.integers(0, 60, (240, 320, 3), np.uint8)
    patch = random.integers(120, 255, (50, 60, 3), np.uint8)
    frame[80 + step : 130 + step, 100 + 2 * step : 160 + 2 * step] = patch
    return frame


START = (100, 80, 60, 50)


@pytest.fixture
def expected(bundle: Path) -> list[Box]:
    """Our own tracker's boxes on the scene."""
    tracker = Tracker(load(bundle), lost=None)
    tracker.init(scene(0), START)
    boxes = []
    for step in range(1, 5):
        track = tracker.update(scene(step))
        assert isinstance(track, Track)
        boxes.append(track.box)
    return boxes


@pytest.fixture
def scene_files(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{step + 1:08d}.png" for step in range(5)]
    for step, path in enumerate(files):
        assert cv2.imwrite(str(path), scene(step))
    return files


def test_every_adapter_is_short() -> None:
    files = [p for p in Path(inspect.getfile(adapters)).parent.glob("*.py") if p.name != "__init__.py"]
    assert len(files) == 6
    assert {p.name: len(p.read_text().splitlines()) for p in files if len(p.read_text().splitlines()) > 40} == {}


def test_got10k_runs_our_tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    experiments = pytest.importorskip("got10k.experiments")
    root = got10k(tmp_path / "data", {"GOT-10k_Val_000001": 6})
    experiment = experiments.ExperimentGOT10k(str(root), "val", str(tmp_path / "results"), str(tmp_path / "reports"))
    experiment.run(got10k_tracker(Drifter(1.5), "ours"))
    found = np.loadtxt(tmp_path / "results/GOT-10k/ours/GOT-10k_Val_000001/GOT-10k_Val_000001_001.txt", delimiter=",")
    assert found[:, 0] == pytest.approx(found[0, 0] + 1.5 * np.arange(6), abs=1e-3)
    assert 0 <= experiment.report(["ours"])["ours"]["overall"]["ao"] <= 1


def test_got10k_hands_over_the_right_colours(bundle: Path, scene_files: list[Path], expected: list[Box]) -> None:
    pytest.importorskip("got10k.trackers")
    ours = got10k_tracker(Tracker(load(bundle), lost=None))
    boxes, times = ours.track([str(p) for p in scene_files], np.array(START, float))
    assert ours.is_deterministic
    assert boxes[1:] == pytest.approx(np.array([b.as_tuple() for b in expected]), abs=1e-3)
    assert (times > 0).all()


def test_pytracking_interface(bundle: Path, expected: list[Box]) -> None:
    tracker = PyTrackingTracker(Tracker(load(bundle), lost=None))
    rgb = [scene(step)[..., ::-1] for step in range(5)]  # its evaluation code reads RGB
    info = OrderedDict(init_bbox=list(START), previous_output=OrderedDict())
    assert tracker.initialize(rgb[0], info)["target_bbox"] == list(START)
    for frame, box in zip(rgb[1:], expected, strict=True):
        out = tracker.track(frame, OrderedDict())
        assert out["target_bbox"] == pytest.approx(list(box), abs=1e-3)
        assert 0 < out["best_score"] <= 1


def follow_as_opencv(tracker: Any) -> list[tuple[bool, tuple[int, ...]]]:
    """What a program that uses ``cv2.Tracker`` does."""
    assert tracker.init(scene(0), START) is None
    return [tracker.update(scene(step)) for step in range(1, 5)]


def test_opencv_interface_is_that_of_its_trackers(bundle: Path, expected: list[Box]) -> None:
    theirs = follow_as_opencv(cv2.TrackerMIL.create())
    adapter = OpenCVTracker(Tracker(load(bundle), lost=None))
    ours = follow_as_opencv(adapter)
    for (ok, box), (their_ok, their_box) in zip(ours, theirs, strict=True):
        assert type(ok) is type(their_ok)
        assert [type(v) for v in box] == [type(v) for v in their_box]
    assert [box for _, box in ours] == [tuple(round(v) for v in b) for b in expected]
    assert 0 < adapter.getTrackingScore() <= 1


def test_opencv_ok_is_false_while_the_target_is_lost(bundle: Path) -> None:
    adapter = OpenCVTracker(Tracker(load(bundle), lost=LostPolicy(threshold=1.0, patience=2, found=1.0)))
    adapter.init(scene(0), START)
    assert [adapter.update(scene(step))[0] for step in (1, 2, 3)] == [True, False, False]


def test_supervision_draws_our_tracks() -> None:
    supervision = pytest.importorskip("supervision")
    tracks = [Track(Box(10, 20, 30, 40), 0.8), Track(Box(60, 20, 10, 10), 0.1, "lost")]
    found = detections(tracks, ids=[7, 9])
    assert isinstance(found, supervision.Detections)
    assert found.xyxy.tolist() == [[10, 20, 40, 60], [60, 20, 70, 30]]
    assert found.confidence.tolist() == pytest.approx([0.8, 0.1])
    assert found.tracker_id.tolist() == [7, 9]
    assert found[found.data["state"] == "tracking"].tracker_id.tolist() == [7]
    drawn = supervision.BoxAnnotator().annotate(np.zeros((100, 100, 3), np.uint8), found)
    assert drawn[20, 20].any()
    assert len(detections([])) == 0
    assert detections(tracks[0]).tracker_id.tolist() == [1]


def vot_boxes(protocol: str, command: str, files: list[Path], **settings: str) -> list[list[float]]:
    """The boxes the VOT toolkit gets when it runs a tracker on the scene by a protocol."""
    pytest.importorskip("vot.tracker")
    from vot.dataset import PatternFileListChannel, SequenceData
    from vot.dataset.common import BasedSequence
    from vot.region import Rectangle
    from vot.tracker import ObjectStatus
    from vot.tracker import Tracker as Registered

    channel = PatternFileListChannel(str(files[0].parent / "%08d.png"))
    truth = {"object": [Rectangle(*START)] * len(files)}
    data = SequenceData({"color": channel}, truth, {}, {}, len(files))
    sequence = BasedSequence("scene", lambda metadata: data, {"channel.default": "color", "width": 320, "height": 240})
    with Registered("MVT", str(files[0].parent), command, protocol, **settings).runtime() as runtime:
        runtime.initialize(sequence.frame(0), [ObjectStatus(Rectangle(*START), {})])
        found = []
        for index in range(1, len(files)):
            states, _ = runtime.update(sequence.frame(index), [])
            state = states[0] if isinstance(states, list) else states
            region = state.region
            assert 0 < float(state.properties["confidence"]) <= 1
            found.append([region.x, region.y, region.width, region.height])
    return found


@pytest.mark.slow
def test_the_vot_toolkit_runs_us_by_its_python_protocol(
    bundle: Path, scene_files: list[Path], expected: list[Box]
) -> None:
    command = "mvt_deploy.evaluation.adapters.vot:VotTracker"
    found = vot_boxes("python", command, scene_files, arg_bundle=str(bundle.resolve()))
    assert np.array(found) == pytest.approx(np.array([b.as_tuple() for b in expected]), abs=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the toolkit's command line is split as on POSIX")
def test_the_vot_toolkit_runs_us_by_trax(bundle: Path, scene_files: list[Path], expected: list[Box]) -> None:
    command = f"{sys.executable} -m mvt_deploy.evaluation.adapters.trax {bundle.resolve()} ort fp32"
    found = vot_boxes("trax", command, scene_files)
    assert np.array(found) == pytest.approx(np.array([b.as_tuple() for b in expected]), abs=1e-2)


@pytest.mark.parametrize(
    "frame",
    [np.zeros((48, 64), np.uint8), np.zeros((48, 64, 3), np.float32), np.zeros((48, 64, 4), np.uint8), None, "a.png"],
    ids=["grey", "floats", "with alpha", "none", "a path"],
)
def test_frames_of_another_kind_are_refused(frame: Any) -> None:
    start = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pytracking = PyTrackingTracker(Drifter(1.0))
    pytracking.initialize(start, {"init_bbox": [5, 5, 9, 9]})
    calls = [lambda: pytracking.initialize(frame, {"init_bbox": [5, 5, 9, 9]}), lambda: pytracking.track(frame)]
    if importlib.util.find_spec("got10k"):
        ours = got10k_tracker(Drifter(1.0))
        ours.init(Image.fromarray(start), np.array([5, 5, 9, 9]))
        calls += [lambda: ours.init(frame, np.array([5, 5, 9, 9])), lambda: ours.update(frame)]
    for call in calls:
        with pytest.raises(SourceError, match=r"frames are RGB uint8 \[height, width, 3\], not "):
            call()


def test_a_grey_picture_of_pil_is_refused_and_not_mirrored() -> None:
    pytest.importorskip("got10k.trackers")
    with pytest.raises(SourceError, match=r"\.convert\('RGB'\)"):
        got10k_tracker(Drifter(1.0)).init(Image.new("L", (WIDTH, HEIGHT)), np.array([5, 5, 9, 9]))


@pytest.mark.parametrize("box", [(1, 2, 3), (1, 2, 3, float("nan")), (1, 2, 0, 4), [(1, 2, 3, 4), (5, 6, 7, 8)], "box"])
def test_boxes_of_another_kind_are_refused(box: Any) -> None:
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    with pytest.raises(BoxError, match="box"):
        OpenCVTracker(Drifter(1.0)).init(frame, box)
    with pytest.raises(BoxError, match="box"):
        PyTrackingTracker(Drifter(1.0)).initialize(frame, {"init_bbox": box})


def test_a_missing_box_and_ids_that_do_not_fit_are_named() -> None:
    with pytest.raises(BoxError, match=r"info\['init_bbox'\]"):
        PyTrackingTracker(Drifter(1.0)).initialize(np.zeros((HEIGHT, WIDTH, 3), np.uint8), {})
    pytest.importorskip("supervision")
    with pytest.raises(UserError, match="2 tracks came with 1 ids"):
        detections([Track(Box(10, 20, 30, 40), 0.8), Track(Box(60, 20, 10, 10), 0.1)], ids=[7])


def test_trax_without_a_bundle_ends_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("trax")
    command = [sys.executable, "-m", "mvt_deploy.evaluation.adapters.trax", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
