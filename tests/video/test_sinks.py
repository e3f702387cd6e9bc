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
from mvt_deploy.video.overlay import PALETTE, draw, draw_grid
from mvt_deploy.video.pipeline import Step
from mvt_deploy.video.sinks import JsonSink, ResultsSink, VideoSink, fit, results_paths
from mvt_deploy.video.sources import Frame


def step(index: int, *tracks: Track, shape: tuple[int, int] = (120, 160)) -> Step:
    image = np.full((*shape, 3), 90, np.uint8)
    return Step(Frame(index, index / 30, image), tracks or (Track(Box(20.5, 30, 40, 50), 0.5),), 0.0125, 0.01, 80.0)


@pytest.mark.parametrize("ending", [".mp4", ".avi", ".webm", ".mkv"])
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


def spans(path: Path) -> tuple[int, float]:
    """Number of frames of a video, and its duration in seconds."""
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count, count / capture.get(cv2.CAP_PROP_FPS)


def at(index: int, seconds: float) -> Step:
    made = step(index)
    return Step(Frame(index, seconds, made.frame.image), made.tracks, 0.01, 0.01, 30.0)


def test_a_video_lasts_as_long_as_its_source(tmp_path: Path) -> None:
    """Variable frame rate: half of the frames stand twice as long as the stated rate says."""
    sink, seconds = VideoSink(tmp_path / "out.mp4", 25.0), 0.0
    for i in range(24):
        sink.write(at(i, seconds))
        seconds += 0.04 if i < 12 else 0.08
    sink.close()
    count, duration = spans(tmp_path / "out.mp4")
    assert duration == pytest.approx(1.44, abs=0.045)  # the last frame is shown once
    assert count == 35


def test_no_frame_is_left_out_where_they_come_too_fast_and_a_gap_is_no_endless_still(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.avi", 2.0)
    for i, seconds in enumerate((5.0, 5.1, 5.2, 7.0, 9007.0, 9007.5)):
        sink.write(at(i, seconds))
    sink.close()
    assert spans(tmp_path / "out.avi")[0] == 4 + 1 + 120 + 2  # 7.0 is due in slot 4; then a minute; then two frames


def test_an_animated_gif(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.gif", 25.0)
    for i in range(50):
        sink.write(step(i, shape=(720, 1280)) if i else at(0, 0.0))
    sink.close()
    assert (tmp_path / "out.gif").read_bytes()[:6] == b"GIF89a"
    capture = cv2.VideoCapture(str(tmp_path / "out.gif"))
    count = 0
    while capture.read()[0]:
        count += 1
    assert count == pytest.approx(50 / 30 * 12.5, abs=5)
    assert [p.name for p in tmp_path.iterdir()] == ["out.gif"]


def test_a_video_without_frames_is_not_left(tmp_path: Path) -> None:
    VideoSink(tmp_path / "out.mp4", 25).close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out.txt", "out", "out.wmv"])
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


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a pipe there cannot be waited for")
def test_a_reader_that_stops_reading_does_not_hold_a_stopped_run(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "w") as writer:
        monkeypatch.setattr(sys, "stdout", writer)
        monkeypatch.setattr(sinks, "READER_SECONDS", 0.3)
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


SIZES = [(48, 64), (243, 321), (272, 640), (480, 854), (854, 480), (720, 1280), (2160, 3840)]


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_a_box_is_seen_in_its_colour_on_frames_of_any_size(shape: tuple[int, int]) -> None:
    height, width = shape
    image = np.full((height, width, 3), 90, np.uint8)
    box = Box(0.4 * width, 0.4 * height, 0.3 * width, 0.3 * height)
    draw(image, [Track(box, 0.5)], "frame 12  30.0 fps")
    row = image[round(box.y + box.h / 2), : round(box.x + box.w / 2)].astype(int)
    assert (np.abs(row - PALETTE[0]).max(axis=1) == 0).sum() >= 2, "two pixels of colour on the left edge"
    inside = image[
        round(box.y + 0.25 * box.h) : round(box.y + 0.75 * box.h),
        round(box.x + width // 10) : round(box.x + 0.2 * width),
    ]
    assert (inside == 90).all(), "nothing covers the target"
    labels = (np.abs(image[: round(0.4 * height) - 3].astype(int) - 90).max(axis=2) > 0).mean()
    assert labels < 0.2
    assert (labels > 0) == (height > 100), "no label and no line about the run on a tiny frame"


def test_a_grid_names_the_frame_s_own_pixels() -> None:
    small, large = np.full((48, 64, 3), 90, np.uint8), np.full((1080, 1920, 3), 90, np.uint8)
    assert draw_grid(small).shape == (48 * 13, 64 * 13, 3)
    picture = draw_grid(large)
    assert picture.shape == large.shape
    assert (large == 90).all(), "the frame itself stays as it was"
    lines = np.flatnonzero((picture[500:1000] != 90).any(axis=2).all(axis=0))
    assert 200 in lines
    assert 1000 in lines
    assert 300 not in lines


def test_a_reader_that_goes_away_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as writer:
        monkeypatch.setattr(sys, "stdout", writer)
        sink = JsonSink()
        assert not sink.reader_gone
        for i in range(3):
            sink.write(step(i))
        assert sink.reader_gone


def test_fitting_keeps_proportions() -> None:
    canvas = fit(np.full((50, 200, 3), 255, np.uint8), np.zeros((100, 100, 3), np.uint8))
    rows = np.flatnonzero(canvas.any(axis=(1, 2)))
    assert (rows[0], rows[-1]) == (38, 62) or len(rows) in (24, 25, 26)
