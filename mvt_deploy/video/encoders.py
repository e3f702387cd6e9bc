"""What turns pictures into a video file: containers, codecs that work with the OpenCV at hand, animated GIF."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from ..errors import SinkError
from ..geometry import BGRImage
from ..process import quiet_opencv
from .events import fields, log

CODECS: dict[str, tuple[str, ...]] = {
    ".mp4": ("avc1", "mp4v"),
    ".m4v": ("avc1", "mp4v"),
    ".mov": ("avc1", "mp4v"),
    ".mkv": ("avc1", "mp4v"),
    ".avi": ("XVID", "MJPG"),
    ".webm": ("VP80", "VP90"),
}
"""Codecs tried for a file name's ending, best first; the first that writes a video which can be read back is used."""

GIF = ".gif"
ENDINGS = (*CODECS, GIF)
"""The endings of the videos that can be written."""

_GIF_SIDE = 640  # pixels: larger pictures are scaled down
_GIF_FPS = 12.5  # a GIF counts hundredths of a second, and all of its pictures are in memory
_GIF_SECONDS = 60


class Encoder(Protocol):
    """Takes pictures of one size at a constant rate."""

    def write(self, picture: BGRImage) -> bool:
        """Add a picture, BGR uint8 ``[H, W, 3]``; False where it could not be written."""
        ...

    def finish(self) -> bool:
        """Complete the file; False where it cannot be read back with all of its pictures."""
        ...

    def abandon(self) -> None:
        """Let go of the file without completing it."""
        ...


def require_ending(path: Path) -> None:
    """Make sure that a name ends with a video's ending.

    Raises:
        SinkError: It does not.
    """
    if path.suffix.lower() not in ENDINGS:
        raise SinkError(f"cannot write a video to '{path}': end the name with {', '.join(ENDINGS)}.")


def open_encoder(path: Path, fps: float, width: int, height: int) -> Encoder:
    """An encoder for a file; its ending chooses the container.

    Args:
        path: The file, which is overwritten.
        fps: Frames per second of the video.
        width: Width of every picture in pixels.
        height: Height of every picture in pixels.

    Raises:
        SinkError: This OpenCV cannot encode such a video.
    """
    quiet_opencv()
    if path.suffix.lower() == GIF:
        if not hasattr(cv2, "imwriteanimation"):
            raise SinkError(f"this OpenCV ({cv2.__version__}) cannot write .gif files: name an .mp4 file.")
        return _AnimationEncoder(path, fps)
    codec = working_codec(path, fps, width, height)
    if codec is None:
        raise SinkError(
            f"this OpenCV cannot encode {width}x{height} {path.suffix} video: "
            "name an .avi file, or use --no-video with --results."
        )
    return _VideoEncoder(path, codec, fps, width, height)


class _VideoEncoder:
    def __init__(self, path: Path, codec: str, fps: float, width: int, height: int) -> None:
        self._path = path
        self._writer = open_writer(codec, path, fps, width, height)
        self._pictures = 0

    def write(self, picture: BGRImage) -> bool:
        if self._writer.write(picture) is False:  # None in OpenCV 4, which does not tell
            return False
        self._pictures += 1
        return True

    def finish(self) -> bool:
        self._writer.release()
        return _readable_frames(self._path) >= self._pictures

    def abandon(self) -> None:
        self._writer.release()


class _AnimationEncoder:
    """An animated GIF, small enough to be put on a page: pictures are scaled down and thinned out."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path = path
        self._fps = fps
        self._pictures: list[BGRImage] = []
        self._seen = 0
        self._full = False

    def write(self, picture: BGRImage) -> bool:
        slot = int(self._seen / self._fps * min(self._fps, _GIF_FPS))
        self._seen += 1
        if slot < len(self._pictures):
            return True
        if len(self._pictures) >= _GIF_SECONDS * _GIF_FPS:
            if not self._full:
                self._full = True
                log.warning("the GIF holds the first %d s: name an .mp4 file for all", _GIF_SECONDS, extra=fields())
            return True
        scale = min(1.0, _GIF_SIDE / max(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
        self._pictures.append(np.array(small, np.uint8))
        return True

    def finish(self) -> bool:
        animation: Any = cv2.Animation()
        animation.frames = self._pictures
        animation.durations = [round(1000 / min(self._fps, _GIF_FPS))] * len(self._pictures)
        written = cv2.imwriteanimation(str(self._path), animation)
        self._pictures = []
        return bool(written)

    def abandon(self) -> None:
        self._pictures = []


def working_codec(path: Path, fps: float, width: int, height: int) -> str | None:
    """The codec that is used here for a file of some name and size, or None if no codec works.

    Args:
        path: A file beside which short test videos are written and removed.
        fps: Frames per second.
        width: Width of the pictures in pixels.
        height: Height of the pictures in pixels.
    """
    quiet_opencv()
    codecs = CODECS.get(path.suffix.lower(), ())
    return next((codec for codec in codecs if codec_works(codec, path, fps, width, height)), None)


def open_writer(codec: str, path: Path, fps: float, width: int, height: int) -> cv2.VideoWriter:
    """OpenCV's writer of a video with a codec (four characters)."""
    return cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (width, height))


def codec_works(codec: str, path: Path, fps: float, width: int, height: int) -> bool:
    """Whether a few frames survive being written and read: some encoders open, and then write nothing that plays."""
    quiet_opencv()
    trial = path.with_name(f"{path.stem}.trial{path.suffix}")
    picture = np.full((height, width, 3), 127, np.uint8)
    try:
        writer = open_writer(codec, trial, fps, width, height)
        if not writer.isOpened():
            return False
        for _ in range(3):
            writer.write(picture)
        writer.release()
        return _readable_frames(trial) == 3
    finally:
        trial.unlink(missing_ok=True)


def _readable_frames(path: Path) -> int:
    """How many frames a video's header promises, if its first one decodes; 0 if not."""
    capture = cv2.VideoCapture(str(path))
    try:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.read()[0] else 0
    finally:
        capture.release()
