"""Objects in photographs: from a label mask, from ``boxes.json``, or segmented by GrabCut."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..errors import TrainingError
from .images import Cache, Image, read
from .views import Floats, ellipse

BOXES = "boxes.json"
_GRABCUT_SIDE = 112  # pixels of the longer side: enough for a silhouette, and 20 ms
_SMALLEST_AREA = 900  # pixels of an object; smaller ones are blurred once they are enlarged
_SMALLEST_FILL = 0.35  # share of its box that an object fills


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph and its annotation.

    Attributes:
        file: The image.
        mask: A label mask of the same size (0 is background), or None.
        boxes: Boxes ``x, y, w, h`` of objects, in pixels.
    """

    file: Path
    mask: Path | None = None
    boxes: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Cutout:
    """An object that can be cut out of a photograph.

    Attributes:
        mask: Its silhouette with soft edges, uint8 ``[H, W]`` in 0..255, of the size of the photograph.
        outline: Corners ``[n, 2]`` of its convex hull, in pixels.
    """

    mask: Image
    outline: Floats


def read_boxes(path: Path) -> dict[Path, tuple[tuple[float, float, float, float], ...]]:
    """Read ``boxes.json``, which maps a picture, relative to the file's folder, to a list of boxes ``x, y, w, h``.

    Boxes that are very small or very elongated are left out.

    Raises:
        TrainingError: The file cannot be read.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        boxes: dict[Path, tuple[tuple[float, float, float, float], ...]] = {}
        for name, listed in rows.items():
            kept = []
            for x, y, w, h in ([float(value) for value in box] for box in listed):
                if not all(map(math.isfinite, (x, y, w, h))) or min(w, h) <= 0:
                    raise ValueError(f"a box {x:g},{y:g},{w:g},{h:g}")
                if w * h >= _SMALLEST_AREA / 2 and max(w / h, h / w) < 6:
                    kept.append((x, y, w, h))
            boxes[path.parent / name] = tuple(kept)
        return boxes
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise TrainingError(f"{path} cannot be read ({error}): it maps pictures to lists of x, y, w, h.") from error


def cutouts(photograph: Photograph, cache: Cache) -> list[Cutout]:
    """The objects of a photograph that can be cut out; they are made once and kept in the cache."""
    found: list[Cutout] = cache.get(
        ("cutouts", photograph.file),
        lambda: _cutouts(photograph, cache),
        lambda items: sum(item.mask.nbytes for item in items) + 64,
    )
    return found


def box_outlines(photograph: Photograph) -> list[Floats]:
    """Outlines ``[n, 2]`` of the annotated boxes of a photograph."""
    return [ellipse(np.asarray(box)) for box in photograph.boxes]


def _cutouts(photograph: Photograph, cache: Cache) -> list[Cutout]:
    if photograph.mask is None:
        silhouettes = [_grabcut(cache.image(photograph.file))]
    else:
        silhouettes = _labelled(read(photograph.mask, cv2.IMREAD_GRAYSCALE))
    return [cut for silhouette in silhouettes if (cut := _cutout(silhouette)) is not None]


def _labelled(labels: Image) -> list[Image]:
    """One silhouette per label; where much of the picture is background, all labels together are one object."""
    if (labels == 0).mean() > 0.3:
        return [np.asarray(labels > 0, np.uint8)]
    silhouettes = [np.asarray(labels == label, np.uint8) for label in np.unique(labels) if label]
    return [silhouette for silhouette in silhouettes if not _on_border(silhouette)]


def _on_border(silhouette: Image) -> bool:
    return bool(silhouette[[0, -1]].any() or silhouette[:, [0, -1]].any())


def _grabcut(image: Image) -> Image:
    """The silhouette of what stands out from the rim of an image; empty where nothing does."""
    scale = _GRABCUT_SIDE / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = small.shape[:2]
    inner = (int(width * 0.08), int(height * 0.08), int(width * 0.84), int(height * 0.84))
    mask = np.zeros((height, width), np.uint8)
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(small, mask, inner, np.zeros((1, 65)), np.zeros((1, 65)), 2, cv2.GC_INIT_WITH_RECT)
    except cv2.error:  # one flat colour: no two models to tell apart
        return np.zeros(image.shape[:2], np.uint8)
    front = np.asarray((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD), np.uint8)
    front = np.asarray(cv2.morphologyEx(front, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)
    whole = front.sum()
    piece = _largest(front)
    if not 0.04 < piece.mean() < 0.6 or piece.sum() < 0.7 * whole:  # fragments, or everything
        return np.zeros(image.shape[:2], np.uint8)
    soft = cv2.resize(piece * np.uint8(255), image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(soft > 127, np.uint8)


def _largest(silhouette: Image) -> Image:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(silhouette)
    if count < 2:
        return silhouette
    return np.asarray(labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()), np.uint8)


def _cutout(silhouette: Image) -> Cutout | None:
    piece = _largest(silhouette)
    width, height = cv2.boundingRect(piece)[2:]
    area = int(piece.sum())
    if area < _SMALLEST_AREA or area < _SMALLEST_FILL * width * height:
        return None
    contours, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(np.concatenate(contours))[:, 0].astype(np.float64) + 0.5
    mask = cv2.GaussianBlur(piece * np.uint8(255), (3, 3), 0)
    return Cutout(np.asarray(mask, np.uint8), hull)
