"""The ``initialize`` / ``track`` interface of pytracking, which STARK, OSTrack and MVT's own code share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import BoxError
from ...geometry import Box
from ..runner import SingleTargetTracker, single
from . import bgr_from_rgb


class PyTrackingTracker:
    """Takes RGB uint8 frames ``[H, W, 3]`` and boxes ``[x, y, w, h]`` in pixels, and gives dictionaries."""

    def __init__(self, tracker: SingleTargetTracker) -> None:
        self._tracker = tracker

    def initialize(self, image: npt.NDArray[np.uint8], info: Mapping[str, Any]) -> dict[str, Any]:
        """Start on ``info["init_bbox"]``; raises UserError for another kind of frame or box."""
        if "init_bbox" not in info:
            raise BoxError("initialize needs the target's box x,y,w,h in pixels as info['init_bbox'].")
        box = Box.of(info["init_bbox"])
        self._tracker.init(bgr_from_rgb(image), box)
        return {"target_bbox": list(box)}

    def track(self, image: npt.NDArray[np.uint8], info: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return ``target_bbox`` in the next frame, with ``best_score`` in 0..1."""
        found = single(self._tracker.update(bgr_from_rgb(image)))
        return {"target_bbox": list(found.box), "best_score": found.score}
