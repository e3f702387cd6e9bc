"""UAV123: ``data_seq/UAV123/<clip>`` with ``anno/UAV123/<name>.txt``; several names share a clip, NaN means absent."""

from __future__ import annotations

from pathlib import Path

from ...groundtruth import read_boxes, without_absent
from ..attributes import UAV123, derive, read_attributes
from ..sequence import Dataset, DatasetError, Sequence
from .files import Reader, choose, frames, require_first

_STARTS = {
    "bird1": (1, 775, 1573),
    "car1": (1, 751, 1627),
    "car6": (1, 487, 1807, 2953, 3925),
    "car8": (1, 1357),
    "car16": (1, 415),
    "group1": (1, 1333, 2515, 3925),
    "group2": (1, 907, 1771),
    "group3": (1, 1567, 2827, 4369),
    "person2": (1, 1189),
    "person4": (1, 1501),
    "person5": (1, 877),
    "person7": (1, 1249),
    "person8": (1, 1075),
    "person12": (1, 601),
    "person14": (1, 847, 1813),
    "person17": (1, 1501),
    "person19": (1, 1243, 2791),
    "truck4": (1, 577),
    "uav1": (1, 1555, 2473),
}
"""First frame number of ``<clip>_1``, ``<clip>_2`` … in the clips that several sequences share."""


def _matches(root: Path) -> bool:
    return (root / "data_seq" / "UAV123").is_dir() and (root / "anno").is_dir()


def _load(root: Path, split: str | None) -> Dataset:
    part = choose(split, ("UAV123", "UAV20L"), "UAV123")
    files = sorted((root / "anno" / part).glob("*.txt"))
    if not files:
        raise DatasetError(f"{root / 'anno' / part} holds no annotations <name>.txt: unpack them.")
    sequences = tuple(_sequence(root, part, file) for file in files)
    whole = {"UAV123": 123, "UAV20L": 20}[part]
    missing = "" if len(sequences) == whole else f", {len(sequences)} of {whole} sequences"
    return Dataset(f"{part}{missing}", "uav123", root, sequences)


def _sequence(root: Path, part: str, file: Path) -> Sequence:
    truth = read_boxes(file)
    clip, _, number = file.stem.rpartition("_")
    start = 1
    if part == "UAV123" and clip in _STARTS and number.isdigit() and int(number) <= len(_STARTS[clip]):
        start = _STARTS[clip][int(number) - 1]
    else:
        clip = file.stem
    folder = root / "data_seq" / "UAV123" / clip
    if not folder.is_dir():
        raise DatasetError(f"{file} annotates the frames in {folder}, and there is no such folder: unpack it.")
    numbered = {int(p.stem): p for p in frames(folder) if p.stem.isdigit()}
    wanted = range(start, start + len(truth))
    if missing := [n for n in wanted if n not in numbered]:
        raise DatasetError(
            f"{folder} lacks {len(missing)} frames of {file.stem}, the first {missing[0]:06d}: unpack it again."
        )
    require_first(truth, file)
    truth = without_absent(truth)
    labels = read_attributes(file.parent / "att" / file.name, UAV123)
    return Sequence(
        file.stem,
        tuple(numbered[n] for n in wanted),
        truth,
        derive(truth) if labels is None else labels,
        labels is None,
    )


READER = Reader(
    "uav123",
    "UAV123",
    "data_seq/UAV123/<clip>/000001.jpg …, anno/UAV123/<name>.txt (att/ beside them for attributes)",
    _matches,
    _load,
)
