"""VOT: ``list.txt`` and ``<name>/groundtruth.txt`` with boxes, polygons or masks, each taken as the box around it."""

from __future__ import annotations

from pathlib import Path

from ...groundtruth import read_boxes, read_lines, without_absent
from ..attributes import derive
from ..sequence import Dataset, DatasetError, Sequence
from .files import Reader, choose, frames, has_images, require_first, require_length

_TAGS = {"camera_motion": "CM", "illum_change": "IV", "motion_change": "FM", "occlusion": "OCC", "size_change": "SV"}
"""Per-frame tags of the challenge as attributes of the sequence."""


def _matches(root: Path) -> bool:
    if not (root / "list.txt").is_file():
        return False
    first = root / read_lines(root / "list.txt")[0].strip()
    return any(first.glob("groundtruth*.txt")) and (has_images(first) or has_images(first / "color"))


def _load(root: Path, split: str | None) -> Dataset:
    choose(split, ("all",), "VOT")
    names = [line.strip() for line in read_lines(root / "list.txt")]
    return Dataset("VOT (one pass)", "vot", root, tuple(_sequence(root / name) for name in names))


def _sequence(folder: Path) -> Sequence:
    if not folder.is_dir():
        raise DatasetError(f"list.txt names {folder.name}, but there is no folder {folder}: unpack it.")
    images = frames(folder / "color" if has_images(folder / "color") else folder)
    file = next(iter(sorted(folder.glob("groundtruth*.txt"))), folder / "groundtruth.txt")
    truth = read_boxes(file)
    require_length(images, truth, folder)
    require_first(truth, folder)
    truth = without_absent(truth)
    labels = tuple(short for tag, short in _TAGS.items() if _tagged(folder, tag))
    return Sequence(folder.name, images, truth, labels or derive(truth), not labels)


def _tagged(folder: Path, tag: str) -> bool:
    files = [folder / f"{tag}.tag", folder / f"{tag}.label"]
    return any("1" in read_lines(f) for f in files if f.is_file())


READER = Reader(
    "vot",
    "VOT",
    "list.txt, <name>/groundtruth.txt and <name>/color/00000001.jpg … (or <name>/00000001.jpg …)",
    _matches,
    _load,
)
