"""Boxes, crop windows, the way back to the frame, and clipping: the published arithmetic in plain numpy.

Boxes are ``x, y, w, h`` in pixels, float, top-left origin. The formulas are those of MVT's published tracker
(BMVC 2023), which it shares with STARK and OSTrack; golden data in the tests pins them to the byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from .errors import BoxError
from .scaling import scale

CLIP_MARGIN = 10.0
"""Pixels of a clipped box that always stay inside the frame, and its smallest side (published value)."""

LARGEST_SIDE = 1 << 30
"""Largest side of a window in pixels; boxes that need a larger one are refused."""
LARGEST_LAID_OUT = 8192
"""Side in pixels up to which a window is laid out in memory (200 MB) before it is scaled; wider ones are sampled."""

BGRImage = npt.NDArray[np.uint8]
"""``[H, W, 3]`` uint8, blue-green-red, as OpenCV gives it."""

AnyImage = npt.NDArray[np.integer[Any] | np.floating[Any]]
"""What OpenCV's functions are declared to return; a frame must be uint8 all the same."""


class Box(NamedTuple):
    """An axis-aligned box as a tuple of four floats: ``x, y`` of the top-left corner, ``w, h``, in pixels of the frame.

    The constructor takes the values as they are; :meth:`of` checks them.

    Example:
        >>> box = Box(10.4, 20.0, 30.0, 40.0)
        >>> x, y, w, h = box
        >>> box.xyxy
        (10.4, 20.0, 40.4, 60.0)
        >>> box.rounded  # as cv2.rectangle(image, box.rounded, colour) takes it
        (10, 20, 30, 40)
    """

    x: float
    y: float
    w: float
    h: float

    @property
    def centre(self) -> tuple[float, float]:
        """``(cx, cy)`` in pixels."""
        return self.x + 0.5 * self.w, self.y + 0.5 * self.h

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """``(x1, y1, x2, y2)``: the top-left and the bottom-right corner, in pixels."""
        return self.x, self.y, self.x + self.w, self.y + self.h

    @property
    def rounded(self) -> tuple[int, int, int, int]:
        """``(x, y, w, h)`` in whole pixels: the box between the rounded corners of :attr:`xyxy`."""
        x1, y1, x2, y2 = map(round, self.xyxy)
        return x1, y1, x2 - x1, y2 - y1

    def as_tuple(self) -> tuple[float, float, float, float]:
        """``(x, y, w, h)`` in pixels, as a plain tuple."""
        return self.x, self.y, self.w, self.h

    @classmethod
    def of(cls, values: Iterable[float]) -> Box:
        """A box from four finite numbers ``x, y, w, h`` with a positive size.

        Raises:
            BoxError: The values are not four finite numbers, or the size is not positive.
        """
        try:
            numbers = [float(v) for v in values]
        except (TypeError, ValueError, OverflowError) as error:
            raise BoxError(f"a box is four numbers x,y,w,h in pixels, not {values!r}.") from error
        if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
            raise BoxError(f"a box is four finite numbers x,y,w,h in pixels, not {numbers}.")
        box = cls(*numbers)
        if box.w <= 0 or box.h <= 0:
            raise BoxError(f"the box {format_box(box)} has no size: width and height must be above zero.")
        return box


def format_box(box: Box) -> str:
    """``x,y,w,h`` with up to three decimals, for messages."""
    return ",".join(f"{v:.3f}".rstrip("0").rstrip(".") for v in box)


def require_pixels(box: Box) -> Box:
    """The same box, unless all of its values are within 0..1.

    Raises:
        BoxError: The box is in fractions of the frame.
    """
    if all(0 <= value <= 1 for value in box):
        raise BoxError(f"a box is in pixels, not fractions of the frame: {format_box(box)} is smaller than a pixel.")
    return box


def require_overlap(box: Box, width: int, height: int) -> Box:
    """The same box, if some of it lies inside a ``width`` x ``height`` frame.

    Raises:
        BoxError: No pixel of the box is inside the frame.
    """
    if box.x >= width or box.y >= height or box.x + box.w <= 0 or box.y + box.h <= 0:
        raise BoxError(
            f"the box {format_box(box)} lies outside the {width}x{height} frame: "
            "give x,y,w,h in pixels with the origin at the top left."
        )
    return box


@dataclass(frozen=True, slots=True)
class CropWindow:
    """A square window of the frame: top-left corner and side in whole pixels; it may leave the frame."""

    x: int
    y: int
    side: int


def crop_window(box: Box, factor: float) -> CropWindow:
    """The square window around a box whose side is ``ceil(sqrt(w * h) * factor)`` pixels.

    The corner uses Python's round (half to even), as published.

    Raises:
        BoxError: The window's side would be zero or above :data:`LARGEST_SIDE`, or the box is not finite.
    """
    if not all(map(math.isfinite, box)) or box.w <= 0 or box.h <= 0:
        raise BoxError(f"cannot crop around the box {tuple(box)}: it needs finite numbers and a positive size.")
    length = math.sqrt(box.w * box.h) * factor
    if not 0 < length <= LARGEST_SIDE:
        raise BoxError(f"cannot crop around the box {tuple(box)}: give its width and height in pixels.")
    side = math.ceil(length)
    return CropWindow(round(box.x + 0.5 * box.w - side * 0.5), round(box.y + 0.5 * box.h - side * 0.5), side)


def crop(frame: BGRImage, window: CropWindow, size: int, out: BGRImage | None = None) -> BGRImage:
    """Cut the window out of a frame, zeros where it leaves the frame, and scale it to ``size`` x ``size``.

    As published, the far edge counts as left one pixel before the frame's end (``max(0, x2 - width + 1)``). Windows of
    more than 8192 pixels a side are sampled at the same places without being laid out, within one grey level.

    Args:
        frame: BGR uint8 ``[H, W, 3]``; any order of channels works.
        window: The window to cut out, in pixels of the frame.
        size: Side of the result in pixels.
        out: Array to write into, uint8 ``[size, size, 3]``; None makes a new one.

    Returns:
        uint8 ``[size, size, 3]``, C-contiguous.
    """
    if out is None:
        out = np.empty((size, size, 3), np.uint8)
    height, width = frame.shape[:2]
    left, top = max(0, -window.x), max(0, -window.y)
    right = max(0, window.x + window.side - width + 1)
    bottom = max(0, window.y + window.side - height + 1)
    if left + right >= window.side or top + bottom >= window.side:  # nothing of the frame is in the window
        out[:] = 0
        return out
    if window.side > LARGEST_LAID_OUT:
        out[:] = _sampled(frame, window, size)
        return out
    patch = frame[window.y + top : window.y + window.side - bottom, window.x + left : window.x + window.side - right]
    if left or right or top or bottom:
        bordered = cv2.copyMakeBorder(patch, top, bottom, left, right, cv2.BORDER_CONSTANT)
        patch = np.asarray(bordered, np.uint8)
    scale(patch, size, out)
    return out


def _sampled(frame: BGRImage, window: CropWindow, size: int) -> BGRImage:
    """:func:`crop` of a window too wide to be laid out: bilinear between the four pixels next to each sample."""
    height, width = frame.shape[:2]
    rows, down = _samples(window.y, window.side, height, size)
    columns, across = _samples(window.x, window.side, width, size)
    total = np.zeros((size, size, frame.shape[2]))
    for row, weight in zip(rows, down, strict=True):
        for column, share in zip(columns, across, strict=True):
            total += frame[row[:, None], column] * (weight[:, None] * share)[..., None]
    return np.rint(total).astype(np.uint8)


def _samples(start: int, side: int, length: int, size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Along one axis of the frame: the two pixels next to each sample, and their weights, both ``[2, size]``.

    Samples lie where ``cv2.resize`` puts them; pixels outside the frame, or on its far edge, have no weight.
    """
    at = np.clip((np.arange(size) + 0.5) * side / size - 0.5, 0, side - 1)
    low = np.floor(at)
    pixels = np.stack([low, np.minimum(low + 1, side - 1)]).astype(np.int64) + start
    weights = np.stack([1 - (at - low), at - low])
    weights[(pixels < 0) | (pixels >= min(length, start + side - max(0, start + side - length + 1)))] = 0
    return np.clip(pixels, 0, length - 1), weights


def map_back(centre_size: npt.ArrayLike, window_of: Box, side: float) -> Box:
    """A box of the network, in fractions of the search crop, as a box of the frame.

    Args:
        centre_size: ``cx, cy, w, h`` as fractions of the crop.
        window_of: Box that the search window was cut around and is centred on, in pixels of the frame.
        side: Side of the search window in pixels of the frame.

    Returns:
        The box in pixels, not clipped.
    """
    cx, cy, w, h = (float(v) * side for v in np.asarray(centre_size, np.float64))
    centre_x, centre_y = window_of.centre
    return Box(cx + centre_x - 0.5 * side - 0.5 * w, cy + centre_y - 0.5 * side - 0.5 * h, w, h)


def clip(box: Box, width: int, height: int, margin: float = CLIP_MARGIN) -> Box:
    """The box cut to a ``width`` x ``height`` frame so that at least ``margin`` pixels of it stay inside.

    The published rule: no side becomes smaller than ``margin``. In a frame smaller than the margin, the margin is the
    frame's side.
    """
    x, w = _clip_axis(box.x, box.w, float(width), min(margin, float(width)))
    y, h = _clip_axis(box.y, box.h, float(height), min(margin, float(height)))
    return Box(x, y, w, h)


def _clip_axis(start: float, size: float, length: float, margin: float) -> tuple[float, float]:
    """Start and size of an interval cut to ``0..length``, of which at least ``margin`` stays."""
    end = min(max(margin, start + size), length)
    start = min(max(0.0, start), length - margin)
    return start, max(margin, end - start)


def iou(first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Intersection over union of boxes ``x, y, w, h`` in continuous coordinates.

    Args:
        first: Boxes, float ``[..., 4]``.
        second: Boxes, float ``[..., 4]``, broadcast against ``first``.

    Returns:
        float64 ``[...]`` in 0..1, never above by rounding; 0 where the union is empty.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    inter = np.prod(np.clip(high - low, 0, None), axis=-1)
    union = np.prod(a[..., 2:], axis=-1) + np.prod(b[..., 2:], axis=-1) - inter
    return np.where(union > 0, np.minimum(inter / np.where(union > 0, union, 1), 1.0), 0.0)
