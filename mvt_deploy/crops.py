"""Pairs of template and search crops from the shipped photographs: real pictures to compare graphs on anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .assets import asset
from .bundle import TrackerSpec
from .geometry import Box, crop, crop_window


@dataclass(frozen=True, slots=True)
class CropPairs:
    """BGR crops of the same targets.

    Attributes:
        template: uint8 ``[n, 128, 128, 3]``.
        search: uint8 ``[n, s, s, 3]``, where ``s`` is the side of the search crop.
    """

    template: npt.NDArray[np.uint8]
    search: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.template)

    def batches(self, size: int = 4) -> Iterator[CropPairs]:
        """The same pairs in their order, at most ``size`` at a time."""
        for i in range(0, len(self), size):
            yield CropPairs(self.template[i : i + size], self.search[i : i + size])


def photograph_pairs(count: int = 16, seed: int = 0, search_size: int | None = None) -> CropPairs:
    """Pairs cut from the shipped photographs around boxes of many sizes, with the search window shifted and rescaled.

    Args:
        count: Number of pairs.
        seed: Seed of the random boxes. The same seed gives the same boxes at every search size.
        search_size: Side of the search crops in pixels, at the density of the default side; None for the default.
    """
    spec = TrackerSpec() if search_size is None else TrackerSpec().at(search_size)
    random = np.random.default_rng(seed)
    images = [
        np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)
        for path in sorted(asset("photographs").glob("*.jpg"))
    ]
    templates, searches = [], []
    for i in range(count):
        image = images[i % len(images)]
        height, width = image.shape[:2]
        w, h = (float(v) for v in random.uniform(0.08, 0.4, 2) * (width, height))
        box = Box(float(random.uniform(0, width - w)), float(random.uniform(0, height - h)), w, h)
        shift, scale = random.normal(0, 0.3, 2) * (w, h), float(np.exp(random.normal(0, 0.2)))
        moved = Box(box.x + float(shift[0]), box.y + float(shift[1]), w * scale, h * scale)
        templates.append(crop(image, crop_window(box, spec.template_factor), spec.template_size))
        searches.append(crop(image, crop_window(moved, spec.search_factor), spec.search_size))
    return CropPairs(np.stack(templates), np.stack(searches))
