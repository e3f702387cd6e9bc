"""Geometry of training pairs: linear maps of an object, the window of a crop, and rendering both in one warp.

Points are continuous pixel coordinates: pixel ``i`` covers ``[i, i + 1)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from .config import Windows
from .images import Image

Floats = npt.NDArray[np.float64]
_REACH = 0.48  # largest distance per axis of the target's centre from the middle of the search window, in its sides


class Pair(NamedTuple):
    """A template crop and a search crop of one target.

    Attributes:
        template: BGR crop, uint8 ``[128, 128, 3]``.
        search: BGR crop, uint8 ``[256, 256, 3]``.
        box: The target in the search crop, float32 ``[4]``: centre x, y, width, height as fractions of the crop's side.
    """

    template: Image
    search: Image
    box: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Window:
    """A square window.

    Attributes:
        centre: Its centre ``[2]``.
        side: Its side, in the units of the centre.
    """

    centre: Floats
    side: float

    def fractions(self, box: Floats) -> npt.NDArray[np.float32]:
        """A box ``x, y, w, h`` as centre x, y, width, height in fractions of the window, float32 ``[4]``."""
        centre = (box[:2] + box[2:] / 2 - self.centre) / self.side + 0.5
        return np.concatenate([centre, box[2:] / self.side]).astype(np.float32)


def linear_map(rotation: float = 0.0, scale_x: float = 1.0, scale_y: float = 1.0, shear: float = 0.0) -> Floats:
    """The matrix ``[2, 2]`` that scales, then shears, then rotates.

    Args:
        rotation: Angle in radians.
        scale_x: Factor on x; a negative one mirrors.
        scale_y: Factor on y.
        shear: Shift in x per unit of y.
    """
    c, s = math.cos(rotation), math.sin(rotation)
    return np.array([[c, -s], [s, c]]) @ np.array([[1, shear], [0, 1]]) @ np.diag([scale_x, scale_y])


def extent(points: Floats) -> Floats:
    """The smallest box ``x, y, w, h`` around points ``[n, 2]``."""
    low, high = points.min(0), points.max(0)
    return np.concatenate([low, high - low])


def ellipse(box: Floats, points: int = 16) -> Floats:
    """Points on the ellipse that fills a box, which stands for the unknown outline of an object without a mask.

    Its extent is the box. When it is rotated by a few degrees, its extent grows less than that of the box's corners.

    Args:
        box: ``x, y, w, h``.
        points: Number of points.

    Returns:
        ``[points, 2]``.
    """
    angle = np.arange(points) * (2 * math.pi / points)
    return np.asarray(box[:2] + box[2:] / 2 * (1 + np.stack([np.cos(angle), np.sin(angle)], 1)), np.float64)


def log_normal(rng: np.random.Generator, deviation: float) -> float:
    """A random factor around 1 whose logarithm is normal with this standard deviation."""
    return math.exp(deviation * rng.standard_normal())


def template_window(box: Floats, windows: Windows) -> Window:
    """The published template window of a box ``x, y, w, h``: centred, its side a multiple of the target's."""
    return Window(box[:2] + box[2:] / 2, math.sqrt(box[2] * box[3]) * windows.template_factor)


def search_window(rng: np.random.Generator, box: Floats, windows: Windows) -> Window:
    """A randomly shifted and scaled search window of a box ``x, y, w, h``, whose centre stays inside the window."""
    calm = rng.random() < windows.calm
    scale_jitter = windows.scale_jitter * (0.6 if calm else 1.0)
    centre_jitter = windows.centre_jitter * (1 / 3 if calm else 1.0)
    target = math.sqrt(box[2] * box[3])
    side = target * windows.search_factor * log_normal(rng, scale_jitter)
    shift = rng.uniform(-0.5, 0.5, 2) * target * centre_jitter
    return Window(box[:2] + box[2:] / 2 + np.clip(shift, -_REACH * side, _REACH * side), side)


def render(image: Image, mapping: Floats, offset: Floats, window: Window, size: int, border: int) -> Image:
    """Map an image by ``mapping @ point + offset`` and cut a window out of it.

    Args:
        image: Colour image or mask, uint8.
        mapping: Linear part of the map, ``[2, 2]``.
        offset: Translation of the map, ``[2]``, in pixels.
        window: The window, in mapped coordinates.
        size: Side of the result in pixels.
        border: OpenCV's border mode outside the image.

    Returns:
        uint8 ``[size, size]`` or ``[size, size, 3]``.
    """
    zoom = size / window.side
    # OpenCV counts from pixel centres: index i is the point i + 0.5.
    shift = (mapping @ np.array([0.5, 0.5]) + offset - window.centre) * zoom + size / 2 - 0.5
    matrix = np.hstack([mapping * zoom, shift[:, None]])
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border), np.uint8)


def draw_border(rng: np.random.Generator) -> int:
    """Draw OpenCV's border mode: black, as the tracker pads, or the mirrored image."""
    return cv2.BORDER_CONSTANT if rng.random() < 0.6 else cv2.BORDER_REFLECT_101
