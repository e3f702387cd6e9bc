"""Outputs: their content, and that each is whole or absent."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from mvt_deploy import Track
from mvt_deploy.errors import SinkError
from mvt_deploy.geometry import Box
from mvt_deploy.video import sinks
from mvt_deploy.video.overlay import draw
from mvt_deploy.video.pipeline import Step
from mvt_deploy.video.sinks import JsonSink, ResultsSink, VideoSink, fit, results_paths
from mvt_deploy.video.sources import Frame


def step(index: int, *tracks: Track, shape: tuple[int, int] = (120, 160)) -> Step:
    image = np.full((*shape, 3), 90, np.uint8)
    return Step(Frame(index, index / 30, image), tracks or (Track(Box(20.5, 30, 40, 50), 0.5),), 0.0125, 0.01, 80.0)


@pytest.mark.parametrize("ending", [".mp4", ".avi"])
def test_a_video_can_be_read_back(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out{ending}"
    sink = VideoSink(path, 25.0)
    assert not path.exists()
    for i in range(12):
        sink.write(step(i, shape=(120, 160) if i != 5 else (60, 160)))
    sink.close()
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(25)
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    assert len(frames) == 12
    assert frames[0].shape == (120, 160, 3)
    on_the_edge, inside = frames[0][55, 18:23].astype(int), frames[0][55, 40].astype(int)
    assert np.abs(on_the_edge - 90).max() > 40  # the box is drawn
    assert np.abs(inside - 90).max() < 25
    assert frames[5][5].max() < 40  # a frame of another size is fitted in, black around
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_video_without_frames_is_not_left(tmp_path: Path) -> None:
    VideoSink(tmp_path / "out.mp4", 25).close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out.txt", "out", "out.gif"])
def test_unknown_endings(tmp_path: Path, name: str) -> None:
    with pytest.raises(SinkError, match="end the name with"):
        VideoSink(tmp_path / name, 25)


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="UTF-8"):
        VideoSink(tmp_path / "v\udcff.mp4", 25)  # OpenCV would end the process
    with pytest.raises(SinkError, match="too long"):
        VideoSink(tmp_path / f"{'v' * 300}.mp4", 25)
    with pytest.raises(SinkError, match="no name"):
        ResultsSink(Path("."))


@pytest.mark.skipif(os.name == "nt", reason="a pipe there cannot be waited for")
def test_a_reader_that_stops_reading_does_not_hold_a_stopped_run(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "w") as writer:
        monkeypatch.setattr(sys, "stdout", writer)
        monkeypatch.setattr(sinks, "_READER_SECONDS", 0.3)
        sink, written = JsonSink(), []

        def write() -> None:
            for i in range(2000):  # more than a pipe holds
                sink.write(step(i))
                written.append(i)

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        thread.join(2)
        assert thread.is_alive(), "it waits for its reader"
        held = len(written)
        assert 100 < held < 2000
        sink.stop()
        thread.join(20)
        assert not thread.is_alive()
        os.set_blocking(reading, False)
        lines = reader.read().splitlines()
        assert [json.loads(line)["frame"] for line in lines] == list(range(held))


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.mp4").mkdir()
    for path in (tmp_path / "file" / "out.mp4", tmp_path / "folder.mp4"):
        with pytest.raises(SinkError, match="cannot write"):
            VideoSink(path, 25)


def test_results_in_got10k_form(tmp_path: Path) -> None:
    sink = ResultsSink(tmp_path / "r.txt")
    sink.write(step(0))
    sink.write(step(1, Track(Box(1 / 3, 2, 3, 4), 0.1, "lost")))
    assert not (tmp_path / "r.txt").exists()
    sink.close()
    assert (tmp_path / "r.txt").read_text() == "20.500,30.000,40.000,50.000\n0.333,2.000,3.000,4.000\n"
    assert (tmp_path / "r_time.txt").read_text() == "0.012500\n0.012500\n"
    assert len(list(tmp_path.iterdir())) == 2


def test_results_of_several_targets(tmp_path: Path) -> None:
    sink = ResultsSink(tmp_path / "r.txt", 2)
    sink.write(step(0, Track(Box(1, 2, 3, 4), 1.0), Track(Box(5, 6, 7, 8), 1.0)))
    sink.close()
    assert (tmp_path / "r_1.txt").read_text() == "1.000,2.000,3.000,4.000\n"
    assert (tmp_path / "r_2.txt").read_text() == "5.000,6.000,7.000,8.000\n"
    assert results_paths(Path("a.txt"), 1) == [Path("a.txt")]


def test_an_aborted_results_file_is_not_left(tmp_path: Path) -> None:
    sink = ResultsSink(tmp_path / "r.txt")
    sink.write(step(0))
    sink.abort()
    assert not list(tmp_path.iterdir())


def test_json_lines() -> None:
    stream = io.StringIO()
    sink = JsonSink(stream)
    sink.write(step(3))
    sink.close()
    assert json.loads(stream.getvalue()) == {
        "frame": 3,
        "time": 0.1,
        "seconds": 0.0125,
        "targets": [{"id": 1, "box": [20.5, 30.0, 40.0, 50.0], "score": 0.5, "state": "tracking"}],
    }


def test_drawing_stays_inside_any_frame() -> None:
    tracks = [Track(Box(-50, -50, 400, 400), 0.5), Track(Box(0, 0, 1, 1), 0.1, "lost"), Track(Box(30, 30, 9, 9), 0.9)]
    for shape in ((10, 10, 3), (40, 600, 3), (720, 1280, 3)):
        image = np.zeros(shape, np.uint8)
        assert draw(image, tracks, "status") is image
        assert image.any()


def test_fitting_keeps_proportions() -> None:
    canvas = fit(np.full((50, 200, 3), 255, np.uint8), np.zeros((100, 100, 3), np.uint8))
    rows = np.flatnonzero(canvas.any(axis=(1, 2)))
    assert (rows[0], rows[-1]) == (38, 62) or len(rows) in (24, 25, 26)
