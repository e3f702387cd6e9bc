"""The most prominent moving object of a short stretch of video, seen from a moving camera or a still one.

Consecutive frames are registered with a homography from tracked corners (RANSAC), which is the camera's motion. Where
dense optical flow still finds motion after that, something moves by itself; connected regions of it that are compact,
sizeable, persistent and stand out from their surroundings are the candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..geometry import BGRImage, Box

WORK_SIDE = 384
"""Longer side, in pixels, of the pictures the search works on."""

_GAPS = (1, 2, 3, 4, 6, 8, 11, 15, 20)  # frames between the reference and those it is compared with
_SMALLEST, _LARGEST = 0.0008, 0.5  # shares of the picture's area that an object may cover
_MOVES = 0.6  # pixels of the pictures: slower motion is noise of the flow

_BLEEDS = 0.35  # share of the fastest motion: what is slower is taken for its surroundings
_PLAIN = 3.0  # grey levels: a standard deviation below this in a small window is a plain surface

GreyImage = npt.NDArray[np.uint8]
FloatImage = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Mover:
    """A moving region.

    Attributes:
        box: Its box in pixels of the frame.
        prominence: How prominent it is, in no unit; a larger value is more prominent.
    """

    box: Box
    prominence: float


def shrink(image: BGRImage) -> GreyImage:
    """A frame as the search wants it: grey uint8 ``[h, w]``, longer side at most :data:`WORK_SIDE`."""
    scale = min(1.0, WORK_SIDE / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)


def prominent_mover(pictures: Sequence[GreyImage], width: int, height: int) -> Mover | None:
    """The most prominent moving object, where it is in the first picture.

    Args:
        pictures: What :func:`shrink` gave, in order of time, forwards or backwards; the first is the reference.
        width: Width of the frames that the pictures were made from, in pixels.
        height: Height of these frames, in pixels.

    Returns:
        The object, or None if nothing moves by itself.
    """
    if len(pictures) < 2 or min(pictures[0].shape) < 32:
        return None
    motions = [_own_motion(pictures[0], picture, camera) for picture, camera in _registered(pictures)]
    movers = _regions(_evidence(motions), width / pictures[0].shape[1], height / pictures[0].shape[0])
    return max(movers, key=lambda mover: mover.prominence, default=None)


def _registered(pictures: Sequence[GreyImage]) -> list[tuple[GreyImage, FloatImage]]:
    """Pictures after the first, and the homography from the first to each (3x3), chained over neighbours."""
    chosen, camera = [], np.eye(3, dtype=np.float32)
    for index in range(1, len(pictures)):
        camera = np.asarray(_camera_motion(pictures[index - 1], pictures[index]) @ camera, np.float32)
        if index in _GAPS:
            chosen.append((pictures[index], camera / camera[2, 2]))
    return chosen


def _camera_motion(before: GreyImage, after: GreyImage) -> FloatImage:
    """The homography that most corners follow from one picture to the next; the identity where there are too few."""
    still = np.eye(3, dtype=np.float32)
    corners = cv2.goodFeaturesToTrack(before, maxCorners=400, qualityLevel=0.005, minDistance=7)
    if corners is None or len(corners) < 12:
        return still
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, corners.copy())
    good = found.ravel() == 1
    if good.sum() < 12:
        return still
    cv2.setRNGSeed(0)
    motion, _ = cv2.findHomography(corners[good], moved[good], cv2.RANSAC, 1.5)
    return still if motion is None else np.asarray(motion, np.float32)


def _own_motion(reference: GreyImage, picture: GreyImage, camera: FloatImage) -> FloatImage:
    """Pixels that each place of the reference moved by itself, float32 ``[h, w]``; NaN where it is out of sight."""
    height, width = reference.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    aligned = cv2.warpPerspective(picture, camera, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    seen = cv2.warpPerspective(np.full_like(picture, 255), camera, (width, height), flags=flags)
    dense = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow = dense.calc(reference, np.asarray(aligned, np.uint8), np.zeros((height, width, 2), np.float32))
    speed: FloatImage = np.linalg.norm(np.asarray(flow, np.float32), axis=2).astype(np.float32)
    speed[_contrast(reference) < _PLAIN] = 0  # flow over a plain surface is a guess
    speed[cv2.erode(seen, np.ones((9, 9), np.uint8)) < 255] = np.nan
    return speed


def _contrast(picture: GreyImage) -> FloatImage:
    """Standard deviation of grey levels in 9x9 windows, float32 ``[h, w]``."""
    values = picture.astype(np.float32)
    mean = np.asarray(cv2.blur(values, (9, 9)), np.float32)
    square = np.asarray(cv2.blur(values * values, (9, 9)), np.float32)
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0)), np.float32)


def _evidence(motions: Sequence[FloatImage]) -> FloatImage:
    """Speed of each place that surely moves by itself, in pixels of the pictures, float32 ``[h, w]``; 0 elsewhere.

    A place counts as moving in a picture when it is faster than the flow's noise there, estimated from the picture's
    median (most of a picture stands still once the camera's motion is taken out).
    """
    votes, speeds = [], []
    for speed in motions:
        seen = ~np.isnan(speed)
        noise = float(np.median(speed[seen])) if seen.any() else 0.0
        moving = np.where(seen, speed, 0.0) > max(_MOVES, 4 * noise)
        votes.append(moving)
        speeds.append(np.where(moving, speed, 0.0))
    share = np.mean(votes, axis=0)
    evidence = np.where(share >= 0.5, np.median(speeds, axis=0) * share, 0.0)
    # Flow is smooth: it bleeds from what moves into what stands beside it, at a fraction of the speed.
    return np.asarray(np.where(evidence > _BLEEDS * np.percentile(evidence, 99.5), evidence, 0.0), np.float32)


def _regions(evidence: FloatImage, scale_x: float, scale_y: float) -> list[Mover]:
    """Connected, compact regions of the evidence; the scales lead back to pixels of the frame."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    mask = cv2.morphologyEx((evidence > 0).astype(np.uint8), cv2.MORPH_OPEN, kernel)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    movers = []
    for label in range(1, count):
        x, y, w, h, area = (int(v) for v in stats[label])
        if not _SMALLEST <= area / mask.size <= _LARGEST or max(w, h) > 6 * min(w, h):
            continue
        inside = labels == label
        filled = area / (w * h)
        around = cv2.dilate(inside.astype(np.uint8), kernel, iterations=4).astype(bool) & ~inside
        speed = float(evidence[inside].mean())
        stands_out = speed / (speed + float(evidence[around].mean()) if around.any() else speed)
        touches = x == 0 or y == 0 or x + w == mask.shape[1] or y + h == mask.shape[0]
        prominence = np.sqrt(area) * filled * stands_out * np.sqrt(speed) * (0.5 if touches else 1.0)
        box = Box(x * scale_x, y * scale_y, w * scale_x, h * scale_y)
        movers.append(Mover(box, float(prominence)))
    return movers
