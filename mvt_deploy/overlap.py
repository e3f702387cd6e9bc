"""Average overlap (AO) by GOT-10k's rule, as its toolkit computes it: the only implementation in the package.

L. Huang, X. Zhao, K. Huang: GOT-10k, TPAMI 2019; the toolkit is the package ``got10k``, which the tests compare with.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .geometry import iou
from .groundtruth import Boxes

AO_RULE = "GOT-10k rule: mean IoU over frames after the first that show the target, boxes clipped to the frame"


def got10k_overlaps(found: Boxes, truth: Boxes, size: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Compute the IoU of every frame that counts: the first frame and absent targets are dropped.

    Boxes are clipped to the frame in the toolkit's way: the corner to the frame, then the side to what is left of the
    frame, so that a box that begins outside the frame keeps its full side. Results on the benchmark's server depend on
    that.

    Args:
        found: The tracker's boxes, float64 ``[n, 4]``.
        truth: The true boxes, float64 ``[n, 4]``, NaN where the target is absent.
        size: Width and height of the frames in pixels: ``[2]`` for all of them, or ``[n, 2]``.

    Returns:
        float64 ``[m]`` in 0..1, where ``m`` is the number of frames that count.
    """
    limits = np.broadcast_to(np.asarray(size, np.float64), (len(truth), 2))[1:]
    present = ~np.isnan(truth[1:]).any(axis=1)
    limits = limits[present]
    return iou(_clipped(found[1:][present], limits), _clipped(truth[1:][present], limits))


def average_overlap(found: Boxes, truth: Boxes, size: npt.ArrayLike) -> float | None:
    """Compute the AO of one track under :data:`AO_RULE`.

    Args:
        found: The tracker's boxes, float64 ``[n, 4]``, the first of them given.
        truth: The true boxes, float64 ``[m, 4]``, NaN where absent; frames past the end of the shorter do not count.
        size: Width and height of the frames in pixels: ``[2]`` for all of them, or ``[n, 2]``.

    Returns:
        AO in 0..1, or None where no frame counts.
    """
    length = min(len(found), len(truth))
    limits = np.asarray(size, np.float64)
    overlaps = got10k_overlaps(found[:length], truth[:length], limits if limits.ndim == 1 else limits[:length])
    return float(overlaps.mean()) if len(overlaps) else None


def _clipped(boxes: Boxes, limits: npt.NDArray[np.float64]) -> Boxes:
    """Boxes ``[n, 4]`` clipped to frames of width and height ``[n, 2]``."""
    corner = np.clip(boxes[:, :2], 0, limits)
    return np.hstack([corner, np.clip(boxes[:, 2:], 0, limits - corner)])
