"""GOT-10k: ``train``, ``val`` and ``test`` with a ``list.txt``; frames whose ``cover.label`` is 0 do not count."""

from __future__ import annotations

import re
from pathlib import Path

from ...groundtruth import flagged, read_boxes, read_lines, without_absent
from ..attributes import derive
from ..sequence import Dataset, DatasetError, Sequence
from .files import Reader, choose, frames, require_first, require_length

SPLITS = ("val", "test", "train")


def _matches(root: Path) -> bool:
    return any((root / split / "list.txt").is_file() for split in SPLITS) or _is_split(root)


def _is_split(folder: Path) -> bool:
    """Whether a folder is one split: VOT has a ``list.txt`` too, but neither these names nor a ``meta_info.ini``."""
    if not (folder / "list.txt").is_file():
        return False
    first = read_lines(folder / "list.txt")[0].strip()
    return first.startswith("GOT-10k") or (folder / first / "meta_info.ini").is_file()


def _load(root: Path, split: str | None) -> Dataset:
    if _is_split(root):
        folder, part = root, root.name
    else:
        part = choose(split, SPLITS, "GOT-10k")
        if split is None:
            part = next(s for s in SPLITS if (root / s / "list.txt").is_file())
        folder = root / part
        if not (folder / "list.txt").is_file():
            raise DatasetError(f"{root} has no {part}/list.txt: unpack that part of GOT-10k, or give another --split.")
    names = [line.strip() for line in read_lines(folder / "list.txt")]
    return Dataset(f"GOT-10k {part}", "got10k", root, tuple(_sequence(folder / name) for name in names))


def _sequence(folder: Path) -> Sequence:
    if not folder.is_dir():
        raise DatasetError(f"list.txt names {folder.name}, but there is no folder {folder}: unpack it.")
    images = frames(folder)
    truth = read_boxes(folder / "groundtruth.txt")
    require_first(truth, folder)
    if len(truth) > 1:  # the test split gives the first box only
        require_length(images, truth, folder)
        absent = flagged(folder, len(truth))
        if absent is not None:
            absent[0] = False  # the tracker starts there, whatever the flags say
        truth = without_absent(truth, absent)
    derived = derive(truth) if len(truth) > 1 else ()
    return Sequence(folder.name, images, truth, derived, bool(derived), _resolution(folder))


def _resolution(folder: Path) -> tuple[int, int] | None:
    """Width and height from ``meta_info.ini``, as the toolkit takes them, or None."""
    path = folder / "meta_info.ini"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = re.search(r"resolution:\s*\(\s*([1-9]\d{0,5})\s*,\s*([1-9]\d{0,5})", text)
    return (int(found[1]), int(found[2])) if found else None


READER = Reader(
    "got10k",
    "GOT-10k",
    "train/, val/, test/ (or one of them) with list.txt and <sequence>/00000001.jpg …, groundtruth.txt, cover.label",
    _matches,
    _load,
)
