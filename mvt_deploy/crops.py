"""Crops of the shipped photographs: real pictures to compare graphs on, wherever the package runs."""

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
class Pairs:
    """BGR crops of the same targets: template uint8 ``[n, 128, 128, 3]``, search uint8 ``[n, 256, 256, 3]``."""

    template: npt.NDArray[np.uint8]
    search: npt.NDArray[np.uint8]

    def batches(self, size: int = 4) -> Iterator[Pairs]:
        """The same pairs, ``size`` at a time."""
        for i in range(0, len(self.template), size):
            yield Pairs(self.template[i : i + size], self.search[i : i + size])


def photograph_pairs(count: int = 16, seed: int = 0) -> Pairs:
    """Pairs cut from the shipped photographs around boxes of many sizes, the search window shifted and rescaled."""
    spec = TrackerSpec()
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
    return Pairs(np.stack(templates), np.stack(searches))
