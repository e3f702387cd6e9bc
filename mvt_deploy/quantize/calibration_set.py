"""A calibration set on disk: template and search crops as JPEG files, and an index that says where each came from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ..bundle import parse
from ..crops import CropPairs
from ..errors import CalibrationError
from ..files import draft_folder

INDEX = "calibration.json"
FORMAT = 1
MIN_PAIRS = 16
"""Smallest number of pairs of a set: ranges measured on fewer say little."""
_QUALITY = 95  # JPEG quality: a third of a PNG's size, and a smaller loss than a camera's own compression
_MAX_NOISE_CORRELATION = 0.5  # correlation of neighbouring pixels: 0 for noise, above 0.8 for anything a lens made


@dataclass(frozen=True, slots=True)
class Sample:
    """Where one pair came from.

    Attributes:
        template: File name of the template crop.
        search: File name of the search crop.
        source: Name of the clip.
        frame: Index of the search crop's frame in the clip, from 0.
        kind: ``"path"`` (the window that the tracker cut), ``"hard"`` (such a window in a frame with a low score) or
            ``"jitter"`` (a window displaced and rescaled at random).
        score: The tracker's score in that frame, 0..1.
    """

    template: str
    search: str
    source: str
    frame: int
    kind: str
    score: float


@dataclass(frozen=True, slots=True)
class _Index:
    format: int
    pairs: list[Sample]


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded pair.

    Attributes:
        template: Template crop, BGR uint8 ``[128, 128, 3]``.
        search: Search crop, BGR uint8 ``[256, 256, 3]``.
        source: Name of the clip.
        frame: Index of the search crop's frame in the clip, from 0.
        kind: How the window was chosen, see :class:`Sample`.
        score: The tracker's score in that frame, 0..1.
    """

    template: npt.NDArray[np.uint8]
    search: npt.NDArray[np.uint8]
    source: str
    frame: int
    kind: str
    score: float


@dataclass(frozen=True, slots=True)
class CropSet:
    """A calibration set in memory.

    Attributes:
        pairs: The crops.
        samples: Where each pair came from.
        digest: SHA-256 digest of the set's files.
    """

    pairs: CropPairs
    samples: list[Sample]
    digest: str


def holds_crops(folder: Path) -> bool:
    """Whether a folder holds a calibration set."""
    return (folder / INDEX).is_file()


def write_crops(folder: Path, recordings: Sequence[Recording]) -> None:
    """Write a calibration set, whole or not at all; an earlier set in the folder is replaced.

    Args:
        folder: Folder of the set.
        recordings: The pairs.

    Raises:
        CalibrationError: There are too few pairs, or the folder cannot be written or holds something else.
    """
    if len(recordings) < MIN_PAIRS:
        raise CalibrationError(
            f"{len(recordings)} pairs are too few to calibrate on: give more or longer clips "
            f"(at least {MIN_PAIRS} pairs)."
        )
    require_place(folder)
    folder = folder.resolve()  # "." has no name, and of a link it is the set that is replaced
    try:
        with draft_folder(folder) as place:
            _write(place, recordings)
    except OSError as error:
        raise CalibrationError(f"cannot write the calibration set {folder} ({error.strerror or error}).") from error


def require_place(folder: Path) -> None:
    """Check that a set may be written to a folder.

    Raises:
        CalibrationError: The folder holds something else, or is a file.
    """
    try:
        taken = folder.exists() and not holds_crops(folder) and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise CalibrationError(f"cannot write the calibration set {folder} ({error.strerror or error}).") from error
    if taken:
        raise CalibrationError(f"{folder} exists and is no calibration set: give another place with -o, or remove it.")


def _write(folder: Path, recordings: Sequence[Recording]) -> None:
    templates: dict[bytes, str] = {}
    samples = []
    for number, one in enumerate(recordings):
        key = one.template.tobytes()
        if key not in templates:
            templates[key] = f"template-{len(templates):03}.jpg"
            _save(folder / templates[key], one.template)
        search = f"search-{number:03}.jpg"
        _save(folder / search, one.search)
        samples.append(Sample(templates[key], search, one.source, one.frame, one.kind, round(one.score, 4)))
    index = {"format": FORMAT, "pairs": [dataclasses.asdict(sample) for sample in samples]}
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _save(path: Path, image: npt.NDArray[np.uint8]) -> None:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    path.write_bytes(data.tobytes())


def read_crops(folder: Path) -> CropSet:
    """Read a calibration set and check that its pictures are not noise.

    Raises:
        CalibrationError: There is no set in the folder, or it is damaged, has too few pairs, or shows random noise.
    """
    path = folder / INDEX
    again = "record it again with  mvt-deploy calibrate."
    if not path.is_file():
        raise CalibrationError(
            f"{folder} holds no calibration set (no {INDEX}): record one with  mvt-deploy calibrate CLIP -o {folder}."
        )
    try:
        index: _Index = parse(_Index, json.loads(path.read_text(encoding="utf-8")), "index")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise CalibrationError(f"{path} is damaged ({error}): {again}") from error
    if index.format > FORMAT:
        raise CalibrationError(f"{path} has format {index.format}, this mvt-deploy reads up to {FORMAT}: update it.")
    if len(index.pairs) < MIN_PAIRS:
        raise CalibrationError(f"{folder} has {len(index.pairs)} pairs, fewer than {MIN_PAIRS}: {again}")
    digest = hashlib.sha256()
    images: dict[str, npt.NDArray[np.uint8]] = {}
    for sample in index.pairs:
        for name in (sample.template, sample.search):
            if name not in images:
                images[name] = _load(folder, name, again)
                digest.update(name.encode() + b"\0" + (folder / name).read_bytes())
    try:
        pairs = CropPairs(
            np.stack([images[s.template] for s in index.pairs]), np.stack([images[s.search] for s in index.pairs])
        )
    except ValueError as error:
        raise CalibrationError(f"the crops of {folder} are not all of one size: {again}") from error
    refuse_noise(pairs, str(folder))
    return CropSet(pairs, index.pairs, digest.hexdigest())


def _load(folder: Path, name: str, again: str) -> npt.NDArray[np.uint8]:
    if name != os.path.basename(name) or name in ("", ".", ".."):
        raise CalibrationError(f"{folder / INDEX} names a file outside its folder ({name!r}): do not use it.")
    try:
        image = cv2.imdecode(np.fromfile(folder / name, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        image = None
    if image is None:
        raise CalibrationError(f"{folder / name} is missing or no picture: {again}")
    return np.asarray(image, np.uint8)


def refuse_noise(pairs: CropPairs, name: str) -> None:
    """Refuse pairs that show random noise, because ranges measured on noise fit no picture.

    Args:
        pairs: The pairs.
        name: Name of the set, for the message.

    Raises:
        CalibrationError: In most search crops, neighbouring pixels are hardly correlated.
    """
    if float(np.median([_smoothness(image) for image in pairs.search])) < _MAX_NOISE_CORRELATION:
        raise CalibrationError(
            f"the crops of {name} are noise, and ranges measured on noise fit no picture: "
            "record real clips with  mvt-deploy calibrate."
        )


def _smoothness(image: npt.NDArray[np.uint8]) -> float:
    """Correlation of horizontally neighbouring pixels, -1..1; 1 for an image of a single colour."""
    grey = image.mean(axis=2)
    left, right = grey[:, :-1].ravel(), grey[:, 1:].ravel()
    if left.std() < 1 or right.std() < 1:
        return 1.0
    return float(np.corrcoef(left, right)[0, 1])
