"""Reads GOT-10k's layout: a folder a sequence, frames in order, ``groundtruth.txt`` with ``x,y,w,h`` lines."""

from __future__ import annotations

from pathlib import Path

from ..errors import TrainingError
from .clips import Clip, Moment

TRUTH = "groundtruth.txt"
_IMAGES = {".jpg", ".jpeg", ".png", ".bmp"}


def is_sequence(folder: Path) -> bool:
    """Whether a folder is one sequence."""
    return (folder / TRUTH).is_file()


def read_sequence(folder: Path) -> Clip:
    """One sequence; frames of ``absence.label`` and boxes without size are left out. Frames may lie in ``img``.

    Raises:
        TrainingError: the truth cannot be read, or frames and lines differ in number.
    """
    images = folder / "img" if (folder / "img").is_dir() else folder
    files = sorted(file for file in images.iterdir() if file.suffix.lower() in _IMAGES)
    boxes = _boxes(folder / TRUTH)
    if not files or len(files) != len(boxes):
        raise TrainingError(f"{folder} has {len(files)} frames and {len(boxes)} boxes: unpack the sequence again.")
    absent = _absent(folder / "absence.label", len(files))
    moments = tuple(
        Moment(file, i, box)
        for i, (file, box, gone) in enumerate(zip(files, boxes, absent, strict=True))
        if not gone and box[2] >= 1 and box[3] >= 1
    )
    return Clip(folder.name, moments)


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
