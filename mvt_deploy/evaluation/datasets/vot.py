"""VOT: ``list.txt`` and ``<name>/groundtruth.txt`` with boxes, polygons or masks, each taken as the box around it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..attributes import derive
from ..sequence import Dataset, DatasetError, Sequence
from .files import (
    Reader,
    boxes,
    choose,
    frames,
    has_images,
    lines,
    numbers,
    require_first,
    require_length,
    without_absent,
)

_TAGS = {"camera_motion": "CM", "illum_change": "IV", "motion_change": "FM", "occlusion": "OCC", "size_change": "SV"}
"""Per-frame tags of the challenge as attributes of the sequence."""


def _matches(root: Path) -> bool:
    if not (root / "list.txt").is_file():
        return False
    first = root / lines(root / "list.txt")[0].strip()
    return any(first.glob("groundtruth*.txt")) and (has_images(first) or has_images(first / "color"))


def _load(root: Path, split: str | None) -> Dataset:
    choose(split, ("all",), "VOT")
    names = [line.strip() for line in lines(root / "list.txt")]
    return Dataset("VOT (one pass)", "vot", root, tuple(_sequence(root / name) for name in names))


def box_around(line: str) -> list[float]:
    """``x, y, w, h`` around a box, a polygon ``x1, y1, x2, y2, …`` or a run-length mask ``mx, y, w, h, runs …``.

    A line with one number is the challenge's code for "no region": NaN. Polygons become
    what the VOT toolkit converts them to; masks the tight box in whole pixels.

    Raises:
        ValueError: it is none of these.
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
    corners = np.array(values).reshape(-1, 2)
    low, high = corners.min(axis=0), corners.max(axis=0)
    return [*low.tolist(), *(high - low).tolist()]


def _mask_box(values: list[int]) -> list[float]:
    """The tight box of a mask: offset, size, then alternating runs of background and target in row order."""
    if len(values) < 4:
        raise ValueError("a mask begins with x, y, w, h")
    x, y, width, height = values[:4]
    runs = np.array(values[4:], int)
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    if mask.size > width * height:
        raise ValueError("a mask's runs are longer than its area")
    rows, columns = np.divmod(np.flatnonzero(mask), max(width, 1))
    if not len(rows):
        return [math.nan] * 4
    left, top = columns.min(), rows.min()
    return [float(x + left), float(y + top), float(columns.max() - left + 1), float(rows.max() - top + 1)]


def _sequence(folder: Path) -> Sequence:
    if not folder.is_dir():
        raise DatasetError(f"list.txt names {folder.name}, but there is no folder {folder}: unpack it.")
    images = frames(folder / "color" if has_images(folder / "color") else folder)
    file = next(iter(sorted(folder.glob("groundtruth*.txt"))), folder / "groundtruth.txt")
    truth = boxes(file, box_around)
    require_length(images, truth, folder)
    require_first(truth, folder)
    truth = without_absent(truth)
    labels = tuple(short for tag, short in _TAGS.items() if _tagged(folder, tag))
    return Sequence(folder.name, images, truth, labels or derive(truth), not labels)


def _tagged(folder: Path, tag: str) -> bool:
    files = [folder / f"{tag}.tag", folder / f"{tag}.label"]
    return any("1" in lines(f) for f in files if f.is_file())


READER = Reader(
    "vot",
    "VOT",
    "list.txt, <name>/groundtruth.txt and <name>/color/00000001.jpg … (or <name>/00000001.jpg …)",
    _matches,
    _load,
)
