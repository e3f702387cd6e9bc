"""What the readers share: listing frames, checking annotations, and errors that show what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...groundtruth import Boxes
from ..sequence import Dataset, DatasetError

IMAGES = (".jpg", ".jpeg", ".png", ".bmp")


@dataclass(frozen=True)
class Reader:
    """A dataset format.

    Args:
        format: Name for ``--format``.
        title: The benchmark's name.
        expected: Its layout in one line.
        matches: Tells whether a folder has that layout.
        load: Reads the dataset in a folder; the second argument is the split, or None for the default one.
    """

    format: str
    title: str
    expected: str
    matches: Callable[[Path], bool]
    load: Callable[[Path, str | None], Dataset]


def choose(split: str | None, known: tuple[str, ...], title: str) -> str:
    """Return the split asked for, or the first known one.

    Raises:
        DatasetError: The benchmark has no such split.
    """
    if split is None:
        return known[0]
    if split not in known:
        raise DatasetError(f"{title} has no split '{split}': choose one of {', '.join(known)}.")
    return split


def found_in(folder: Path, most: int = 8) -> str:
    """List the first entries of a folder, for messages."""
    names = sorted(p.name + ("/" if p.is_dir() else "") for p in folder.iterdir() if not p.name.startswith("."))
    shown = ", ".join(names[:most]) or "nothing"
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def folders(root: Path) -> list[Path]:
    """List the folders in a folder by name, without hidden ones."""
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def frames(folder: Path) -> tuple[Path, ...]:
    """List the images of a folder in order: by number if all names are numbers, else by name.

    Raises:
        DatasetError: The folder holds no image.
    """
    found = [p for p in folder.iterdir() if p.suffix.lower() in IMAGES and not p.name.startswith(".")]
    if not found:
        raise DatasetError(f"{folder} holds no images (jpg, png, bmp), found: {found_in(folder)}: unpack its frames.")
    numbered = all(p.stem.isdigit() for p in found)
    return tuple(sorted(found, key=(lambda p: (int(p.stem), p.name)) if numbered else (lambda p: (0, p.name))))


def has_images(folder: Path) -> bool:
    """Tell whether a folder holds at least one image."""
    return folder.is_dir() and any(p.suffix.lower() in IMAGES for p in folder.iterdir())


def require_first(truth: Boxes, where: Path) -> None:
    """Raise unless the first box can start a tracker.

    Raises:
        DatasetError: The first box is absent or has no size.
    """
    if not np.isfinite(truth[0]).all() or (truth[0, 2:] <= 0).any():
        raise DatasetError(f"{where} has no target in its first frame, so tracking cannot start: correct or remove it.")


def require_length(images: tuple[Path, ...], truth: Boxes, where: Path) -> None:
    """Raise unless there are as many images as boxes.

    Raises:
        DatasetError: Their numbers differ.
    """
    if len(images) != len(truth):
        raise DatasetError(
            f"{where} has {len(images)} images for {len(truth)} boxes: frames are missing, copy the sequence again."
        )
