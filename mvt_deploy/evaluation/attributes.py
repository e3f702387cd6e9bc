"""Challenge attributes: the benchmarks' labels, and those that follow from the boxes alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..groundtruth import Boxes
from .sequence import DatasetError

LASOT = ("IV", "POC", "DEF", "MB", "CM", "ROT", "BC", "VC", "SV", "FOC", "FM", "OV", "LR", "ARC")
OTB = ("IV", "SV", "OCC", "DEF", "MB", "FM", "IPR", "OPR", "OV", "BC", "LR")
UAV123 = ("SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SOB")

NAMES = {
    "ARC": "aspect ratio change",
    "BC": "background clutter",
    "CM": "camera motion",
    "DEF": "deformation",
    "FM": "fast motion",
    "FOC": "full occlusion",
    "IPR": "in-plane rotation",
    "IV": "illumination variation",
    "LR": "low resolution",
    "MB": "motion blur",
    "OCC": "occlusion",
    "OPR": "out-of-plane rotation",
    "OV": "out of view",
    "POC": "partial occlusion",
    "ROT": "rotation",
    "SOB": "similar object",
    "SV": "scale variation",
    "VC": "viewpoint change",
}


def read_attributes(path: Path, names: tuple[str, ...]) -> tuple[str, ...] | None:
    """Read the attributes that a toolkit's ``att/<sequence>.txt`` switches on.

    Args:
        path: The file, with a 0 or a 1 for each name.
        names: The benchmark's attributes in the order of the flags.

    Returns:
        The names whose flag is 1, or None where there is no file.

    Raises:
        DatasetError: The file does not hold one flag per name.
    """
    if not path.is_file():
        return None
    flags = path.read_text(encoding="utf-8", errors="replace").replace(",", " ").split()
    if len(flags) != len(names) or not set(flags) <= {"0", "1"}:
        raise DatasetError(f"{path} should hold {len(names)} flags (0 or 1), for {', '.join(names)}: copy it again.")
    return tuple(name for name, flag in zip(names, flags, strict=True) if flag == "1")


def derive(truth: Boxes) -> tuple[str, ...]:
    """Compute the attributes that LaSOT (CVPR 2019, table 2) defines by the boxes alone.

    SV: the area leaves 0.5..2 times that of the first box. ARC: the aspect ratio leaves 0.5..2 times that of the first
    box. FM: from one frame to the next the centre moves by more than the box's size (the square root of its area).
    LR: some box has fewer than 1000 pixels.

    Args:
        truth: float64 ``[n, 4]``, NaN where the target is absent.
    """
    here = truth[~np.isnan(truth).any(axis=1) & (truth[:, 2:] > 0).all(axis=1)]
    if not len(here):
        return ()
    area, aspect = here[:, 2] * here[:, 3], here[:, 2] / here[:, 3]
    with np.errstate(invalid="ignore"):  # NaN on either side of an absence compares false
        moved = np.linalg.norm(np.diff(truth[:, :2] + truth[:, 2:] / 2, axis=0), axis=1)
        fast = moved > np.sqrt(truth[1:, 2] * truth[1:, 3])
    found = {
        "SV": _leaves(area / area[0]),
        "ARC": _leaves(aspect / aspect[0]),
        "FM": fast.any(),
        "LR": area.min() < 1000,
    }
    return tuple(name for name, present in found.items() if present)


def _leaves(ratio: np.ndarray[tuple[int], np.dtype[np.float64]]) -> bool:
    return bool((ratio < 0.5).any() or (ratio > 2).any())
