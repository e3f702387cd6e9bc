"""TrackingNet: ``TEST`` and ``TRAIN_0`` … ``TRAIN_11`` with ``frames/<name>`` and ``anno/<name>.txt``."""

from __future__ import annotations

from pathlib import Path

from ...groundtruth import read_boxes, without_absent
from ..attributes import derive
from ..sequence import Dataset, DatasetError, Sequence
from .files import Reader, choose, frames, require_first, require_length

_PARTS = {"test": ("TEST",), "train": tuple(f"TRAIN_{n}" for n in range(12))}


def _is_part(folder: Path) -> bool:
    return (folder / "anno").is_dir() and (folder / "frames").is_dir()


def _matches(root: Path) -> bool:
    return _is_part(root) or any(_is_part(root / name) for names in _PARTS.values() for name in names)


def _load(root: Path, split: str | None) -> Dataset:
    if _is_part(root):
        parts, title = [root], root.name
    else:
        title = choose(split, ("test", "train"), "TrackingNet")
        if split is None and not _is_part(root / "TEST"):
            title = "train"
        parts = [root / name for name in _PARTS[title] if _is_part(root / name)]
        if not parts:
            raise DatasetError(
                f"{root} has no {_PARTS[title][0]}/ with anno/ and frames/: unpack it, or give another --split."
            )
    files = [file for part in parts for file in sorted((part / "anno").glob("*.txt"))]
    return Dataset(f"TrackingNet {title}", "trackingnet", root, tuple(map(_sequence, files)))


def _sequence(file: Path) -> Sequence:
    folder = file.parent.parent / "frames" / file.stem
    if not folder.is_dir():
        raise DatasetError(f"{file} annotates the frames in {folder}, and there is no such folder: unpack it.")
    images, truth = frames(folder), read_boxes(file)
    require_first(truth, file)
    if len(truth) == 1:  # the test split gives the first box only
        return Sequence(file.stem, images, truth)
    require_length(images, truth, folder)
    truth = without_absent(truth)
    return Sequence(file.stem, images, truth, derive(truth), True)


READER = Reader(
    "trackingnet",
    "TrackingNet",
    "TEST/ or TRAIN_<n>/ with frames/<name>/0.jpg … and anno/<name>.txt",
    _matches,
    _load,
)
