"""Box files beside a source: finding them, reading them, and the AO of a track against them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import BoxError, SourceError
from ..geometry import Box, iou

AO_RULE = "GOT-10k rule: mean IoU over frames after the first that show the target, boxes cut to the frame"
_FILES = ("groundtruth.txt", "groundtruth_rect.txt")  # GOT-10k, LaSOT, VOT; OTB


def parse_box(text: str) -> Box:
    """A box from ``x,y,w,h``; commas, semicolons, blanks or tabs separate.

    Raises:
        BoxError: it is not four finite numbers, or has no size.
    """
    try:
        numbers = _numbers(text)
    except ValueError:
        raise BoxError(f"a box is four numbers x,y,w,h in pixels, not '{text}'.") from None
    return Box.of(numbers)


def candidates(place: Path) -> list[Path]:
    """Where a ground-truth file for a source may lie, best first.

    Args:
        place: the source's file or folder.
    """
    place = place.absolute()
    inside = [place / name for name in _FILES] if place.is_dir() else []
    parent = [place.parent / name for name in _FILES]
    named = place.parent / f"{place.name if place.is_dir() else place.stem}.txt"
    above = parent if not place.is_dir() or place.name == "img" else []
    return [*inside, named, *above]


def find(place: Path | None) -> Path | None:
    """The ground-truth file of a source, or None."""
    return next((path for path in candidates(place) if path.is_file()), None) if place else None


def read(path: Path) -> npt.NDArray[np.float64]:
    """The boxes of a ground-truth file.

    Lines of eight or more numbers (polygons, as VOT has them) become the boxes around their corners; lines with NaN,
    or with a size of zero, mean that the target is absent.

    Returns:
        float64 ``[n, 4]``, ``x, y, w, h`` in pixels; NaN where the target is absent.

    Raises:
        SourceError: the file cannot be read, is empty, or a line is not a box.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"the ground truth '{path}' cannot be read ({error}): mend or rename it.") from error
    if not lines:
        raise SourceError(f"the ground truth '{path}' is empty: remove it, or write one x,y,w,h a line.")
    return np.array([_line_box(line, path, number) for number, line in enumerate(lines, 1)], np.float64)


def _line_box(line: str, path: Path, number: int) -> tuple[float, float, float, float]:
    try:
        values = _numbers(line)
    except ValueError:
        values = []
    if len(values) == 4:
        x, y, w, h = values
    elif len(values) >= 8 and len(values) % 2 == 0:
        xs, ys = values[0::2], values[1::2]
        x, y, w, h = min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
    else:
        raise SourceError(
            f"line {number} of '{path}' is not a box x,y,w,h: mend the file, or rename it if it is not ground truth."
        )
    if not all(map(math.isfinite, (x, y, w, h))) or w <= 0 or h <= 0:
        return math.nan, math.nan, math.nan, math.nan
    return x, y, w, h


def _numbers(line: str) -> list[float]:
    return [float(part) for part in re.split(r"[,;\s]+", line.strip())]


def average_overlap(
    boxes: Sequence[Box], truth: npt.NDArray[np.float64], sizes: Sequence[tuple[int, int]]
) -> float | None:
    """The AO of one track under :data:`AO_RULE`.

    Args:
        boxes: one a frame, the first of them given.
        truth: float64 ``[m, 4]`` in pixels; frames past its end do not count.
        sizes: width and height of each frame in pixels.

    Returns:
        AO in 0..1, or None if no frame counts.
    """
    length = min(len(boxes), len(truth))
    found = np.array([box.as_tuple() for box in boxes[:length]]).reshape(-1, 4)[1:]
    wanted, limits = truth[1:length], np.array(sizes[:length], np.float64).reshape(-1, 2)[1:]
    present = ~np.isnan(wanted).any(axis=1)
    if not present.any():
        return None
    return float(iou(_cut(found[present], limits[present]), _cut(wanted[present], limits[present])).mean())


def _cut(boxes: npt.NDArray[np.float64], limits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Boxes ``[n, 4]`` cut to frames of width and height ``[n, 2]``."""
    low = np.clip(boxes[:, :2], 0, limits)
    with np.errstate(over="ignore"):  # a far edge beyond all numbers is beyond the frame
        far = boxes[:, :2] + boxes[:, 2:]
    return np.hstack([low, np.clip(far, 0, limits) - low])
