"""Box files beside a recording: finding them, reading them, and which frames do not show the target.

The only reader of ground truth: ``track``, ``eval``, ``bench`` and ``calibrate`` all use it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .errors import BoxError, SourceError
from .geometry import Box

Boxes = npt.NDArray[np.float64]
"""float64 ``[n, 4]``: ``x, y, w, h`` in pixels, top-left origin; NaN where the target is absent."""

_FILES = ("groundtruth.txt", "groundtruth_rect.txt")  # GOT-10k, LaSOT, VOT; OTB
_LARGEST_MASK = 1 << 28
"""Pixels beyond which a mask is refused as nonsense."""


def parse_box(text: str) -> Box:
    """Read a box from ``x,y,w,h``; commas, semicolons, blanks or tabs separate the numbers.

    Raises:
        BoxError: The text is not four finite numbers, or the box has no size.
    """
    try:
        values = numbers(text)
    except ValueError:
        raise BoxError(f"a box is four numbers x,y,w,h in pixels, not '{text}'.") from None
    return Box.of(values)


def candidates(place: Path) -> list[Path]:
    """List the places where the ground truth of a recording may lie, best first.

    Args:
        place: The recording: a video file or a folder of frames.
    """
    place = place.absolute()
    inside = [place / name for name in _FILES] if place.is_dir() else []
    parent = [place.parent / name for name in _FILES]
    named = place.parent / f"{place.name if place.is_dir() else place.stem}.txt"
    above = parent if not place.is_dir() or place.name == "img" else []
    return [*inside, named, *above]


def find(place: Path | None) -> Path | None:
    """Return the ground-truth file of a recording, or None where there is none.

    Args:
        place: The recording: a video file or a folder of frames; None for a camera or a stream.
    """
    return next((path for path in candidates(place) if path.is_file()), None) if place else None


def read(path: Path) -> Boxes:
    """Read a ground-truth file, with NaN in every frame that does not show the target.

    The target is absent where a box is not finite or has no size, and where the flags beside the file say so (see
    :func:`flagged`).

    Returns:
        float64 ``[n, 4]``.

    Raises:
        SourceError: The file cannot be read, is empty, or a line is not a box; or its flags do not fit it.
    """
    boxes = read_boxes(path)
    absent = np.asarray(~(np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)))
    flags = flagged(path.parent, len(boxes))
    return without_absent(boxes, absent if flags is None else absent | flags)


def without_absent(boxes: Boxes, absent: npt.NDArray[np.bool_] | None = None) -> Boxes:
    """Set boxes to NaN where the target is absent.

    Args:
        boxes: float64 ``[n, 4]``.
        absent: bool ``[n]``; None takes every box that has no size or holds a NaN as absent.
    """
    if absent is None:
        absent = ~((boxes[:, 2] > 0) & (boxes[:, 3] > 0)) | np.isnan(boxes).any(axis=1)
    return np.where(absent[:, None], math.nan, boxes)


def flagged(folder: Path, count: int) -> npt.NDArray[np.bool_] | None:
    """Return which frames the benchmark's flags mark as not showing the target.

    GOT-10k marks them by a 0 in ``cover.label``; LaSOT by a 1 in ``full_occlusion.txt`` or ``out_of_view.txt``.

    Args:
        folder: Folder that holds the ground-truth file.
        count: Number of boxes in it.

    Returns:
        bool ``[count]``, or None where the folder holds no flags.

    Raises:
        SourceError: A file of flags holds something else than one number per box.
    """
    found = []
    for name, is_absent in _FLAGS.items():
        values = read_flags(folder / name)
        if values is None:
            continue
        if len(values) != count:
            raise SourceError(
                f"'{folder / name}' has {len(values)} labels for {count} boxes: copy the sequence again, or remove it."
            )
        found.append(is_absent(values))
    return np.any(found, axis=0) if found else None


_FLAGS: dict[str, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.bool_]]] = {
    "cover.label": lambda values: values <= 0,
    "full_occlusion.txt": lambda values: values > 0,
    "out_of_view.txt": lambda values: values > 0,
}


def read_flags(path: Path) -> npt.NDArray[np.float64] | None:
    """Read the numbers of a label file, separated by line breaks or commas; None where there is no file.

    Raises:
        SourceError: The file holds something other than numbers.
    """
    if not path.is_file():
        return None
    try:
        return np.array([value for line in read_lines(path) for value in numbers(line)], np.float64)
    except ValueError as error:
        raise SourceError(f"'{path}' should hold numbers only ({error}): copy the sequence again.") from error


def read_boxes(path: Path, parse: Callable[[str], list[float]] | None = None) -> Boxes:
    """Read a file with one box per line, as written.

    Args:
        path: The file.
        parse: Reads one line as ``x, y, w, h``, and raises ValueError where it cannot; None takes :func:`box_around`.

    Returns:
        float64 ``[n, 4]``.

    Raises:
        SourceError: The file cannot be read, is empty, or a line is not a box.
    """
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        try:
            row = (parse or box_around)(line)
        except (ValueError, OverflowError):
            row = []
        if len(row) != 4:
            raise SourceError(
                f"line {number} of '{path}' is no box x,y,w,h ('{line[:60]}'): correct the file, copy the sequence "
                "again, or rename the file if it is not ground truth."
            )
        rows.append(row)
    return np.array(rows, np.float64)


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, without empty ones at its end.

    Raises:
        SourceError: The file is missing, empty or not UTF-8 text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"'{path}' cannot be read ({error}): copy it again, or remove it.") from error
    if not lines:
        raise SourceError(f"'{path}' is empty: copy it again, or write one box x,y,w,h per line.")
    return lines


def numbers(line: str) -> list[float]:
    """Read the numbers of a line, separated by commas, semicolons, blanks or tabs; ``NaN`` is allowed.

    Raises:
        ValueError: A part of the line is not a number.
    """
    return [float(part) for part in re.split(r"[,;\s]+", line.strip().strip(",;"))]


def box_around(line: str) -> list[float]:
    """Read one line as a box: ``x, y, w, h``, or what surrounds a polygon or a mask, as the VOT toolkit converts them.

    A polygon is ``x1, y1, x2, y2, …`` with at least three corners; a mask is ``mx, y, w, h, runs …`` with alternating
    runs of background and target in row order. A line with a single number is VOT's code for "no region".

    Returns:
        ``x, y, w, h`` in pixels (whole ones for a mask); NaN where there is no region.

    Raises:
        ValueError: The line is none of these.
    """
    if line.startswith("m"):
        return _mask_box([int(v) for v in numbers(line[1:])])
    values = numbers(line)
    if len(values) == 1:
        return [math.nan] * 4
    if len(values) == 4:
        return values
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"{len(values)} numbers")
    xs, ys = values[0::2], values[1::2]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _mask_box(values: list[int]) -> list[float]:
    """The tight box of a mask: offset, size, then its runs."""
    if len(values) < 4:
        raise ValueError("a mask begins with x, y, w, h")
    x, y, width, height = values[:4]
    runs = values[4:]
    if min((width, height, *runs)) < 0 or not sum(runs) <= width * height <= _LARGEST_MASK:
        raise ValueError("a mask's runs are longer than its area")
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    rows, columns = np.divmod(np.flatnonzero(mask), max(width, 1))
    if not len(rows):
        return [math.nan] * 4
    left, top = columns.min(), rows.min()
    return [float(x + left), float(y + top), float(columns.max() - left + 1), float(rows.max() - top + 1)]
