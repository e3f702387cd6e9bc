"""Need for Speed at 30 fps, as published (``<name>/30/<name>``) or repacked with ``anno/nfs_<name>.txt``."""

from __future__ import annotations

import shlex
from pathlib import Path

from ...groundtruth import Boxes, read_boxes, without_absent
from ..attributes import derive
from ..sequence import Dataset, Sequence
from .files import Reader, choose, folders, frames, require_first, require_length

_RATIO = 8  # 240 fps annotations for 30 fps frames


def _repacked(root: Path) -> bool:
    return (root / "sequences").is_dir() and any((root / "anno").glob("nfs_*.txt"))


def _published(folder: Path) -> bool:
    return (folder / "30" / f"{folder.name}.txt").is_file()


def _matches(root: Path) -> bool:
    return _repacked(root) or any(_published(folder) for folder in folders(root))


def _load(root: Path, split: str | None) -> Dataset:
    choose(split, ("30",), "NfS")
    if _repacked(root):
        files = sorted((root / "anno").glob("nfs_*.txt"))
        sequences = [_sequence(p.stem, frames(root / "sequences" / p.stem[4:]), read_boxes(p), p) for p in files]
    else:
        here = [folder for folder in folders(root) if _published(folder)]
        sequences = [
            _sequence(f.name, frames(f / "30" / f.name), read_boxes(f / "30" / f"{f.name}.txt", _corners), f)
            for f in here
        ]
    part = "" if len(sequences) == 100 else f", {len(sequences)} sequences"
    return Dataset(f"NfS30{part}", "nfs", root, tuple(sequences))


def _corners(line: str) -> list[float]:
    """``id x1 y1 x2 y2 frame lost occluded generated "label"`` of the annotation tool, as ``x, y, w, h``."""
    fields = shlex.split(line)
    if len(fields) < 5:
        return []
    x1, y1, x2, y2 = (float(value) for value in fields[1:5])
    return [x1, y1, x2 - x1, y2 - y1]


def _sequence(name: str, images: tuple[Path, ...], truth: Boxes, where: Path) -> Sequence:
    if abs(len(truth) / len(images) - _RATIO) < 1:
        truth = truth[::_RATIO]
    if abs(len(truth) - len(images)) == 1:  # several clips have one image or one box too many at the end
        length = min(len(truth), len(images))
        truth, images = truth[:length], images[:length]
    require_length(images, truth, where)
    require_first(truth, where)
    truth = without_absent(truth)
    return Sequence(name, images, truth, derive(truth), True)


READER = Reader(
    "nfs",
    "NfS30",
    "<name>/30/<name>/00001.jpg … with <name>/30/<name>.txt, or sequences/<name>/00001.jpg … with anno/nfs_<name>.txt",
    _matches,
    _load,
)
