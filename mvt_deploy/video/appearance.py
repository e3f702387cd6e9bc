"""The box of a thing by its colours: what inside a rough box differs from what surrounds it (GrabCut)."""

from __future__ import annotations

import cv2
import numpy as np

from ..geometry import BGRImage, Box
from .motion import WORK_SIDE

_AROUND = 0.5  # share of the box's sides that may still belong to the thing
_ROUNDS = 4
_FEW_COLOURS, _GRAIN = 1000, 8  # of drawn pictures, which get noise of so many grey levels: else GrabCut may not end


def fit_to_appearance(image: BGRImage, box: Box) -> Box:
    """The box around the largest connected region that GrabCut takes for foreground in and around a box.

    Args:
        image: BGR uint8 ``[H, W, 3]``.
        box: Rough box of the thing in pixels of the image.

    Returns:
        The region's box in pixels of the image; the given box where nothing stands out.
    """
    scale = min(1.0, WORK_SIDE / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if len(np.unique(small.reshape(-1, 3), axis=0)) < _FEW_COLOURS:
        small = cv2.add(small, np.random.default_rng(0).integers(0, _GRAIN, small.shape, np.uint8))
    mask = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    x, y, w, h = (value * scale for value in box)
    for pad, kind in ((_AROUND, cv2.GC_PR_BGD), (0.0, cv2.GC_PR_FGD)):
        top, left = max(0, int(y - pad * h)), max(0, int(x - pad * w))
        mask[top : int(y + (1 + pad) * h) + 1, left : int(x + (1 + pad) * w) + 1] = kind
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(small, mask, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), _ROUNDS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # nothing is foreground, or nothing is background
        return box
    front = cv2.morphologyEx((mask == cv2.GC_PR_FGD).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(front)
    if count < 2:
        return box
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return Box(*(float(value) / scale for value in stats[largest, :4]))
