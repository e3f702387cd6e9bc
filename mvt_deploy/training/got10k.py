"""Reads sequences in GOT-10k's layout: one folder per sequence, frames in order, ``groundtruth.txt``."""

from __future__ import annotations

from pathlib import Path

from ..errors import TrainingError
from .tracks import AnnotatedFrame, AnnotatedTrack

TRUTH = "groundtruth.txt"
_IMAGES = {".jpg", ".jpeg", ".png", ".bmp"}


def is_sequence(folder: Path) -> bool:
    """Whether a folder is one sequence."""
    return (folder / TRUTH).is_file()


def read_sequence(folder: Path) -> AnnotatedTrack:
    """Read one sequence.

    The frames lie in the folder itself or in its subfolder ``img``; ``groundtruth.txt`` has one line ``x,y,w,h`` per
    frame. Frames that ``absence.label`` marks with 1, and boxes without an area, are left out.

    Raises:
        TrainingError: The ground truth cannot be read, or the number of its lines is not the number of frames.
    """
    images = folder / "img" if (folder / "img").is_dir() else folder
    files = sorted(file for file in images.iterdir() if file.suffix.lower() in _IMAGES)
    boxes = _boxes(folder / TRUTH)
    if not files or len(files) != len(boxes):
        raise TrainingError(f"{folder} has {len(files)} frames and {len(boxes)} boxes: unpack the sequence again.")
    absent = _absent(folder / "absence.label", len(files))
    frames = tuple(
        AnnotatedFrame(file, i, box)
        for i, (file, box, gone) in enumerate(zip(files, boxes, absent, strict=True))
        if not gone and box[2] >= 1 and box[3] >= 1
    )
    return AnnotatedTrack(folder.name, frames)


def _boxes(path: Path) -> list[tuple[float, float, float, float]]:
    boxes = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            x, y, w, h = (float(value) for value in line.replace(",", " ").split())
        except ValueError as error:
            raise TrainingError(f"line {number} of {path} is not x,y,w,h: {line!r}.") from error
        boxes.append((x, y, w, h))
    return boxes


def _absent(path: Path, count: int) -> list[bool]:
    if not path.is_file():
        return [False] * count
    flags = [line.strip() == "1" for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(flags) != count:
        raise TrainingError(f"{path} has {len(flags)} lines for {count} frames: unpack the sequence again.")
    return flags
