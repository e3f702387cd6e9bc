"""Sources: every kind that can be made here, and what is wrong with the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest

from mvt_deploy.errors import SourceError
from mvt_deploy.video import demo
from mvt_deploy.video.sources import LiveSource, VideoSource, natural_order, open_source

CAPTURE = cv2.VideoCapture


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames whose grey level tells their number."""
    path = tmp_path_factory.mktemp("video") / "grey.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for i in range(20):
        writer.write(np.full((48, 64, 3), 10 * i, np.uint8))
    writer.release()
    return path


def levels(source: str | Path) -> list[int]:
    return [round(float(frame.image.mean()) / 10) for frame in open_source(source)]


def test_video_in_order_and_again(video: Path) -> None:
    source = open_source(video)
    assert (source.name, source.fps, source.count, source.live) == ("grey", 25, 20, False)
    for _ in range(2):
        frames = list(source)
        assert [round(float(f.image.mean()) / 10) for f in frames] == list(range(20))
    assert [f.index for f in frames] == list(range(20))
    assert frames[10].time == pytest.approx(0.4)


def test_folder_in_natural_order_and_of_any_depth(tmp_path: Path) -> None:
    for i in (1, 2, 10):
        cv2.imwrite(str(tmp_path / f"img{i}.png"), np.full((20, 30, 3), 10 * i, np.uint8))
    assert levels(tmp_path) == [1, 2, 10]
    assert levels(tmp_path / "img*.png") == [1, 2, 10]
    cv2.imwrite(str(tmp_path / "img11.png"), np.full((9, 9), 120, np.uint8))
    frames = list(open_source(tmp_path))
    assert frames[-1].image.shape == (9, 9, 3)  # one channel becomes BGR, another size stays


def test_sixteen_bits_are_stretched_alike(tmp_path: Path) -> None:
    ramp = np.linspace(1000, 3000, 100, dtype=np.uint16).reshape(10, 10)
    cv2.imwrite(str(tmp_path / "a.png"), ramp)
    cv2.imwrite(str(tmp_path / "b.png"), ramp + 400)
    a, b = (frame.image for frame in open_source(tmp_path))
    assert a.dtype == np.uint8
    assert a.min() == 0
    assert a.max() == 255
    assert (b.astype(int) - a)[2:8].mean() == pytest.approx(51, abs=2)  # 400 of 2000 steps, not stretched anew


def test_names_sort_by_their_numbers() -> None:
    assert [p.name for p in natural_order(Path(n) for n in ("a10", "a9", "a1", "b0"))] == ["a1", "a9", "a10", "b0"]


@pytest.mark.parametrize("what", ["absent", "empty folder", "text as video", "broken image", "cut video", "no match"])
def test_what_cannot_be_opened(tmp_path: Path, video: Path, what: str) -> None:
    place = tmp_path / "x"
    if what == "empty folder":
        place.mkdir()
    elif what == "text as video":
        place = place.with_suffix(".mp4")
        place.write_text("not a video")
    elif what == "broken image":
        place.mkdir()
        (place / "a.png").write_bytes(b"\x89PNG")
    elif what == "cut video":
        place = place.with_suffix(".mp4")
        place.write_bytes(video.read_bytes()[:300])
    elif what == "no match":
        place = tmp_path / "*.png"
    with pytest.raises(SourceError):
        open_source(place)


@pytest.mark.slow
def test_a_video_that_ends_early_gives_its_frames_first(tmp_path: Path) -> None:
    whole = demo.render(tmp_path / "clip.avi")
    data = whole.read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(data[: len(data) // 2])
    frames: list[int] = []
    with pytest.raises(SourceError, match="ends early"):
        frames.extend(frame.index for frame in open_source(cut))
    assert 60 < len(frames) < 200


class Container:
    """A video whose container states what a test wants: rate, count of frames, and a time stamp for every frame."""

    def __init__(self, fps: float, stamps: list[float], count: int) -> None:
        self.fps, self.stamps, self.count = fps, stamps, count
        self.read_so_far = 0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.read_so_far += 1
        if self.read_so_far > len(self.stamps):
            return False, None
        return True, np.full((48, 64, 3), self.read_so_far, np.uint8)

    def get(self, what: int) -> float:
        stamp = self.stamps[min(self.read_so_far, len(self.stamps)) - 1]
        stated = {cv2.CAP_PROP_FPS: self.fps, cv2.CAP_PROP_FRAME_COUNT: self.count, cv2.CAP_PROP_POS_MSEC: 1000 * stamp}
        return float(stated.get(what, 0))

    def release(self) -> None:
        pass


def stated(name: str, fps: float, stamps: list[float], count: int) -> VideoSource:
    return VideoSource(name, capture=cast(cv2.VideoCapture, Container(fps, stamps, count)))


def test_time_stamps_are_kept_where_they_grow() -> None:
    stamps = [5.0, 5.04, 5.5, 5.5, 4.0, 1e12, float("nan"), 6.5]
    times = [frame.time for frame in stated("clip.mkv", 10.0, stamps, len(stamps))]
    assert times == pytest.approx([0, 0.04, 0.5, 0.6, 0.7, 0.8, 0.9, 1.5])


def test_frames_that_come_ever_more_slowly_are_no_sign_of_damage() -> None:
    """A header that gives a duration, and fewer frames than the first rate would make of it: all of them came."""
    steady = [number / 25 for number in range(30)]
    with pytest.raises(SourceError, match="ends early, after 30 of 600"):
        list(stated("clip.mkv", 25, steady, 600))
    slower = [599 / 25 * (number / 29) ** 2 for number in range(30)]
    assert len(list(stated("clip.mkv", 25, slower, 600))) == 30


@pytest.mark.parametrize("source", ["bad\udcff.avi", "http://[bad", f"{'v' * 300}.mp4", "5000000000"])
def test_names_that_nothing_can_have(tmp_path: Path, source: str) -> None:
    if "bad\udcff" in source:
        source = str(tmp_path / source)
        Path(source).write_bytes(b"x")
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source(source)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("boxes_1.txt", b"1,2,3,4\n" * 50),
        ("video.mp4", "Größe\n".encode("latin-1") * 50),
        ("wide.txt", "\ufeff1,2,3,4\n".encode("utf-16-le") * 50),
        ("list.m3u8", b"#EXTM3U\n/etc/passwd\n"),
        ("list.avi", b"ffconcat version 1.0\nfile grey.avi\n"),
        ("none.mp4", b""),
    ],
)
def test_only_videos_and_images_are_opened(tmp_path: Path, video: Path, name: str, content: bytes) -> None:
    (tmp_path / "grey.avi").write_bytes(video.read_bytes())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=f"{name}' is (text, not a video|empty)"):
        open_source(tmp_path / name)


def test_raw_video_with_a_header_of_text_is_opened(tmp_path: Path) -> None:
    (tmp_path / "grey.y4m").write_bytes(b"YUV4MPEG2 W64 H48 F25:1 C420\n" + (b"FRAME\n" + b"\x60" * 4608) * 3)
    assert len(list(open_source(tmp_path / "grey.y4m"))) == 3


def test_printf_patterns(tmp_path: Path) -> None:
    for i in (8, 9, 10, 100):
        cv2.imwrite(str(tmp_path / f"f{i:02}.png"), np.full((20, 30, 3), i, np.uint8))
    (tmp_path / "f11.txt").write_text("no picture")
    means = [round(float(frame.image.mean())) for frame in open_source(tmp_path / "f%02d.png")]
    assert means == [8, 9, 10, 100]
    assert [round(float(f.image.mean())) for f in open_source(tmp_path / "f%d.png")] == [10, 100]  # 08 is no %d
    with pytest.raises(SourceError, match="no image matches"):
        open_source(tmp_path / "g%02d.png")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What OpenCV was asked to open."""
    names: list[str] = []

    def counting(*arguments: object) -> cv2.VideoCapture:
        names.append(str(arguments[0]))
        return CAPTURE(*arguments)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(cv2, "VideoCapture", counting)
    return names


def test_a_recording_is_opened_once(video: Path, opened: list[str]) -> None:
    source = open_source(video)
    assert source.first().image is source.first().image
    for index, _ in enumerate(source):  # a look at the first frames, as the search for a target takes
        if index == 7:
            break
    frames = list(source)
    assert [round(float(f.image.mean()) / 10) for f in frames] == list(range(20))
    assert [f.time for f in frames] == pytest.approx(np.arange(20) / 25)
    assert opened == [str(video)]
    assert len(list(source)) == 20
    assert len(opened) == 2  # it was read to its end


def test_two_iterations_at_once_do_not_disturb_each_other(video: Path) -> None:
    source = open_source(video)
    for a, b in zip(source, source, strict=True):
        assert np.array_equal(a.image, b.image)


class Stated:
    """A container that states an absurd rate."""

    def __init__(self, name: str) -> None:
        self._capture = CAPTURE(name)

    def __getattr__(self, name: str) -> object:
        return getattr(self._capture, name)

    def get(self, what: int) -> float:
        return 90_000.0 if what == cv2.CAP_PROP_FPS else self._capture.get(what)


def test_an_absurd_rate_is_measured_and_told(
    video: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Stated)
    source = open_source(video)
    assert source.fps == pytest.approx(25)
    assert "states a rate of 90000" in caplog.text
    assert [round(float(f.image.mean()) / 10) for f in source] == list(range(20))


def test_a_fast_camera_s_rate_is_kept(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "fast.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 1000, (64, 48))
    for i in range(5):
        writer.write(np.full((48, 64, 3), 10 * i, np.uint8))
    writer.release()
    assert open_source(tmp_path / "fast.avi").fps == pytest.approx(1000)


def test_messages_name_the_whole_file(video: Path, tmp_path: Path) -> None:
    assert open_source(video).title == "grey.avi"
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((9, 9, 3), np.uint8))
    assert open_source(tmp_path).title == tmp_path.name
    assert open_source(tmp_path / "a.png").title == "a.png"


def test_a_stream_is_live(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = LiveSource(str(video), "stream")
    assert source.live
    assert [f.index for f in source] == list(range(20))
    source.close()
    source.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak memory as Linux counts it")
@pytest.mark.parametrize("length", [0x7FFFFFFF, 4 << 20])
def test_a_png_takes_no_more_memory_than_it_has_bytes(tmp_path: Path, length: int) -> None:
    """OpenCV 5 reserves what a chunk claims: 2 GB here, for a picture of 200 bytes."""
    sound = cv2.imencode(".png", np.zeros((12, 16, 3), np.uint8))[1].tobytes()
    (tmp_path / "picture.png").write_bytes(sound[:33] + length.to_bytes(4, "big") + sound[37:])
    script = """
import resource, sys
from mvt_deploy.errors import SourceError
from mvt_deploy.video.sources import open_source
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    open_source(sys.argv[1])
except SourceError:
    pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "picture.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 300
