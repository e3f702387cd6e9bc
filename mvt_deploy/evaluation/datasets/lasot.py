"""LaSOT: ``<class>/<class>-<n>/img``; frames flagged in ``full_occlusion.txt`` or ``out_of_view.txt`` are absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...groundtruth import read_boxes, read_flags, read_lines, without_absent
from ..attributes import LASOT, derive, read_attributes
from ..sequence import Dataset, DatasetError, Sequence
from .files import Reader, choose, folders, frames, require_first, require_length

_TEST = (
    "airplane 1 9 13 15; basketball 1 6 7 11; bear 2 4 6 17; bicycle 2 7 9 18; bird 2 3 15 17; boat 3 4 12 17; book "
    "3 10 11 19; bottle 1 12 14 18; bus 2 5 17 19; car 2 6 9 17; cat 1 3 18 20; cattle 2 7 12 13; spider 14 16 18 "
    "20; coin 3 6 7 18; crab 3 6 12 18; surfboard 12 4 5 8; cup 1 4 7 17; deer 4 8 10 14; dog 1 7 15 19; guitar 3 8 "
    "10 16; person 1 5 10 12; pig 2 10 13 18; rubicCube 1 6 14 19; swing 10 14 17 20; drone 13 15 2 7; pool 12 15 3 "
    "7; rabbit 10 13 17 19; racing 10 15 16 20; robot 1 19 5 8; sepia 13 16 6 8; sheep 3 5 7 9; skateboard 16 19 3 "
    "8; tank 14 16 6 9; tiger 12 18 4 6; train 1 11 20 7; truck 16 3 6 7; turtle 16 5 8 9; umbrella 17 19 2 9; yoyo "
    "15 17 19 7; zebra 10 14 16 17; elephant 1 12 16 18; goldfish 3 7 8 10; hat 1 2 5 18; kite 4 6 10 15; "
    "motorcycle 1 3 9 18; mouse 1 8 9 17; flag 3 9 5 2; frog 3 4 20 9; gametarget 1 2 7 13; hand 2 3 9 16; helmet 5 "
    "11 19 13; licenseplate 6 12 13 15; electricfan 1 10 18 20; chameleon 3 6 11 20; crocodile 3 4 10 14; gecko 1 5 "
    "16 19; fox 2 3 5 20; giraffe 2 10 13 15; gorilla 4 6 9 13; hippo 1 7 9 20; horse 1 4 12 15; kangaroo 2 5 11 "
    "14; leopard 1 7 16 20; lion 1 5 12 20; lizard 1 3 6 13; microphone 2 6 14 16; monkey 3 4 9 17; shark 2 3 5 6; "
    "squirrel 8 11 13 19; volleyball 1 13 18 19"
)
"""The 280 sequences of the test split (protocol II), by class."""


def _test_names() -> list[str]:
    rows = [row.split() for row in _TEST.split(";")]
    return [f"{row[0]}-{number}" for row in rows for number in row[1:]]


def _is_sequence(folder: Path) -> bool:
    return (
        (folder / "groundtruth.txt").is_file()
        and (folder / "img").is_dir()
        and (folder / "full_occlusion.txt").is_file()
    )


def _all(root: Path) -> dict[str, Path]:
    """Sequences by name, in class folders or all in one."""
    found = [f for top in folders(root) for f in ([top] if _is_sequence(top) else folders(top)) if _is_sequence(f)]
    return {folder.name: folder for folder in found}


def _matches(root: Path) -> bool:
    return any(_is_sequence(top) or any(_is_sequence(f) for f in folders(top)) for top in folders(root))


def _load(root: Path, split: str | None) -> Dataset:
    part = choose(split, ("test", "train", "all"), "LaSOT")
    here = _all(root)
    listed = root / "testing_set.txt"
    test = [line.strip() for line in read_lines(listed)] if listed.is_file() else _test_names()
    names = {
        "test": [name for name in test if name in here],
        "train": sorted(set(here) - set(test)),
        "all": sorted(here),
    }[part]
    if not names:
        raise DatasetError(f"{root} holds {len(here)} LaSOT sequences but none of its {part} split: give --split all.")
    missing = f", {len(names)} of {len(test)} sequences" if part == "test" and len(names) < len(test) else ""
    return Dataset(f"LaSOT {part}{missing}", "lasot", root, tuple(_sequence(here[name], root) for name in names))


def _sequence(folder: Path, root: Path) -> Sequence:
    images = frames(folder / "img")
    truth = read_boxes(folder / "groundtruth.txt")
    images = images[: len(truth)]  # monkey-17 has more images than boxes, and only those with a box count
    require_length(images, truth, folder)
    require_first(truth, folder)
    hidden = {"FOC": read_flags(folder / "full_occlusion.txt"), "OV": read_flags(folder / "out_of_view.txt")}
    absent = np.zeros(len(truth), bool)
    for name, values in hidden.items():
        if values is None or len(values) != len(truth):
            raise DatasetError(f"{folder} needs one flag per frame in full_occlusion.txt and out_of_view.txt ({name}).")
        absent |= values > 0
    absent[0] = False  # the tracker starts there, whatever the flags say
    labels = next(
        (
            a
            for place in ("att", "annos/att", "anno/att")
            if (a := read_attributes(root / place / f"{folder.name}.txt", LASOT)) is not None
        ),
        None,
    )
    truth = without_absent(truth, absent)
    derived = tuple(n for n, v in hidden.items() if v is not None and v.any()) + derive(truth)
    return Sequence(folder.name, images, truth, derived if labels is None else labels, labels is None)


READER = Reader(
    "lasot",
    "LaSOT",
    "<class>/<class>-<n>/img/00000001.jpg …, groundtruth.txt, full_occlusion.txt, out_of_view.txt (and its toolkit's "
    "att/ at the top, for attributes)",
    _matches,
    _load,
)
