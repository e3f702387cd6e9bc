"""Decoded images, kept in memory up to a limit; every worker process has its own cache."""

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
    """Keeps items by key and drops the least recently used ones when they exceed a limit.

    Args:
        limit: Limit in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._items: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """The item of a key, which is made if it is not in the cache.

        Args:
            key: Key of the item.
            make: Makes the item.
            size: Gives the size of an item in bytes.
        """
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
        """The BGR image of a file, decoded once.

        Raises:
            TrainingError: The file cannot be decoded.
        """
        image: Image = self.get(path, lambda: read(path, cv2.IMREAD_COLOR), lambda image: image.nbytes)
        return image


def read(path: Path, flags: int) -> Image:
    """Decode a file.

    Args:
        path: The file.
        flags: OpenCV's flags, ``cv2.IMREAD_COLOR`` or ``cv2.IMREAD_GRAYSCALE``.

    Raises:
        TrainingError: The file cannot be decoded.
    """
    image = cv2.imread(str(path), flags)
    if image is None:
        raise TrainingError(f"the image {path} cannot be decoded: replace it or remove it from the training data.")
    return np.asarray(image, np.uint8)
