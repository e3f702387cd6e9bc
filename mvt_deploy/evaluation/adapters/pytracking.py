"""The ``initialize`` / ``track`` interface of pytracking, which STARK, OSTrack and MVT's own code share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..runner import OneTarget, one


class PyTrackingTracker:
    """Takes RGB uint8 frames ``[H, W, 3]`` and boxes ``[x, y, w, h]`` in pixels, gives dictionaries."""

    def __init__(self, tracker: OneTarget) -> None:
        self._tracker = tracker

    def initialize(self, image: npt.NDArray[np.uint8], info: Mapping[str, Any]) -> dict[str, Any]:
        """Start on ``info["init_bbox"]``."""
        self._tracker.init(np.ascontiguousarray(image[..., ::-1]), tuple(info["init_bbox"]))
        return {"target_bbox": [float(v) for v in info["init_bbox"]]}

    def track(self, image: npt.NDArray[np.uint8], info: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """``target_bbox`` in the next frame, with ``best_score`` in 0..1."""
        found = one(self._tracker.update(np.ascontiguousarray(image[..., ::-1])))
        return {"target_bbox": list(found.box.as_tuple()), "best_score": found.score}
