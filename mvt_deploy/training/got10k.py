"""Reads sequences in GOT-10k's layout: one folder per sequence, frames in order, ``groundtruth.txt``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import TrainingError
from ..groundtruth import read_boxes, read_flags
from .tracks import AnnotatedFrame, AnnotatedTrack

TRUTH = "groundtruth.txt"
_IMAGES = {".jpg", ".jpeg", ".png", ".bmp"}


def is_sequence(folder: Path) -> bool:
    """Whether a folder is one sequence."""
    return (folder / TRUTH).is_file()


def read_sequence(folder: Path) -> AnnotatedTrack:
    """Read one sequence.

    The frames lie in the folder itself or in its subfolder ``img``; ``groundtruth.txt`` has one line ``x,y,w,h`` per
    frame. Frames that ``absence.label`` marks with 1, and boxes of less than a pixel, are left out.

    Raises:
        SourceError: The ground truth or the labels cannot be read.
        TrainingError: The number of boxes or labels is not the number of frames.
    """
    images = folder / "img" if (folder / "img").is_dir() else folder
    files = sorted(file for file in images.iterdir() if file.suffix.lower() in _IMAGES)
    boxes = read_boxes(folder / TRUTH)
    if len(files) != len(boxes):
        raise TrainingError(f"{folder} has {len(files)} frames and {len(boxes)} boxes: unpack the sequence again.")
    usable = np.asarray(np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] >= 1).all(axis=1))
    absent = read_flags(folder / "absence.label")
    if absent is not None:
        if len(absent) != len(files):
            raise TrainingError(
                f"{folder / 'absence.label'} has {len(absent)} labels for {len(files)} frames: unpack it again."
            )
        usable &= absent != 1
    kept = zip(files, boxes.tolist(), usable, strict=True)
    frames = (AnnotatedFrame(file, i, tuple(box)) for i, (file, box, use) in enumerate(kept) if use)
    return AnnotatedTrack(folder.name, tuple(frames))
