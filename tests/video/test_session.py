"""A whole run in Python: what it writes, what it says, and what it refuses to overwrite."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_backend import Crops, FakeBackend, SearchResult

from mvt_deploy import Track, Tracker
from mvt_deploy.errors import SinkError
from mvt_deploy.geometry import Box
from mvt_deploy.video.pipeline import Step
from mvt_deploy.video.session import Outputs, Record, track_source
from mvt_deploy.video.sources import Frame, open_source
from mvt_deploy.video.targets import choose_targets


class Still(FakeBackend):
    """A backend for a target that stays in the middle of its window."""

    name = "still"

    def _search(self, crops: Crops, features: int, score_map: bool) -> SearchResult:
        box = np.tile(np.array([0.5, 0.5, 0.25, 0.25], np.float32), (features, 1))
        return SearchResult(box, np.full(features, 0.9, np.float32))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (160, 120))
    for _ in range(4):
        writer.write(np.zeros((120, 160, 3), np.uint8))
    writer.release()
    (tmp_path / "clip.txt").write_text("40,30,40,40\n" * 4)
    return path


def track(clip: Path, outputs: Outputs, *boxes: str) -> list[str]:
    source = open_source(clip)
    return track_source(source, choose_targets(source, boxes), Tracker(Still()), outputs).lines()


def test_without_truth_nothing_is_remembered(clip: Path) -> None:
    """A camera runs for months."""
    record = Record(2)
    for i in range(5):
        frame = Frame(i, i / 30, np.zeros((4, 4, 3), np.uint8))
        record.write(Step(frame, (Track(Box(0, 0, 2, 2), 1.0),), 0.01, 0.01, 30.0))
    assert len(record.boxes) == len(record.sizes) == 2  # truth's frames, none without it
    assert not any("AO" in line for line in track(clip, Outputs(), "9,9,30,30"))


@pytest.mark.parametrize(
    ("video", "results", "message"),
    [(None, "clip.txt", "ground truth"), (None, "cl.txt", "ground truth"), ("v.mp4", "v.mp4", "twice")],
)
def test_no_output_takes_another_file_s_place(
    clip: Path, tmp_path: Path, video: str | None, results: str, message: str
) -> None:
    renamed = clip.rename(tmp_path / ("cl_time.avi" if results == "cl.txt" else "clip.avi"))
    (tmp_path / "clip.txt").rename(renamed.with_suffix(".txt"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SinkError, match=message):
        track(renamed, Outputs(tmp_path / video if video else None, tmp_path / results), "9,9,30,30")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_summary_names_every_file_and_the_ao(clip: Path, tmp_path: Path) -> None:
    lines = track(clip, Outputs(tmp_path / "v.mp4", tmp_path / "r.txt"))
    assert any(line.startswith("AO 1.000 ") for line in lines)
    assert lines[-2:] == [f"wrote {tmp_path / 'v.mp4'}", f"wrote {tmp_path / 'r.txt'}"]
    lines = track(clip, Outputs(results=tmp_path / "r.txt"), "9,9,30,30", "50,50,30,30")
    assert lines[-2:] == [f"wrote {tmp_path / 'r_1.txt'}", f"wrote {tmp_path / 'r_2.txt'}"]
    assert not any("AO" in line for line in lines)


@pytest.mark.parametrize(("video", "results"), [("clip.avi", None), (None, "clip.txt"), (None, "groundtruth.txt")])
def test_source_and_ground_truth_are_not_overwritten(
    clip: Path, tmp_path: Path, video: str | None, results: str | None
) -> None:
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SinkError, match="write to another file"):
        track(clip, Outputs(tmp_path / video if video else None, tmp_path / results if results else None))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_one_frame_is_one_frame(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((80, 100, 3), np.uint8))
    lines = track(tmp_path / "one.png", Outputs(), "9,9,30,30")
    assert lines[0].startswith("1 frame, ")
    assert not any("tracker" in line for line in lines)  # it only encoded the target


def test_times_per_frame_are_told_as_percentiles(clip: Path) -> None:
    summary = track_source(open_source(clip), choose_targets(open_source(clip)), Tracker(Still()), Outputs())
    assert any("median" in line and "p95" in line and "p99" in line for line in summary.lines())
    median, high, highest = summary.outcome.percentiles()
    assert 0 < median <= high <= highest
    assert len(summary.outcome.latencies) == 3


@pytest.mark.parametrize("name", [".", "v.txt", "v"])
def test_a_wrong_output_is_refused_before_anything_is_read(name: str) -> None:
    with pytest.raises(SinkError, match=f"cannot write a video to '{name}'"):
        Outputs(Path(name))


@pytest.mark.parametrize("video", [False, True])
def test_a_reader_that_goes_away_ends_a_run_that_writes_nothing_else(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: bool
) -> None:
    """A file that was asked for is completed."""
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(60):
        cv2.imwrite(str(folder / f"{i}.png"), np.zeros((120, 160, 3), np.uint8))
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as writer:
        monkeypatch.setattr(sys, "stdout", writer)
        source = open_source(folder)
        outputs = Outputs(tmp_path / "v.avi" if video else None, json=True)
        summary = track_source(source, choose_targets(source, ["9,9,30,30"]), Tracker(Still()), outputs)
    assert summary.outcome.problem is None
    assert (summary.outcome.frames == 60) == video
    assert (tmp_path / "v.avi").exists() == video


def test_how_often_each_search_size_was_used_is_told(clip: Path) -> None:
    class Dial(Still):
        sides = (192, 256, 320)

    summary = track_source(open_source(clip), choose_targets(open_source(clip)), Tracker(Dial()), Outputs())
    assert "search size: 192 in 67 %, 256 in 33 % of the searches" in summary.lines()
    assert summary.figures()["search_sizes"] == {"192": 2, "256": 1}
