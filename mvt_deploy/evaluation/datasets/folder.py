"""A plain folder: one sequence, or one folder per sequence, each with ``img/`` (or images) and ``groundtruth.txt``."""

from __future__ import annotations

from pathlib import Path

from ...groundtruth import read_boxes, without_absent
from ..attributes import derive
from ..sequence import Dataset, Sequence
from .files import Reader, choose, folders, frames, has_images, require_first, require_length

_TRUTHS = ("groundtruth.txt", "groundtruth_rect.txt")


def _truth(folder: Path) -> Path | None:
    return next((folder / name for name in _TRUTHS if (folder / name).is_file()), None)


def _is_sequence(folder: Path) -> bool:
    return _truth(folder) is not None and (has_images(folder / "img") or has_images(folder))


def _matches(root: Path) -> bool:
    return _is_sequence(root) or any(_is_sequence(folder) for folder in folders(root))


def _load(root: Path, split: str | None) -> Dataset:
    choose(split, ("all",), "a plain folder")
    here = [root] if _is_sequence(root) else [folder for folder in folders(root) if _is_sequence(folder)]
    return Dataset(root.resolve().name, "folder", root, tuple(map(_sequence, here)))


def _sequence(folder: Path) -> Sequence:
    images = frames(folder / "img" if has_images(folder / "img") else folder)
    file = _truth(folder)
    assert file is not None
    truth = read_boxes(file)
    require_first(truth, folder)
    if len(truth) > 1:
        require_length(images, truth, folder)
        truth = without_absent(truth)
    derived = derive(truth) if len(truth) > 1 else ()
    return Sequence(folder.resolve().name, images, truth, derived, bool(derived))


READER = Reader(
    "folder",
    "a plain folder",
    "img/00000001.jpg … and groundtruth.txt with one x,y,w,h per line, or such folders",
    _matches,
    _load,
)
