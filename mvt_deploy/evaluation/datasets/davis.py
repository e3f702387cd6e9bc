"""DAVIS 2016 and 2017: masks become the boxes around them, and every object of a clip is a sequence."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import MissingExtra
from ...groundtruth import read_lines
from ..attributes import derive
from ..sequence import Dataset, DatasetError, Sequence
from .files import Reader, choose, folders, frames, require_length

_VOID = 255  # in DAVIS 2017 pixels that do not count; in DAVIS 2016 the object
_RESOLUTIONS = ("480p", "Full-Resolution", "1080p")


def _resolution(root: Path) -> str | None:
    return next(
        (r for r in _RESOLUTIONS if (root / "Annotations" / r).is_dir() and (root / "JPEGImages" / r).is_dir()), None
    )


def _matches(root: Path) -> bool:
    return _resolution(root) is not None


def _load(root: Path, split: str | None) -> Dataset:
    part = choose(split, ("val", "train", "all"), "DAVIS")
    resolution = _resolution(root)
    assert resolution is not None
    masks = root / "Annotations" / resolution
    listed = next((p for y in ("2017", "2016") if (p := root / "ImageSets" / y / f"{part}.txt").is_file()), None)
    if listed is None and part != "all" and split is not None:
        raise DatasetError(
            f"{root} has no ImageSets/2017/{part}.txt or ImageSets/2016/{part}.txt: unpack it, or give --split all."
        )
    lines = [line.split() for line in read_lines(listed)] if listed else [[f.name] for f in folders(masks)]
    names = [Path(words[0]).name for words in lines if words]
    sequences = [s for n in names for s in _objects(n, root / "JPEGImages" / resolution / n, masks / n)]
    return Dataset(f"DAVIS {part if listed else 'all'}", "davis", root, tuple(sequences))


def _objects(name: str, images: Path, masks: Path) -> list[Sequence]:
    if not images.is_dir() or not masks.is_dir():
        raise DatasetError(f"the clip {name} needs both {images} and {masks}: unpack it.")
    pictures, annotations = frames(images), frames(masks)
    labels = [_labels(path) for path in annotations]
    require_length(pictures, np.zeros((len(labels), 4)), masks)
    ids = sorted({int(i) for image in labels for i in np.unique(image)} - {0})
    if len(ids) > 1:
        ids = [i for i in ids if i != _VOID]
    return [_sequence(name if len(ids) == 1 else f"{name}-{i}", pictures, labels, i) for i in ids]


def _sequence(name: str, pictures: tuple[Path, ...], labels: list[npt.NDArray[np.uint8]], object_id: int) -> Sequence:
    truth = np.array([mask_box(image == object_id) for image in labels])
    start = int(np.flatnonzero(~np.isnan(truth[:, 0]))[0])  # an object may enter after the first frame
    truth = truth[start:]
    height, width = labels[0].shape
    return Sequence(name, pictures[start:], truth, derive(truth), True, (width, height))


def mask_box(mask: npt.NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Return the tight ``x, y, w, h`` around the true pixels of ``[H, W]``, in whole pixels; NaN for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return (math.nan,) * 4
    return float(columns[0]), float(rows[0]), float(columns[-1] - columns[0] + 1), float(rows[-1] - rows[0] + 1)


def _labels(path: Path) -> npt.NDArray[np.uint8]:
    """Object numbers ``[H, W]`` of an indexed PNG (OpenCV would give its colours)."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("reading the masks of DAVIS", "eval", "PIL") from error
    try:
        with Image.open(path) as image:
            labels = np.asarray(image)
    except (OSError, Image.DecompressionBombError, ValueError, SyntaxError, MemoryError) as error:  # OSError: no image
        raise DatasetError(f"the mask {path} cannot be read: copy the dataset again.") from error
    return np.asarray(labels if labels.ndim == 2 else labels.max(axis=2), np.uint8)


READER = Reader(
    "davis",
    "DAVIS",
    "JPEGImages/480p/<name>/00000.jpg …, Annotations/480p/<name>/00000.png …, ImageSets/<year>/val.txt",
    _matches,
    _load,
)
