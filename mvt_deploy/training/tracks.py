"""Annotated tracks, and the reader of ``tracks.json``: frames that were cut around their targets."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import TrainingError

INDEX = "tracks.json"


@dataclass(frozen=True, slots=True)
class AnnotatedFrame:
    """One annotated frame of a video.

    Attributes:
        file: The image.
        number: Number of the frame in the video.
        box: The target ``x, y, w, h`` in pixels of the image.
    """

    file: Path
    number: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class AnnotatedTrack:
    """The annotated frames of one target.

    Attributes:
        name: Name of the track; the part before the first underscore names its data set.
        frames: The frames in time order.
        recentred: Whether every frame was cut around its own target, so that the boxes of different frames do not share
            coordinates.
    """

    name: str
    frames: tuple[AnnotatedFrame, ...]
    recentred: bool = False

    @property
    def data_set(self) -> str:
        """Name of the data set that the track belongs to."""
        return self.name.split("_", 1)[0]


def read_tracks(folder: Path) -> list[AnnotatedTrack]:
    """Read the tracks of a folder, sorted by name.

    ``tracks.json`` maps the name of a track to a list of ``[file, x, y, w, h]``. A frame's number is the one that its
    file name ends with, or else its index in the list.

    Raises:
        TrainingError: ``tracks.json`` cannot be read, or names a file that does not exist.
    """
    path = folder / INDEX
    try:
        rows: dict[str, list[list[float | str]]] = json.loads(path.read_text(encoding="utf-8"))
        tracks = [
            AnnotatedTrack(name, tuple(_frame(folder, i, row) for i, row in enumerate(track)), recentred=True)
            for name, track in sorted(rows.items())
            if track
        ]
    except (OSError, ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError) as error:
        raise TrainingError(
            f"{path} cannot be read as tracks ({error}): it maps a track to a list of [file, x, y, w, h]."
        ) from error
    for track in tracks:
        for frame in track.frames:
            if not _is_file(frame.file):
                raise TrainingError(f"{path} names {frame.file}, which does not exist: unpack the data again.")
    return tracks


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _frame(folder: Path, index: int, row: list[float | str]) -> AnnotatedFrame:
    file = folder / str(row[0])
    digits = re.search(r"\d+$", file.stem)
    x, y, w, h = (float(value) for value in row[1:])
    if not all(map(math.isfinite, (x, y, w, h))) or min(w, h) <= 0:
        raise ValueError(f"a box {x:g},{y:g},{w:g},{h:g}")
    return AnnotatedFrame(file, int(digits.group()) if digits else index, (x, y, w, h))
