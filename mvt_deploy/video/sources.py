"""Where frames come from: video files, folders and globs of images, cameras and streams, all as BGR uint8.

A recorded source can be iterated again and again, each time from its first frame. A live source (camera, stream) goes
on from where it is; whoever reads it decides what to drop (see :mod:`mvt_deploy.video.pipeline`).
"""

from __future__ import annotations

import glob
import os
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import SourceError
from ..geometry import BGRImage
from .events import fields, log

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".jp2", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
DEFAULT_FPS = 30.0
"""Used where a source does not say, or says something absurd."""

_EXACT_COUNT = frozenset({".avi", ".m4v", ".mov", ".mp4"})  # their headers count frames; the others give a duration
_LONGEST_STEP = 3600.0  # seconds from one frame to the next: a time stamp further on is damaged
_TIMEOUT_MS = 10_000  # a network stream that stays silent longer than this has ended
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds before a source is tried again; doubled from the first to the last


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture: ``index`` from 0, ``time`` in seconds since the first frame, ``image`` BGR uint8 ``[H, W, 3]``."""

    index: int
    time: float
    image: BGRImage


class Source(ABC):
    """Frames in order.

    Attributes:
        name: short, for messages and default file names.
        place: the file or folder the frames come from; None for cameras and streams.
        fps: frames per second, always a usable number.
        count: how many frames there should be, or None if nobody knows.
        live: frames keep coming whether or not somebody reads them.
        reconnects: how often a live source went away and came back.
    """

    name: str
    place: Path | None = None
    fps: float = DEFAULT_FPS
    count: int | None = None
    live: bool = False
    reconnects: int = 0

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Frames in order.

        Raises:
            SourceError: a frame cannot be decoded, or the source ends early; the frames before it were given.
        """

    def first(self) -> Frame:
        """The first frame of a recorded source, the next one of a live source.

        Raises:
            SourceError: there is none.
        """
        for frame in self:
            return frame
        raise SourceError(f"'{self.name}' has no frame that can be decoded: check that it plays elsewhere.")

    def stop(self) -> None:  # noqa: B027 (most sources never wait)
        """Ask an iteration in another thread to wait for nothing any more."""

    def close(self) -> None:  # noqa: B027 (nothing to free is a fine default)
        """Free the device or connection; calling it twice is allowed."""


def open_source(source: str | int | Path, reconnect: bool = False) -> Source:
    """Open a video file, a folder of images, a glob, a camera index or a stream URL.

    Args:
        source: a path, a pattern such as ``frames/*.png``, a whole number for a camera, or a URL.
        reconnect: a camera or stream that goes away is opened again, as often and as long as it takes.

    Returns:
        A source of which at least the first frame is known to decode (live sources: which has been opened).

    Raises:
        SourceError: it does not exist, is empty, or cannot be decoded; or ``reconnect`` is asked of a recording.
    """
    quiet_opencv()
    try:
        opened = _open(str(source), reconnect)
    except (OSError, ValueError, cv2.error) as error:  # too long a name, half an address, no such number
        reason = "OpenCV refuses it" if isinstance(error, cv2.error) else getattr(error, "strerror", None) or error
        raise SourceError(f"'{source}' cannot be opened ({reason}): check the path or address.") from error
    if reconnect and not opened.live:
        raise SourceError(f"'{opened.name}' is a recording: --reconnect is for cameras and streams, leave it out.")
    return opened


def _open(text: str, reconnect: bool) -> Source:
    if text.isdecimal() and not Path(text).exists():
        return LiveSource(int(text), f"camera {text}", reconnect)
    url = urlparse(text)
    if url.scheme == "file":
        return _open_path(Path(url2pathname(url.path)))
    if "://" in text:
        return _open_url(text, Path(url.path).stem or url.hostname or "stream", reconnect)
    return _open_path(Path(text))


def fit_for_opencv(name: str | Path) -> bool:
    """Whether a name is UTF-8: OpenCV 5.0 ends the whole process at others."""
    try:
        str(name).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def quiet_opencv() -> None:
    """Keep OpenCV and FFmpeg from writing their own lines to stderr, unless the user set their log levels."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        place: Any = getattr(cv2.utils, "logging", cv2)  # OpenCV 5 moved it there, 4 has it at the top
        place.setLogLevel(0)  # silent


def _open_path(path: Path) -> Source:
    if path.is_dir():
        return _checked(ImageSource(_folder_images(path), path.name or path.resolve().name, path))
    if path.exists():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return _checked(ImageSource([path], path.stem, path))
        return _checked(VideoSource(path))
    if not glob.has_magic(str(path)):
        raise SourceError(f"there is no file, folder or camera '{path}': check the path.")
    images = natural_order(Path(p) for p in glob.glob(str(path), recursive=True) if _is_image(Path(p)))
    if not images:
        raise SourceError(
            f"no image matches '{path}': quote the pattern, and check that it names {_image_kinds()} files."
        )
    folder = images[0].parent
    return _checked(ImageSource(images, folder.resolve().name, folder))


def _open_url(url: str, name: str, reconnect: bool) -> Source:
    live = LiveSource(url, name, reconnect)
    if live.count is None:
        return live
    live.close()  # a recording behind a URL: every frame counts, nothing is dropped
    return _checked(VideoSource(url, name))


def _checked(source: Source) -> Source:
    source.first()
    return source


class VideoSource(Source):
    """A recorded video, by path or URL."""

    def __init__(self, video: Path | str, name: str | None = None) -> None:
        self._video = str(video)
        if not fit_for_opencv(self._video):
            raise SourceError(f"{self._video!a} cannot be opened: OpenCV needs names in UTF-8; rename it.")
        self.place = video if isinstance(video, Path) else None
        self.name = name or Path(video).stem
        capture = self._open()
        self.fps = _frame_rate(capture)
        self.count = _frame_count(capture)
        capture.release()

    def __iter__(self) -> Iterator[Frame]:
        capture, index, clock = self._open(), 0, _Clock(self.fps)
        try:
            while (image := _read(capture)) is not None:
                yield Frame(index, clock.tick(float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000), image)
                index += 1
        finally:
            capture.release()
        self._check_end(index, clock.time)

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self._video)
        if not capture.isOpened():
            raise SourceError(
                f"'{self._video}' is not a video that can be decoded here (damaged, cut off, or an unknown format): "
                "check that it plays, or convert it to mp4."
            )
        return capture

    def _check_end(self, read: int, reached: float) -> None:
        if not read:
            raise SourceError(f"'{self._video}' holds no frame that can be decoded: check that it plays elsewhere.")
        if self.count is None:
            return
        exact = Path(self._video).suffix.lower() in _EXACT_COUNT
        come = read if exact else max(read, round(reached * self.fps) + 1)  # a duration, whatever the rate on the way
        if self.count - come > max(3, (0.01 if exact else 0.1) * self.count):
            raise SourceError(
                f"'{self._video}' ends early, after {read} of {self.count} frames: it is damaged or cut off; "
                "the frames so far are kept."
            )


class _Clock:
    """Seconds since the first frame, from the container's time stamps where they grow, else from the frame rate."""

    def __init__(self, fps: float) -> None:
        self.time = 0.0
        self._step = 1 / fps
        self._first: float | None = None

    def tick(self, stamp: float) -> float:
        if self._first is None:
            self._first = stamp
        else:
            since = stamp - self._first
            self.time = since if self.time < since < self.time + _LONGEST_STEP else self.time + self._step
        return self.time


class ImageSource(Source):
    """Images as a sequence. Their sizes may differ: boxes are in the pixels of each image.

    Images of one channel become BGR. Those of 16 bits are stretched to 8 with one linear map for the whole sequence,
    taken from the first image (0.1 to 99.9 percent of its values), so that the brightness does not flicker.
    """

    def __init__(self, images: list[Path], name: str, place: Path) -> None:
        self._images = images
        self.name = name
        self.place = place
        self.count = len(images)

    def __iter__(self) -> Iterator[Frame]:
        levels: tuple[float, float] | None = None
        for index, path in enumerate(self._images):
            image = _read_image(path)
            if image.dtype != np.uint8:
                levels = levels or _levels(image)
                image = _stretch(image, *levels)
            yield Frame(index, index / self.fps, np.asarray(image, np.uint8))


class LiveSource(Source):
    """A camera or a network stream, read until it ends.

    Args:
        device: a camera's number or a URL.
        name: short, for messages.
        reconnect: when it ends or stays silent, open it again, waiting twice as long after every failure (0.5 to
            30 s), until :meth:`stop`. Numbers and times of frames go on.
    """

    live = True

    def __init__(self, device: int | str, name: str, reconnect: bool = False) -> None:
        self.name = name
        self._device = device
        self._reconnect = reconnect
        self._capture = _open_live(device)
        self.fps = _frame_rate(self._capture)
        self.count = _frame_count(self._capture)
        self._started: float | None = None
        self._index = 0
        self._wait = _FIRST_WAIT
        self._gone: float | None = None
        self._stopped = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            image = _read(self._capture)
            if image is None:
                if self._reconnect and self._reopen():
                    continue
                return
            now = time.monotonic()
            if self._gone is not None:
                self._came_back(now - self._gone)
            self._started = now if self._started is None else self._started
            yield Frame(self._index, now - self._started, image)
            self._index += 1

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        self._capture.release()

    def _reopen(self) -> bool:
        """Whether it opens again, which may take any time; False once nobody waits for it."""
        if self._gone is None:
            self._gone = time.monotonic()
            log.warning("'%s' gives no frames: trying to open it again", self.name, extra=fields(frame=self._index))
        self._capture.release()
        while not self._stopped.wait(self._wait):
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
            try:
                self._capture = _open_live(self._device)
            except SourceError:
                continue
            return True
        return False

    def _came_back(self, seconds: float) -> None:
        self.reconnects += 1
        self._wait, self._gone = _FIRST_WAIT, None
        log.warning("'%s' is back after %.1f s", self.name, seconds, extra=fields(reconnects=self.reconnects))


def _open_live(device: int | str) -> cv2.VideoCapture:
    if isinstance(device, int):
        capture = cv2.VideoCapture(device)
        remedy = f"camera {device} cannot be opened: check that it is connected, free and readable by you."
    else:
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT_MS]
        capture = cv2.VideoCapture(device, cv2.CAP_FFMPEG, timeouts)
        if not capture.isOpened():  # for instance a build of OpenCV that has GStreamer only
            capture = cv2.VideoCapture(device)
        remedy = (
            f"the stream '{_without_password(device)}' cannot be opened: "
            "check the address, the network and that it plays elsewhere."
        )
    if not capture.isOpened():
        raise SourceError(remedy)
    return capture


def _without_password(url: str) -> str:
    """The URL as it may stand in a log."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", url)


def _read(capture: cv2.VideoCapture) -> BGRImage | None:
    ok, image = capture.read()
    if not ok or image is None:
        return None
    return _as_bgr(np.asarray(image, np.uint8))


def _frame_rate(capture: cv2.VideoCapture) -> float:
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if 0.1 <= fps <= 480 else DEFAULT_FPS  # NaN fails both comparisons


def _frame_count(capture: cv2.VideoCapture) -> int | None:
    count = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return int(count) if 0 < count < 1e9 else None


def _folder_images(folder: Path) -> list[Path]:
    """The images of a folder, or of its sub-folder ``img`` as tracking data sets have it."""
    for place in (folder, folder / "img"):
        if place.is_dir() and (images := natural_order(p for p in place.iterdir() if _is_image(p))):
            return images
    raise SourceError(f"the folder '{folder}' holds no image ({_image_kinds()}): give the folder with the frames.")


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _image_kinds() -> str:
    return ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))


def natural_order(paths: Iterator[Path]) -> list[Path]:
    """Sorted so that ``img2`` comes before ``img10``."""

    def key(path: Path) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", str(path))
        return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]

    return sorted(paths, key=key)


def _read_image(path: Path) -> npt.NDArray[np.generic]:
    """BGR ``[H, W, 3]``, uint8 or deeper; read through numpy so that any file name works on any system."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise SourceError(f"the image '{path}' cannot be read: {error.strerror or error}.") from error
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH) if data.size else None
    except cv2.error:  # more pixels than OpenCV reads
        image = None
    if image is None:
        raise SourceError(f"the image '{path}' is damaged or of an unknown format: remove or replace it.")
    return np.asarray(image)


def _as_bgr(image: npt.NDArray[np.uint8]) -> BGRImage:
    """Cameras can be set to give grey or four-channel frames."""
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.ascontiguousarray(image[:, :, :3]) if channels > 3 else image


def _levels(image: npt.NDArray[np.generic]) -> tuple[float, float]:
    """The values of a deep image that become black and white."""
    low, high = np.nanpercentile(np.asarray(image, np.float32), (0.1, 99.9))
    return float(low), max(float(high), float(low) + 1e-6)


def _stretch(image: npt.NDArray[np.generic], low: float, high: float) -> BGRImage:
    scaled = (np.nan_to_num(np.asarray(image, np.float32)) - low) * (255.0 / (high - low))
    return np.asarray(np.clip(np.rint(scaled), 0, 255), np.uint8)
