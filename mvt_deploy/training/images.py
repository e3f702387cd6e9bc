"""Images kept decoded in memory, up to a limit: each worker process has a cache of its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import TrainingError

Image = npt.NDArray[np.uint8]
"""``[H, W, 3]`` uint8 BGR, or ``[H, W]`` uint8 for masks."""


class Cache:
    """Arrays by key; the least recently used leave when the limit of bytes is passed."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._items: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """What is kept under ``key``, made (and weighed by ``size``, in bytes) if it is not there."""
        if key in self._items:
            self._items.move_to_end(key)
            return self._items[key][0]
        item = make()
        self._items[key] = (item, size(item))
        self._held += self._items[key][1]
        while self._held > self._limit and len(self._items) > 1:
            self._held -= self._items.popitem(last=False)[1][1]
        return item

    def image(self, path: Path) -> Image:
        """The BGR image of a file.

        Raises:
            TrainingError: it cannot be decoded.
        """
        image: Image = self.get(path, lambda: read(path, cv2.IMREAD_COLOR), lambda image: image.nbytes)
        return image


def read(path: Path, flags: int) -> Image:
    """Decode a file with OpenCV's ``flags``.

    Raises:
        TrainingError: it cannot be decoded.
    """
    image = cv2.imread(str(path), flags)
    if image is None:
        raise TrainingError(f"the image {path} cannot be decoded: replace it or take it out of the training data.")
    return np.asarray(image, np.uint8)
