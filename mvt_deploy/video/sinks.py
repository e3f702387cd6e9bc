"""Where tracks go: an annotated video, results files, JSON lines. Each output appears whole, or not at all."""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
import time
from io import FileIO
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from ..errors import SinkError
from ..geometry import BGRImage
from .events import fields, log
from .overlay import draw
from .pipeline import Step
from .sources import fit_for_opencv, quiet_opencv

CODECS: dict[str, tuple[str, ...]] = {
    ".mp4": ("avc1", "mp4v"),
    ".m4v": ("avc1", "mp4v"),
    ".mov": ("avc1", "mp4v"),
    ".mkv": ("avc1", "mp4v"),
    ".avi": ("XVID", "MJPG"),
}
"""What is tried for a file name's ending, best first; the first that writes a video which can be read back is used."""

_SPARE_BYTES = 32 << 20  # left free on the disk, so that the video can still be closed
_POLL_SECONDS, _READER_SECONDS = 0.2, 2.0  # how often, and how long once stopped, JSON lines wait for their reader
_DROPPED_SECONDS = 60.0  # between two records of dropped frames
_SPACE_EVERY = 50  # frames between two looks at the free space


class Draft:
    """A file under a temporary name in its final folder.

    Raises:
        SinkError: the folder or the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.draft = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
        try:
            if path.exists() and not path.is_file():
                raise SinkError(f"cannot write '{path}': it is not a regular file; name another.")
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not os.access(path, os.W_OK):
                raise PermissionError(13, "the file is write-protected")
            self.draft.touch()
        except OSError as error:
            raise SinkError(f"cannot write '{path}': {error.strerror or error}; choose another place.") from error

    def publish(self) -> None:
        """Put the file in its place."""
        try:
            os.replace(self.draft, self.path)
        except OSError as error:
            raise SinkError(f"cannot write '{self.path}': {error.strerror or error}; choose another place.") from error

    def discard(self) -> None:
        """Remove the file."""
        self.draft.unlink(missing_ok=True)


class VideoSink:
    """An annotated video.

    Args:
        path: the file; its ending chooses the container (see :data:`CODECS`).
        fps: frames per second of the video.

    Raises:
        SinkError: the place cannot be written, or the ending is unknown.
    """

    def __init__(self, path: Path, fps: float) -> None:
        if path.suffix.lower() not in CODECS:
            raise SinkError(f"cannot write a video named '{path.name}': end the name with {', '.join(CODECS)}.")
        if not fit_for_opencv(path):
            raise SinkError(f"cannot write {str(path)!a}: OpenCV needs names in UTF-8; choose another.")
        self.path = path
        self.codec = ""
        self._fps = fps
        self._draft = Draft(path)
        self._writer: cv2.VideoWriter | None = None
        self._canvas: BGRImage = np.empty((0, 0, 3), np.uint8)
        self._frames = 0

    def write(self, step: Step) -> None:
        """Draw a step's tracks on a copy of its frame and encode it; frames of another size are fitted in."""
        image = step.frame.image
        if self._writer is None:
            self._canvas = np.empty_like(image)
            self.codec, self._writer = self._open(image.shape[1], image.shape[0])
        if self._frames % _SPACE_EVERY == 0:
            _require_space(self.path)
        if image.shape == self._canvas.shape:
            np.copyto(self._canvas, image)
            picture = draw(self._canvas, step.tracks, _status(step))
        else:
            picture = fit(draw(image.copy(), step.tracks, _status(step)), self._canvas)
        if self._writer.write(picture) is False:  # None in OpenCV 4, which does not tell
            raise SinkError(f"the video '{self.path}' cannot be written: is the disk full?")
        self._frames += 1

    def close(self) -> None:
        """Close the video, check that it can be read back, and put it in its place."""
        if self._writer is None:
            return self.abort()
        self._writer.release()
        self._writer = None
        if _readable_frames(self._draft.draft) < self._frames:
            raise SinkError(f"the video '{self.path}' could not be completed: is the disk full?")
        self._draft.publish()

    def abort(self) -> None:
        """Remove the unfinished video."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        self._draft.discard()

    def _open(self, width: int, height: int) -> tuple[str, cv2.VideoWriter]:
        quiet_opencv()
        for codec in CODECS[self.path.suffix.lower()]:
            if codec_works(codec, self._draft.draft, self._fps, width, height):
                return codec, open_writer(codec, self._draft.draft, self._fps, width, height)
        raise SinkError(
            f"this OpenCV cannot encode {width}x{height} {self.path.suffix} video: "
            "name an .avi file, or use --no-video with --results."
        )


class ResultsSink:
    """Boxes in GOT-10k form: ``x,y,w,h`` a line, three decimals; beside it ``<name>_time.txt``, seconds per frame.

    Several targets get one pair of files each: ``<name>_1.txt``, ``<name>_2.txt`` ...

    Args:
        path: the results file.
        targets: how many targets there are.

    Raises:
        SinkError: the place cannot be written.
    """

    def __init__(self, path: Path, targets: int = 1) -> None:
        self.paths = results_paths(path, targets)
        self._drafts: list[Draft] = []
        self._files: list[FileIO] = []
        self._frames = 0
        try:
            for place in [*self.paths, *map(time_path, self.paths)]:
                self._drafts.append(Draft(place))
                self._files.append(FileIO(self._drafts[-1].draft, "w"))
        except SinkError:
            self.abort()
            raise

    def write(self, step: Step) -> None:
        """Append a line to every file, or to none: what was written before stays readable on a full disk."""
        boxes = [",".join(f"{value:.3f}" for value in track.box) for track in step.tracks]
        lines = [*boxes, *[f"{step.seconds:.6f}"] * len(self.paths)]
        ends = [file.tell() for file in self._files]
        try:
            for file, line in zip(self._files, lines, strict=True):
                _write_all(file, f"{line}\n".encode("ascii"))
        except OSError as error:
            for file, end in zip(self._files, ends, strict=True):
                file.truncate(end)
            raise SinkError(
                f"'{self.paths[0]}' cannot be written ({error.strerror or error}): free some space; "
                f"the {self._frames} frames so far are kept."
            ) from error
        self._frames += 1

    def close(self) -> None:
        """Put the files in their places."""
        if not self._frames:
            return self.abort()
        for file in self._files:
            file.close()
        for draft in self._drafts:
            draft.publish()

    def abort(self) -> None:
        """Remove the unfinished files."""
        for file in self._files:
            file.close()
        for draft in self._drafts:
            draft.discard()


class JsonSink:
    """One JSON object a line and frame, flushed at once.

    ``{"frame": 7, "time": 0.233, "seconds": 0.021, "targets": [{"id": 1, "box": [x, y, w, h], "score": 0.61,
    "state": "tracking"}]}``; ``time`` is the source's, ``seconds`` what the tracker took.

    Args:
        stream: a text stream; standard output if None.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout
        self._until: float | None = None

    def write(self, step: Step) -> None:
        """Write a line."""
        line = {
            "frame": step.frame.index,
            "time": round(step.frame.time, 4),
            "seconds": round(step.seconds, 6),
            "targets": [
                {
                    "id": number,
                    "box": [round(value, 3) for value in track.box],
                    "score": round(track.score, 4),
                    "state": track.state,
                }
                for number, track in enumerate(step.tracks, 1)
            ],
        }
        try:
            self._send(json.dumps(line) + "\n")
        except BrokenPipeError:
            if self._stream is sys.stdout:  # so that the interpreter's own flush at exit has somewhere to go
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            raise SinkError("the program that read the JSON lines has ended, so tracking stopped too.") from None
        except OSError as error:
            raise SinkError(f"the JSON lines cannot be written: {error.strerror or error}.") from error

    def stop(self) -> None:
        """Give a reader that has stopped reading a moment; then lines are dropped."""
        self._until = self._until or time.monotonic() + _READER_SECONDS

    def _send(self, line: str) -> None:
        if self._stream is not sys.stdout or os.name == "nt":
            self._stream.write(line)
            self._stream.flush()
            return
        data, pipe = line.encode("ascii"), self._stream.fileno()
        while data:  # not through the stream: what waits in it for a reader cannot be stopped
            over = self._until is not None and time.monotonic() > self._until
            if select.select([], [pipe], [], 0 if over else _POLL_SECONDS)[1]:
                data = data[os.write(pipe, data[: select.PIPE_BUF]) :]
            elif over:
                return

    def close(self) -> None:
        """Nothing to finish: every line is complete."""

    def abort(self) -> None:
        """Nothing to remove: every line is complete."""


def results_paths(path: Path, targets: int) -> list[Path]:
    """The results file of each target.

    Raises:
        SinkError: the path names no file.
    """
    if not path.name:
        raise SinkError(f"'{path}' is no name of a file: give the results one.")
    if targets == 1:
        return [path]
    return [path.with_name(f"{path.stem}_{number}{path.suffix}") for number in range(1, targets + 1)]


def fit(image: BGRImage, canvas: BGRImage) -> BGRImage:
    """Scale an image into the canvas, centred on black, keeping its proportions.

    Args:
        image: BGR uint8 ``[h, w, 3]``.
        canvas: BGR uint8 ``[H, W, 3]``; overwritten.

    Returns:
        The canvas.
    """
    height, width = canvas.shape[:2]
    scale = min(width / image.shape[1], height / image.shape[0])
    inner_width = min(width, max(1, round(image.shape[1] * scale)))
    inner_height = min(height, max(1, round(image.shape[0] * scale)))
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    canvas[:] = 0
    area = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas[top : top + inner_height, left : left + inner_width] = cv2.resize(
        image, (inner_width, inner_height), interpolation=area
    )
    return canvas


def working_codecs(folder: Path, width: int = 320, height: int = 240) -> dict[str, str | None]:
    """For each container, the codec that is used here, or None if there is none.

    Args:
        folder: where test videos of a few frames may be written; they are removed.
        width: of the test videos, in pixels.
        height: of the test videos, in pixels.
    """
    quiet_opencv()
    return {
        ending: next((c for c in codecs if codec_works(c, folder / f"codec{ending}", 30.0, width, height)), None)
        for ending, codecs in CODECS.items()
    }


def _write_all(file: FileIO, data: bytes) -> None:
    """A full disk takes a part of a line before it says so."""
    while data:
        data = data[file.write(data) :]


def time_path(path: Path) -> Path:
    """Where the seconds of each frame go that belong to a results file."""
    return path.with_name(f"{path.stem}_time{path.suffix}")


def _status(step: Step) -> str:
    return f"frame {step.frame.index}  {step.fps:.1f} fps"


def open_writer(codec: str, path: Path, fps: float, width: int, height: int) -> cv2.VideoWriter:
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


def _require_space(path: Path) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < _SPARE_BYTES:
        raise SinkError(
            f"the disk of '{path}' is full ({free >> 20} MB left): free some space, or choose another place."
        )


class EventsSink:
    """Logs what changes from frame to frame."""

    def __init__(self) -> None:
        self._lost: set[int] = set()
        self._dropped = 0
        self._told = -_DROPPED_SECONDS

    def write(self, step: Step) -> None:
        """Log the targets that were lost or found in this step, and once a minute the frames dropped since."""
        lost = {number for number, track in enumerate(step.tracks, 1) if track.state == "lost"}
        for number in sorted(lost ^ self._lost):
            track = step.tracks[number - 1]
            log.info(
                "target %d is %s",
                number,
                "lost" if number in lost else "found again",
                extra=fields(
                    target=number,
                    state=track.state,
                    frame=step.frame.index,
                    score=round(track.score, 4),
                    box=[round(value, 3) for value in track.box],
                ),
            )
        self._lost = lost
        if step.dropped > self._dropped and time.monotonic() - self._told >= _DROPPED_SECONDS:
            new, self._dropped, self._told = step.dropped - self._dropped, step.dropped, time.monotonic()
            log.info("%d frames dropped to keep up", new, extra=fields(dropped=step.dropped, frame=step.frame.index))

    def close(self) -> None:
        """Nothing to finish."""

    def abort(self) -> None:
        """Nothing to remove."""
