"""Where tracks go: an annotated video, results files, JSON lines. Each output appears whole, or not at all."""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
import time
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from .. import files
from ..errors import SinkError
from ..geometry import BGRImage
from .encoders import Encoder, open_encoder, require_ending
from .events import fields, log
from .overlay import draw
from .pipeline import Step
from .sources import fit_for_opencv

_SPARE_BYTES = 32 << 20  # left free on the disk, so that the video can still be closed
READER_SECONDS = 2.0
"""How long a stopped run waits for the reader of its JSON lines."""
_POLL_SECONDS = 0.2  # between two looks at whether the reader of JSON lines reads on
_DROPPED_SECONDS = 60.0  # between two records of dropped frames
_SPACE_EVERY = 50  # frames between two looks at the free space
_LONGEST_STILL = 60.0  # seconds that one frame is shown for at most, where a source was away or its clock jumps


class Draft:
    """A file under a temporary name in its final folder, from the first write to the last.

    Args:
        path: The file's final place.

    Raises:
        SinkError: The folder or the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._whole = files.draft(path)
        try:
            if path.exists() and not path.is_file():
                raise SinkError(f"cannot write '{path}': it is not a regular file; name another.")
            if path.exists() and not os.access(path, os.W_OK):
                raise PermissionError(13, "the file is write-protected")
            self.path = self._whole.__enter__()
            self.path.touch()
        except OSError as error:
            raise SinkError(f"cannot write '{path}': {error.strerror or error}; choose another place.") from error

    def publish(self) -> None:
        """Put the file in its place."""
        try:
            self._whole.__exit__(None, None, None)
        except OSError as error:
            raise SinkError(f"cannot write '{self._path}': {error.strerror or error}; choose another place.") from error

    def discard(self) -> None:
        """Remove the file; nothing happens if it was published or discarded before."""
        with suppress(_Discarded, RuntimeError):  # the second from a context that has ended
            self._whole.__exit__(_Discarded, _Discarded(), None)


class _Discarded(Exception):
    """What is raised inside a draft to have it removed."""


class VideoSink:
    """An annotated video, which lasts as long as its source.

    The video has a constant rate: a frame is repeated until the next one's time has come, for 60 s at most. Frames that
    come faster than the rate are all kept, one after the other.

    Args:
        path: The file; its ending chooses the container (see :data:`~mvt_deploy.video.encoders.ENDINGS`).
        fps: Frames per second of the video.

    Raises:
        SinkError: The place cannot be written, or the ending is unknown.
    """

    def __init__(self, path: Path, fps: float) -> None:
        require_ending(path)
        if not fit_for_opencv(path):
            raise SinkError(f"cannot write {str(path)!a}: OpenCV needs names in UTF-8; choose another.")
        self.path = path
        self._fps = fps
        self._draft = Draft(path)
        self._encoder: Encoder | None = None
        self._canvas: BGRImage = np.empty((0, 0, 3), np.uint8)
        self._pictures = 0
        self._skipped = 0.0  # seconds of the source that the video leaves out
        self._steps = 0

    def write(self, step: Step) -> None:
        """Draw a step's tracks on a copy of its frame and encode it; frames of another size are fitted in."""
        image = step.frame.image
        if self._encoder is None:
            self._canvas = np.empty_like(image)
            self._encoder = open_encoder(self._draft.path, self._fps, image.shape[1], image.shape[0])
        if self._steps % _SPACE_EVERY == 0:
            _require_space(self.path)
        self._steps += 1
        for _ in range(self._repeats(step.frame.time)):
            self._encode(self._encoder, self._canvas)
        if image.shape == self._canvas.shape:
            np.copyto(self._canvas, image)
            draw(self._canvas, step.tracks, _status(step))
        else:
            fit(draw(image.copy(), step.tracks, _status(step)), self._canvas)
        self._encode(self._encoder, self._canvas)

    def close(self) -> None:
        """Close the video, check that it can be read back, and put it in its place."""
        if self._encoder is None:
            return self.abort()
        encoder, self._encoder = self._encoder, None
        if not encoder.finish():
            raise SinkError(f"the video '{self.path}' could not be completed: is the disk full?")
        self._draft.publish()

    def abort(self) -> None:
        """Remove the unfinished video."""
        if self._encoder is not None:
            self._encoder.abandon()
            self._encoder = None
        self._draft.discard()

    def _repeats(self, seconds: float) -> int:
        """How often the picture before is shown again, until a frame of a given time is due."""
        if not self._pictures:
            self._skipped = seconds
        due = round((seconds - self._skipped) * self._fps)
        repeats = max(0, due - self._pictures)
        most = round(_LONGEST_STILL * self._fps)
        if repeats > most:
            self._skipped += (repeats - most) / self._fps
            repeats = most
        return repeats

    def _encode(self, encoder: Encoder, picture: BGRImage) -> None:
        if not encoder.write(picture):
            raise SinkError(f"the video '{self.path}' cannot be written: is the disk full?")
        self._pictures += 1


class ResultsSink:
    """Boxes in GOT-10k form: one line ``x,y,w,h`` per frame, three decimals; beside it ``<name>_time.txt``, seconds.

    Several targets get one pair of files each: ``<name>_1.txt``, ``<name>_2.txt`` ...

    Args:
        path: The results file.
        targets: Number of targets.

    Raises:
        SinkError: The place cannot be written.
    """

    def __init__(self, path: Path, targets: int = 1) -> None:
        self.paths = results_paths(path, targets)
        self._drafts: list[Draft] = []
        self._files: list[FileIO] = []
        self._frames = 0
        try:
            for place in [*self.paths, *map(time_path, self.paths)]:
                self._drafts.append(Draft(place))
                self._files.append(FileIO(self._drafts[-1].path, "w"))
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
    """One line with a JSON object per frame, flushed at once.

    ``{"frame": 7, "time": 0.233, "seconds": 0.021, "targets": [{"id": 1, "box": [x, y, w, h], "score": 0.61,
    "state": "tracking"}]}``; ``time`` is the frame's in the source, ``seconds`` is how long the tracker took.

    A reader that goes away is no error: :attr:`reader_gone` is True from then on, and lines are dropped.

    Args:
        stream: A text stream; standard output if None.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout
        self.reader_gone = False
        self._until: float | None = None

    def write(self, step: Step) -> None:
        """Write a line.

        Raises:
            SinkError: The line cannot be written, for instance because the disk is full.
        """
        if self.reader_gone:
            return
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
            self.reader_gone = True
        except OSError as error:
            raise SinkError(f"the JSON lines cannot be written: {error.strerror or error}.") from error

    def stop(self) -> None:
        """Give a reader that has stopped reading a moment; then lines are dropped."""
        self._until = self._until or time.monotonic() + READER_SECONDS

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
        SinkError: The path names no file.
    """
    if not path.name:
        raise SinkError(f"'{path}' is no name of a file: name a file for the results.")
    if targets == 1:
        return [path]
    return [path.with_name(f"{path.stem}_{number}{path.suffix}") for number in range(1, targets + 1)]


def fit(image: BGRImage, canvas: BGRImage) -> BGRImage:
    """Scale an image into the canvas, centred on black, keeping its proportions.

    Args:
        image: BGR uint8 ``[h, w, 3]``.
        canvas: BGR uint8 ``[H, W, 3]``, which is overwritten.

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


def _write_all(file: FileIO, data: bytes) -> None:
    """A full disk takes a part of a line before it says so."""
    while data:
        data = data[file.write(data) :]


def time_path(path: Path) -> Path:
    """The file beside a results file that holds the seconds of each frame."""
    return path.with_name(f"{path.stem}_time{path.suffix}")


def _status(step: Step) -> str:
    return f"frame {step.frame.index}  {step.fps:.1f} fps"


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
