"""Where frames come from: video files, folders and patterns of images, cameras and streams, all as BGR uint8.

A recorded source can be iterated again and again, each time from its first frame. A live source (camera, stream) goes
on from where it is; whoever reads it decides what to drop (see :mod:`mvt_deploy.video.pipeline`).
"""

from __future__ import annotations

import glob
import re
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import SourceError
from ..geometry import BGRImage
from ..process import quiet_opencv
from .events import fields, log

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".jp2", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
DEFAULT_FPS = 30.0
"""Frames per second of sources that do not state a usable rate."""
STREAM_TIMEOUT = 10.0
"""Seconds after which a network stream that stays silent has ended."""
RECONNECT_WAITS = (0.5, 30.0)
"""Seconds before a live source is tried again: doubled after every failure, from the first value to the last."""

_EXACT_COUNT = frozenset({".avi", ".m4v", ".mov", ".mp4"})  # their headers count frames; the others give a duration
_LONGEST_STEP = 3600.0  # seconds from one frame to the next: a time stamp further on is damaged
_TRUSTED_FPS = (0.1, 480.0)  # a rate outside is often a time base, and is measured on the first two frames
_MEASURED_FPS = (0.1, 10_000.0)
_SNIFFED_BYTES = 4096
_PNG = b"\x89PNG\r\n\x1a\n"
_CUT_OFF = 64 << 20  # bytes that a PNG file may lack: its first rows can still be decoded


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        index: Number of the frame, from 0.
        time: Seconds since the first frame.
        image: BGR uint8 ``[H, W, 3]``; it is not to be changed.
    """

    index: int
    time: float
    image: BGRImage


class Source(ABC):
    """Frames in order.

    Attributes:
        name: Short name without a file's ending, for default file names.
        place: File or folder that the frames come from; None for cameras and streams.
        fps: Frames per second, always a usable number.
        count: Number of frames there should be, or None where it is not known.
        live: Whether frames keep coming whether or not somebody reads them.
        reconnects: Number of times a live source went away and came back.
    """

    name: str
    place: Path | None = None
    fps: float = DEFAULT_FPS
    count: int | None = None
    live: bool = False
    reconnects: int = 0

    @property
    def title(self) -> str:
        """What messages call the source: a file's whole name, otherwise :attr:`name`."""
        return self.place.name if self.place is not None and self.place.is_file() else self.name

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Frames in order.

        Raises:
            SourceError: A frame cannot be decoded, or the source ends early; the frames before it were given.
        """

    def first(self) -> Frame:
        """The first frame of a recorded source, the next one of a live source.

        Raises:
            SourceError: There is none.
        """
        for frame in self:
            return frame
        raise SourceError(f"'{self.title}' has no frame that can be decoded: check that it plays elsewhere.")

    def stop(self) -> None:  # noqa: B027 (most sources never wait)
        """Make an iteration in another thread give up waiting for a camera or stream."""

    def close(self) -> None:  # noqa: B027 (nothing to free is a fine default)
        """Free the device or connection; calling it twice is allowed."""


def open_source(source: str | int | Path, reconnect: bool = False) -> Source:
    """Open a video file, images, a camera or a stream.

    Args:
        source: Path of a video, an image or a folder of images; a pattern of images, as ``frames/*.png`` or
            ``frames/%05d.png``; a whole number for a camera; or a URL.
        reconnect: Open a camera or stream that goes away again, as often and as long as it takes.

    Returns:
        A source of which at least the first frame decodes (live sources: which has been opened).

    Raises:
        SourceError: It does not exist, is empty, is no video or image, or cannot be decoded; or ``reconnect`` is asked
            of a recording.
    """
    quiet_opencv()
    try:
        opened = _open(str(source), reconnect)
    except (OSError, ValueError, cv2.error) as error:  # too long a name, half an address, no such number
        reason = "OpenCV refuses it" if isinstance(error, cv2.error) else getattr(error, "strerror", None) or error
        raise SourceError(f"'{source}' cannot be opened ({reason}): check the path or address.") from error
    if reconnect and not opened.live:
        opened.close()
        raise SourceError(f"'{opened.title}' is a recording: --reconnect is for cameras and streams, leave it out.")
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


def _open_path(path: Path) -> Source:
    if path.is_dir():
        return ImageSource(_folder_images(path), path.name or path.resolve().name, path)
    if path.exists():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return ImageSource([path], path.stem, path)
        if path.is_file() and fit_for_opencv(path):  # no device or pipe; other names VideoSource refuses
            _refuse_text(path)
        return VideoSource(path)
    if images := _numbered_images(path) if "%" in path.name else []:
        return ImageSource(images, path.parent.resolve().name, path.parent)
    if not glob.has_magic(str(path)) and "%" not in path.name:
        raise SourceError(f"there is no file, folder or camera '{path}': check the path.")
    images = natural_order(Path(p) for p in glob.glob(str(path), recursive=True) if _is_image(Path(p)))
    if not images:
        raise SourceError(
            f"no image matches '{path}': quote the pattern, and check that it names {_image_kinds()} files."
        )
    folder = images[0].parent
    return ImageSource(images, folder.resolve().name, folder)


def _open_url(url: str, name: str, reconnect: bool) -> Source:
    capture = _open_live(url)
    if _frame_count(capture) is None:
        return LiveSource(url, name, reconnect, capture)
    return VideoSource(url, name, capture)  # a recording behind a URL: every frame counts, none is dropped


def _refuse_text(path: Path) -> None:
    """FFmpeg renders text as a video of a terminal, and follows the file names in playlists.

    Raises:
        SourceError: The file is text or empty.
    """
    with path.open("rb") as file:
        start = file.read(_SNIFFED_BYTES)
    if not start:
        raise SourceError(f"'{path}' is empty: give a video, an image or a folder of images.")
    wide = start.startswith((b"\xff\xfe", b"\xfe\xff")) and len(start) > 2 and 0 in start[2:4]  # UTF-16, UTF-32
    controls = set(range(32)) - set(b"\t\n\v\f\r\b\x1b")
    if start.startswith(b"YUV4MPEG2") or not (wide or controls.isdisjoint(start)):
        return
    raise SourceError(f"'{path}' is text, not a video: give a video, an image or a folder of images.")


class VideoSource(Source):
    """A recorded video.

    The file is opened once: its first frame is decoded here, and the first iteration goes on from there. A later
    iteration rewinds a capture that is not in use, or opens the file again.

    Args:
        video: Path or URL.
        name: Short name; None for the file's name without its ending.
        capture: The video, if it is already open and nothing has been read from it.

    Raises:
        SourceError: It cannot be opened, or not one frame can be decoded.
    """

    def __init__(self, video: Path | str, name: str | None = None, capture: cv2.VideoCapture | None = None) -> None:
        self._video = str(video)
        if not fit_for_opencv(self._video):
            raise SourceError(f"{self._video!a} cannot be opened: OpenCV needs names in UTF-8; rename it.")
        self.place = video if isinstance(video, Path) else None
        self.name = name or Path(video).stem
        self._idle: _Reading | None = None  # opened, and used by no iteration
        reading = _Reading(capture or self._open())
        first = reading.next()
        if first is None:
            reading.capture.release()
            raise SourceError(f"'{self._video}' holds no frame that can be decoded: check that it plays elsewhere.")
        self._first = first
        self.fps = self._frame_rate(reading)
        self.count = _frame_count(reading.capture)
        self._idle = reading

    def first(self) -> Frame:
        """The first frame; nothing is decoded again."""
        return Frame(0, 0.0, self._first.image)

    def __iter__(self) -> Iterator[Frame]:
        reading, index, clock = self._from_the_start(), 0, _Clock(self.fps)
        picture: _Picture | None = self._first
        try:
            while picture is not None:
                yield Frame(index, clock.tick(picture.stamp), picture.image)
                index += 1
                picture = reading.next()
            reading.capture.release()
        finally:
            if picture is not None:
                self.close()
                self._idle = reading
        self._check_end(index, clock.time)

    def close(self) -> None:
        """Close the file, unless an iteration reads it; a later iteration opens it again."""
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.capture.release()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self._video)
        if not capture.isOpened():
            raise SourceError(
                f"'{self._video}' is not a video that can be decoded here (damaged, cut off, or an unknown format): "
                "check that it plays, or convert it to mp4."
            )
        return capture

    def _from_the_start(self) -> _Reading:
        """A reading whose next picture is the second one."""
        reading, self._idle = self._idle, None
        if reading is not None and not reading.rewind(self._first):
            reading.capture.release()
            reading = None
        if reading is None:
            reading = _Reading(self._open())
            reading.next()
        return reading

    def _frame_rate(self, reading: _Reading) -> float:
        """The container's rate; where that cannot be trusted, the rate of the first two frames."""
        stated = float(reading.capture.get(cv2.CAP_PROP_FPS))
        if _TRUSTED_FPS[0] <= stated <= _TRUSTED_FPS[1]:  # false for NaN
            return stated
        second = reading.peek()
        step = second.stamp - self._first.stamp if second else 0.0
        fps = 1 / step if 1 / _MEASURED_FPS[1] <= step <= 1 / _MEASURED_FPS[0] else DEFAULT_FPS
        if abs(stated - fps) > 0.01 * fps:
            log.warning("'%s' states a rate of %g frames per second: taken for %.4g", self.title, stated, fps)
        return fps

    def _check_end(self, read: int, reached: float) -> None:
        if self.count is None:
            return
        exact = Path(self._video).suffix.lower() in _EXACT_COUNT
        come = read if exact else max(read, round(reached * self.fps) + 1)  # a duration, whatever the rate on the way
        if self.count - come > max(3, (0.01 if exact else 0.1) * self.count):
            raise SourceError(
                f"'{self._video}' ends early, after {read} of {self.count} frames: it is damaged or cut off; "
                "the frames so far are kept."
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """A decoded picture, BGR uint8 ``[H, W, 3]``, and its time stamp in seconds."""

    stamp: float
    image: BGRImage


@dataclass(slots=True)
class _Reading:
    """An open capture and how far it has been read."""

    capture: cv2.VideoCapture
    read: int = 0
    waiting: deque[_Picture] = field(default_factory=deque)

    def next(self) -> _Picture | None:
        """The next picture, or None at the end."""
        picture = self.waiting.popleft() if self.waiting else self._decode()
        self.read += picture is not None
        return picture

    def peek(self) -> _Picture | None:
        """The next picture, which :meth:`next` will give again."""
        if not self.waiting and (picture := self._decode()) is not None:
            self.waiting.append(picture)
        return self.waiting[0] if self.waiting else None

    def rewind(self, first: _Picture) -> bool:
        """Go back to where the second picture is next; False where the video cannot be rewound exactly."""
        if self.read == 1:
            return True
        self.waiting.clear()
        self.capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
        again = self._decode()
        self.read = 1
        return again is not None and again.stamp == first.stamp and np.array_equal(again.image, first.image)

    def _decode(self) -> _Picture | None:
        image = _read(self.capture)
        return None if image is None else _Picture(float(self.capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000, image)


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

    Args:
        images: Files in order, at least one.
        name: Short name.
        place: File or folder that the images are known by.

    Raises:
        SourceError: The first image cannot be decoded.
    """

    def __init__(self, images: list[Path], name: str, place: Path) -> None:
        self._images = images
        self.name = name
        self.place = place
        self.count = len(images)
        self._levels: tuple[float, float] | None = None
        self._first = self._read(images[0])

    def first(self) -> Frame:
        """The first frame; nothing is decoded again."""
        return Frame(0, 0.0, self._first)

    def __iter__(self) -> Iterator[Frame]:
        yield self.first()
        for index, path in enumerate(self._images[1:], 1):
            yield Frame(index, index / self.fps, self._read(path))

    def _read(self, path: Path) -> BGRImage:
        image = _read_image(path)
        if image.dtype != np.uint8:
            self._levels = self._levels or _levels(image)
            image = _stretch(image, *self._levels)
        return np.asarray(image, np.uint8)


class LiveSource(Source):
    """A camera or a network stream, read until it ends.

    Args:
        device: Number of a camera, or a URL.
        name: Short name.
        reconnect: When it ends or stays silent, open it again, waiting twice as long after every failure (0.5 to
            30 s), until :meth:`stop` is called. Numbers and times of frames go on.
        capture: The device, if it is already open.

    Raises:
        SourceError: It cannot be opened.
    """

    live = True

    def __init__(
        self, device: int | str, name: str, reconnect: bool = False, capture: cv2.VideoCapture | None = None
    ) -> None:
        self.name = name
        self._device = device
        self._reconnect = reconnect
        self._capture = capture or _open_live(device)
        stated = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = stated if _TRUSTED_FPS[0] <= stated <= _TRUSTED_FPS[1] else DEFAULT_FPS
        self.count = _frame_count(self._capture)
        self._started: float | None = None
        self._index = 0
        self._wait = RECONNECT_WAITS[0]
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
            self._wait = min(2 * self._wait, RECONNECT_WAITS[1])
            try:
                self._capture = _open_live(self._device)
            except SourceError:
                continue
            return True
        return False

    def _came_back(self, seconds: float) -> None:
        self.reconnects += 1
        self._wait, self._gone = RECONNECT_WAITS[0], None
        log.warning("'%s' is back after %.1f s", self.name, seconds, extra=fields(reconnects=self.reconnects))


def _open_live(device: int | str) -> cv2.VideoCapture:
    if isinstance(device, int):
        capture = cv2.VideoCapture(device)
        remedy = f"camera {device} cannot be opened: check that it is connected, free and readable by you."
    else:
        limit = round(1000 * STREAM_TIMEOUT)
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
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


def _frame_count(capture: cv2.VideoCapture) -> int | None:
    count = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return int(count) if 0 < count < 1e9 else None


def _folder_images(folder: Path) -> list[Path]:
    """The images of a folder, or of its sub-folder ``img`` as tracking data sets have it."""
    for place in (folder, folder / "img"):
        if place.is_dir() and (images := natural_order(p for p in place.iterdir() if _is_image(p))):
            return images
    raise SourceError(f"the folder '{folder}' holds no image ({_image_kinds()}): give the folder with the frames.")


def _numbered_images(pattern: Path) -> list[Path]:
    """The images of a pattern such as ``frames/%05d.jpg``, by number."""
    found = re.fullmatch(r"([^%]*)%(?:0?(\d+))?d([^%]*)", pattern.name)
    if found is None or not pattern.parent.is_dir():
        return []
    digits = int(found[2] or 1)
    name = re.compile(rf"{re.escape(found[1])}(\d{{{digits}}}|[1-9]\d{{{digits},}}){re.escape(found[3])}")
    numbered = [(int(m[1]), p) for p in pattern.parent.iterdir() if (m := name.fullmatch(p.name)) and _is_image(p)]
    return [path for _, path in sorted(numbered)]


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
        sound = data.size > 0 and not _has_false_chunk(data)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH) if sound else None
    except cv2.error:  # more pixels than OpenCV reads
        image = None
    if image is None:
        raise SourceError(f"the image '{path}' is damaged or of an unknown format: remove or replace it.")
    return np.asarray(image)


def _has_false_chunk(data: npt.NDArray[np.uint8]) -> bool:
    """Whether a PNG file has a chunk that claims far more bytes than the file has: OpenCV 5 reserves what it claims."""
    at = len(_PNG)
    if data[:at].tobytes() != _PNG:
        return False
    while at + 8 <= data.size:
        length = int.from_bytes(data[at : at + 4].tobytes(), "big")
        if length > data.size + _CUT_OFF:
            return True
        at += 12 + length
    return False


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
