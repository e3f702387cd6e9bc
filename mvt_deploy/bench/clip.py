"""The frames a measurement runs on: a given clip, or a window that wanders over a shipped photograph."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..assets import asset
from ..geometry import BGRImage, Box
from ..video.encoders import open_writer, working_codec
from ..video.sources import Source, open_source
from ..video.targets import choose_targets

MOST, MOST_BYTES = 90, 500_000_000
"""Most frames kept in memory, by number and by bytes; a measurement runs back and forth over them."""
WIDTH, HEIGHT = 1280, 720


@dataclass(frozen=True, slots=True, eq=False)
class BenchClip:
    """The frames that every row of a measurement tracks through.

    Attributes:
        name: What the frames are, for reports.
        frames: BGR uint8 frames.
        box: Box of the target in the first frame.
        read: Seconds that reading each frame took (decoding, from disk); empty where the frames came from no file.
    """

    name: str
    frames: list[BGRImage]
    box: Box
    read: list[float]

    def frame(self, index: int) -> BGRImage:
        """The frame at any index: the clip runs back and forth, so that a target never jumps."""
        last = len(self.frames) - 1
        return self.frames[last - abs(last - index % (2 * last))] if last else self.frames[0]


def photograph() -> BenchClip:
    """A 1280x720 window that wanders over the shipped photograph of an astronaut, with her face as the target."""
    image = cv2.imread(str(asset("photographs") / "astronaut.jpg"), cv2.IMREAD_COLOR)
    large = np.asarray(cv2.resize(np.asarray(image), (1536, 1536), interpolation=cv2.INTER_CUBIC), np.uint8)
    frames: list[BGRImage] = []
    boxes = []
    for i in range(60):
        x, y = 128 + round(90 * math.sin(i / 9)), 30 + round(28 * math.sin(i / 7))
        frames.append(np.ascontiguousarray(large[y : y + HEIGHT, x : x + WIDTH]))
        boxes.append(Box(540.0 - x, 190.0 - y, 270.0, 350.0))
    read: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "photograph.mp4"
        if encode(frames, video):
            frames, read = _read(open_source(video))
    return BenchClip("photograph 1280x720", frames, boxes[0], read)


def encode(frames: Iterable[BGRImage], path: Path) -> bool:
    """Write 1280x720 frames as a video, so that decoding is measured too; False where OpenCV cannot write one."""
    codec = working_codec(path, 30.0, WIDTH, HEIGHT)
    if codec is None:
        return False
    writer = open_writer(codec, path, 30.0, WIDTH, HEIGHT)
    for frame in frames:
        writer.write(frame)
    writer.release()
    return True


def recorded(source: str, init_box: str | None = None) -> BenchClip:
    """The first frames of a video or folder, with the target that ``track`` would follow.

    Args:
        source: A video, folder, camera or stream.
        init_box: The target's box ``x,y,w,h`` in pixels of the first frame; None to choose one as ``track`` does.

    Raises:
        UserError: The source cannot be read, or no target is found in it.
    """
    opened = open_source(source)
    box = choose_targets(opened, [init_box] if init_box else [], auto=True).boxes[0]
    frames, read = _read(opened)
    height, width = frames[0].shape[:2]
    return BenchClip(f"{opened.name} {width}x{height}", frames, box, [] if opened.live else read)


def _read(source: Source) -> tuple[list[BGRImage], list[float]]:
    """The first frames, and the seconds that each of them took, except the first, which also opens the file."""
    frames: list[BGRImage] = []
    seconds: list[float] = []
    stream = iter(source)
    try:
        while len(frames) < MOST and sum(f.nbytes for f in frames) < MOST_BYTES:
            began = time.perf_counter()
            frame = next(stream, None)
            if frame is None:
                break
            seconds.append(time.perf_counter() - began)
            frames.append(frame.image)
    finally:
        source.close()
    return frames, seconds[1:]
