"""A whole run in Python: what it writes, what it says, and what it refuses to overwrite."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mvt_deploy import Track, Tracker
from mvt_deploy.backends.base import SearchResult, TrackerSpec
from mvt_deploy.errors import SinkError
from mvt_deploy.geometry import Box
from mvt_deploy.video.pipeline import Step
from mvt_deploy.video.session import Outputs, Record, track_source
from mvt_deploy.video.sources import Frame, open_source
from mvt_deploy.video.targets import choose_targets


class Still:
    """A backend for a target that stays in the middle of its window."""

    name = label = "still"
    spec = TrackerSpec()

    def template(self, crops: np.ndarray) -> int:
        return len(crops)

    def search(self, crops: np.ndarray, features: int, score_map: bool = False) -> SearchResult:
        box = np.tile(np.array([0.5, 0.5, 0.25, 0.25], np.float32), (features, 1))
        return SearchResult(box, np.full(features, 0.9, np.float32))

    def close(self) -> None:
        pass


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
        track(clip, Outputs(video and tmp_path / video, results and tmp_path / results))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
