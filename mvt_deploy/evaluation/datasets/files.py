"""What the readers share: listing frames, parsing annotation files, and errors that show what was found."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..sequence import Boxes, Dataset, DatasetError

IMAGES = (".jpg", ".jpeg", ".png", ".bmp")


@dataclass(frozen=True)
class Reader:
    """A dataset format.

    Args:
        format: its name for ``--format``.
        title: the benchmark's name.
        expected: its layout in one line.
        matches: whether a folder has that layout.
        load: reads it; the second argument is the split or None.
    """

    format: str
    title: str
    expected: str
    matches: Callable[[Path], bool]
    load: Callable[[Path, str | None], Dataset]


def choose(split: str | None, known: tuple[str, ...], title: str) -> str:
    """The split asked for, or the first known one.

    Raises:
        DatasetError: the benchmark has no such split.
    """
    if split is None:
        return known[0]
    if split not in known:
        raise DatasetError(f"{title} has no split '{split}': choose one of {', '.join(known)}.")
    return split


def found_in(folder: Path, most: int = 8) -> str:
    """The first entries of a folder, for messages."""
    names = sorted(p.name + ("/" if p.is_dir() else "") for p in folder.iterdir() if not p.name.startswith("."))
    shown = ", ".join(names[:most]) or "nothing"
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def folders(root: Path) -> list[Path]:
    """The folders in a folder, by name, hidden ones left out."""
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def frames(folder: Path) -> tuple[Path, ...]:
    """The images of a folder in order: by number if all names are numbers, else by name.

    Raises:
        DatasetError: no image there.
    """
    found = [p for p in folder.iterdir() if p.suffix.lower() in IMAGES and not p.name.startswith(".")]
    if not found:
        raise DatasetError(f"{folder} holds no images (jpg, png, bmp), found: {found_in(folder)}: unpack its frames.")
    numbered = all(p.stem.isdigit() for p in found)
    return tuple(sorted(found, key=(lambda p: (int(p.stem), p.name)) if numbered else (lambda p: (0, p.name))))


def has_images(folder: Path) -> bool:
    """Whether a folder holds at least one image."""
    return folder.is_dir() and any(p.suffix.lower() in IMAGES for p in folder.iterdir())


def lines(path: Path) -> list[str]:
    """The lines of a text file, without empty ones at its end.

    Raises:
        DatasetError: the file is missing, empty or not text.
    """
    try:
        content = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read ({error}): copy the dataset again.") from error
    if not content:
        raise DatasetError(f"{path} is empty: copy the dataset again.")
    return content


def numbers(line: str) -> list[float]:
    """The numbers of a line, separated by commas, semicolons, blanks or tabs; ``NaN`` is allowed."""
    return [float(part) for part in re.split(r"[,;\s]+", line.strip().strip(",;"))]


def boxes(path: Path, parse: Callable[[str], list[float]] = numbers) -> Boxes:
    """The ``x, y, w, h`` of a file with one box a line, float64 ``[n, 4]``, as written.

    Raises:
        DatasetError: the file cannot be read, or a line is not a box.
    """
    rows = []
    for number, line in enumerate(lines(path), 1):
        try:
            row = parse(line)
        except ValueError:
            row = []
        if len(row) != 4:
            raise DatasetError(f"line {number} of {path} is no box x,y,w,h: '{line[:60]}'; copy the dataset again.")
        rows.append(row)
    return np.array(rows, np.float64)


def flags(path: Path) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """The numbers of a label file (one a line or comma-separated), or None without the file."""
    if not path.is_file():
        return None
    try:
        return np.array([value for line in lines(path) for value in numbers(line)], np.float64)
    except ValueError as error:
        raise DatasetError(f"{path} should hold numbers only ({error}): copy the dataset again.") from error


def without_absent(truth: Boxes, absent: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None) -> Boxes:
    """The boxes with NaN where the target is absent: where flagged, or where a box has no size or a NaN."""
    if absent is None:
        absent = ~((truth[:, 2] > 0) & (truth[:, 3] > 0)) | np.isnan(truth).any(axis=1)
    return np.where(absent[:, None], math.nan, truth)


def require_first(truth: Boxes, where: Path) -> None:
    """Raise unless the first box can start a tracker.

    Raises:
        DatasetError: it is absent or has no size.
    """
    if not np.isfinite(truth[0]).all() or (truth[0, 2:] <= 0).any():
        raise DatasetError(f"{where} has no target in its first frame, so tracking cannot start: mend or remove it.")


def require_length(images: tuple[Path, ...], truth: Boxes, where: Path) -> None:
    """Raise unless there are as many images as boxes.

    Raises:
        DatasetError: their numbers differ.
    """
    if len(images) != len(truth):
        raise DatasetError(
            f"{where} has {len(images)} images for {len(truth)} boxes: frames are missing, copy the sequence again."
        )
